"""What a profile says about one system call, read from its rules as libseccomp reads them.

The compiled program is not looked at: that it says the same is `proof`'s.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg, SyscallRule

ALLOWING = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"})
_ASKING = "SCMP_ACT_NOTIFY"


def decide(seccomp: Seccomp | None, name: str, args: dict[int, int]) -> str:
    """Return allowed, refused, or depends: on arguments not in `args`, or on a listener."""
    if seccomp is None:
        return "allowed"
    default = seccomp.default_action
    open_ends: set[str] = set()
    for rule in seccomp.syscalls:
        if name not in rule.names or rule.action == default:
            continue
        match = _matches(rule, args)
        if match is True:
            return _verdict(rule.action)
        if match is None:
            open_ends.add(_verdict(rule.action))
    return "depends" if open_ends - {_verdict(default)} else _verdict(default)


def _verdict(action: str) -> str:
    if action == _ASKING:
        return "depends"
    return "allowed" if action in ALLOWING else "refused"


def _matches(rule: SyscallRule, args: dict[int, int]) -> bool | None:
    """Tell whether a rule matches; None: that depends on an argument that is not known."""
    found = [_holds(one, args.get(one.index)) for one in rule.args]
    if len({one.index for one in rule.args}) < len(rule.args):
        # As runc and libseccomp have it: two conditions on one argument are alternatives.
        return True if True in found else None if None in found else False
    return False if False in found else None if None in found else True


def _holds(one: SyscallArg, value: int | None) -> bool | None:
    if value is None:
        return None
    if one.op == "SCMP_CMP_MASKED_EQ":
        # libseccomp masks both sides.
        return value & one.value == one.value_two & one.value
    return {
        "SCMP_CMP_NE": value != one.value,
        "SCMP_CMP_LT": value < one.value,
        "SCMP_CMP_LE": value <= one.value,
        "SCMP_CMP_EQ": value == one.value,
        "SCMP_CMP_GE": value >= one.value,
        "SCMP_CMP_GT": value > one.value,
    }.get(one.op)
