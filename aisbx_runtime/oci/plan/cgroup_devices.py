"""Which devices a container may use: linux.resources.devices, and the defaults.

Pure. How v1 and v2 enforce the rules lives in `cgroup_v1` and `cgroup_v2`.
"""

from __future__ import annotations

from aisbx_runtime.oci.bpf.devices import EVERY_ACCESS, MKNOD, READ, WRITE, Rule
from aisbx_runtime.oci.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import DeviceRule, Linux

_ACCESS = {"m": MKNOD, "r": READ, "w": WRITE}

# Allowed whatever the rules say, since config-linux.md "Default devices" puts them into every
# container (runc: specconv.AllowedDevices). /dev/console is a pty there, so 136:*; 5:1 would be
# the console of the host. A node may be made of any device: to open it is another matter.
DEFAULTS = (
    Rule(allow=True, kind="c", major=None, minor=None, access=MKNOD),
    Rule(allow=True, kind="b", major=None, minor=None, access=MKNOD),
    *[
        Rule(allow=True, kind="c", major=major, minor=minor, access=EVERY_ACCESS)
        for major, minor in (
            (1, 3),  # null
            (1, 5),  # zero
            (1, 7),  # full
            (1, 8),  # random
            (1, 9),  # urandom
            (5, 0),  # tty
            (5, 2),  # ptmx
            (136, None),  # pts
        )
    ],
)


def rules_of(linux: Linux) -> tuple[Rule, ...]:
    """Return the rules in the order in which they are applied; none when none are given."""
    given = linux.resources.devices if linux.resources is not None else ()
    if not given:
        return ()
    # A node of linux.devices needs a rule of its own to be opened: engines send both.
    return (*[_rule(index, rule) for index, rule in enumerate(given)], *DEFAULTS)


def _rule(index: int, rule: DeviceRule) -> Rule:
    where = f"linux.resources.devices[{index}]"
    if rule.type not in {"a", "b", "c"}:
        raise SpecError(
            f'{where}.type: "{rule.type}" is not a type of device rule',
            where="config.json",
            hint='write "a", "b" or "c"',
        )
    access = 0
    # An empty access is every access: engines write a bare {"allow": false} for "deny all".
    for letter in rule.access or "rwm":
        if letter not in _ACCESS:
            raise SpecError(
                f'{where}.access: "{rule.access}" has a letter other than r, w and m',
                where="config.json",
                hint='write "rwm" or a part of it',
            )
        access |= _ACCESS[letter]
    return Rule(rule.allow, rule.type, rule.major, rule.minor, access)


# ---- cgroup v1: one default and a set of exceptions ----------------------------------------------
def exceptions_of(rules: tuple[Rule, ...]) -> tuple[bool, tuple[Rule, ...]]:
    """Return what the rules come to: whether all is allowed, and the exceptions from that.

    v1 knows no order: an exception can only be taken back whole (cgroup-v1/devices.rst). Raises
    SpecError for rules that carve a part out of an earlier, wider one.
    """
    allow, found = False, dict[tuple[str, int | None, int | None], int]()
    for rule in rules:
        if rule.covers_everything():
            allow, found = rule.allow, {}
            continue
        for kind in ("b", "c") if rule.kind == "a" else (rule.kind,):
            one = Rule(rule.allow, kind, rule.major, rule.minor, rule.access)
            if one.allow == allow:
                _take_back(found, one)
            else:
                key = (kind, one.major, one.minor)
                found[key] = found.get(key, 0) | one.access
    exceptions = [Rule(not allow, *key, access) for key, access in found.items() if access]
    return allow, tuple(exceptions)


def _take_back(found: dict[tuple[str, int | None, int | None], int], rule: Rule) -> None:
    for key, access in found.items():
        kind, major, minor = key
        if kind != rule.kind or not access & rule.access:
            continue
        if rule.major in {None, major} and rule.minor in {None, minor}:
            found[key] = access & ~rule.access
        elif _overlap(rule.major, major) and _overlap(rule.minor, minor):
            verb = "allow" if rule.allow else "deny"
            raise SpecError(
                f'linux.resources.devices: "{verb} {text_of(rule)}" takes a part out of '
                f'"{text_of(Rule(not rule.allow, *key, access))}", which cgroup v1 cannot do',
                where="config.json",
                hint="name the devices one by one, or run on a host with cgroup v2",
            )


def _overlap(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def text_of(rule: Rule) -> str:
    """Return a rule as devices.allow takes it."""
    major = "*" if rule.major is None else rule.major
    minor = "*" if rule.minor is None else rule.minor
    letters = "".join([letter for letter in "rwm" if rule.access & _ACCESS[letter]])
    return f"{rule.kind} {major}:{minor} {letters}"
