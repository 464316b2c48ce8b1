"""The process that `exec` is to start: from a file, or from flags on top of config.json's."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError, UsageError
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan.process import KEEP_GROUPS
from aisbx_runtime.oci.record import replace
from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.spec.model import Capabilities, Process, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.flags import Values
    from aisbx_runtime.oci.spec.model import Spec

_ID_LIMIT = (1 << 32) - 1
PROCESS_FILE = "process.json"


def process_of(values: Values, spec: Spec) -> Process:
    """Return the process. Raises SpecError or UsageError."""
    path = values.text("process")
    if path:
        data = bundles.read_file(path, PROCESS_FILE)
        wanted = parse.process_of(parse.text_of(data, PROCESS_FILE), PROCESS_FILE)
        # conmon before 2.1.11 says it by flag, process.terminal says it for everybody else.
        return replace(wanted, terminal=True) if values.flag("tty") else wanted
    if len(values.words) < 2:
        raise UsageError("exec: there is no command", hint="name one, or pass --process FILE")
    base = spec.process
    if base is None:
        raise SpecError("process: missing in the container's config.json")
    return _from_flags(values, base)


def _from_flags(values: Values, base: Process) -> Process:
    cwd = values.text("cwd") or base.cwd
    if not cwd.startswith("/"):
        raise UsageError(f"--cwd {cwd}: must be an absolute path")
    return replace(
        base,
        args=tuple(values.words[1:]),
        env=(*base.env, *_environment(values.list("env"))),
        cwd=cwd,
        terminal=values.flag("tty"),
        console_size=None,
        user=_user(values, base.user),
        capabilities=_capabilities(values.list("cap"), base.capabilities),
        no_new_privileges=base.no_new_privileges or values.flag("no-new-privs"),
        apparmor_profile=values.text("apparmor") or base.apparmor_profile,
        selinux_label=values.text("process-label") or base.selinux_label,
    )


def _environment(entries: list[str]) -> list[str]:
    for entry in entries:
        if entry.find("=") < 1:
            raise UsageError(f"--env {entry}: expected NAME=VALUE")
    return entries


def _user(values: Values, base: User) -> User:
    groups = tuple([_id_of(text, "--additional-gids") for text in values.list("additional-gids")])
    text = values.text("user")
    if not text:
        return User(base.uid, base.gid, base.umask, (*base.additional_gids, *groups))
    uid, colon, gid = text.partition(":")
    gid_number = _id_of(gid, "--user") if colon else base.gid
    return User(_id_of(uid, "--user"), gid_number, base.umask, (*base.additional_gids, *groups))


def _id_of(text: str, flag: str) -> int:
    # CVE-2026-30892: what is not wholly a number is no id, least of all 0.
    plain = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
    if not plain or int(text) >= _ID_LIMIT:
        raise UsageError(f"{flag} {text!r}: expected a number from 0 to {_ID_LIMIT - 1}")
    return int(text)


def _capabilities(added: list[str], base: Capabilities | None) -> Capabilities | None:
    if not added:
        return base
    old = base or Capabilities()
    names = tuple([_name_of(one) for one in added])
    # Never inheritable: CVE-2022-29162.
    return Capabilities(
        bounding=(*old.bounding, *names),
        effective=(*old.effective, *names),
        permitted=(*old.permitted, *names),
        inheritable=old.inheritable,
        ambient=old.ambient,
    )


def _name_of(text: str) -> str:
    upper = text.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def sets_groups(spec: Spec, process: Process, pid: int) -> bool:
    """Tell whether setgroups(2) is to be called in the user namespace of process `pid`."""
    if spec.annotations.get(KEEP_GROUPS) == "1":
        return False
    if read_text(f"/proc/{pid}/setgroups").strip() == "allow":
        return True
    if process.user.additional_gids:
        raise SpecError(
            "user.additionalGids: groups cannot be set in this user namespace",
            where=PROCESS_FILE,
            hint="drop the additional groups",
        )
    return False
