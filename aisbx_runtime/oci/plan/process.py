"""The process: limits, credentials and working directory. Its program is looked up in `program`.

Shared by create and exec: one code path gives the first process and later ones their rights, so
an exec never has more than it was told (CVE-2025-27612). Namespaces are behind us here.
"""

from __future__ import annotations

import errno
import resource

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import (
    Failure,
    KernelError,
    SpecError,
    kernel_error,
)
from aisbx_runtime.oci.host import ALL_CAPABILITIES
from aisbx_runtime.oci.kernel import credentials, keyring
from aisbx_runtime.oci.kernel.filter import NEW_LISTENER, install_filter
from aisbx_runtime.oci.kernel.path import current_directory_is_reachable
from aisbx_runtime.oci.kernel.process import PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, prctl
from aisbx_runtime.oci.plan import program
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec import capabilities, rlimits
from aisbx_runtime.oci.spec.model import Capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Linux, Process, User

_DEFAULT_UMASK = 0o022
_RLIM_INFINITY = (1 << 64) - 1
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what execve(2) of a file that is somebody else's takes.
_TO_EXECUTE = 1 << 1 | 1 << 2
# The session keyring of a container, which exec finds again by its name.
KEYRING = "_ses."
KEEP_GROUPS = "run.oci.keep_original_groups"  # podman --group-add keep-groups


@record
class JoinKeyring:
    """Give the container a session keyring of its own, so that it cannot read the caller's."""

    name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "join a new session keyring"

    def apply(self, at: World) -> None:
        """Join it. A kernel without keyrings has none to protect."""
        del at
        try:
            keyring.join_session_keyring(self.name)
        except KernelError as error:
            if error.errno not in {errno.ENOSYS, errno.EDQUOT}:
                raise


@record
class SetNoNewPrivileges:
    """Make set-user-id programs and file capabilities powerless from here on."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "set no_new_privs"

    def apply(self, at: World) -> None:
        """See prctl(2), PR_SET_NO_NEW_PRIVS."""
        del at
        prctl(PR_SET_NO_NEW_PRIVS, 1)


@record
class SetRlimit:
    """Set one resource limit."""

    type: str
    soft: int
    hard: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"limit {self.type} to {_shown(self.soft)}, at most {_shown(self.hard)}"

    def apply(self, at: World) -> None:
        """See setrlimit(2)."""
        del at
        pair = (_limit(self.soft), _limit(self.hard))
        try:
            resource.setrlimit(rlimits.NUMBERS[self.type], pair)
        except ValueError:
            # CPython turns EPERM into this.
            raise kernel_error(errno.EPERM, "setrlimit", self.type) from None
        except OSError as error:
            raise kernel_error(error.errno or 0, "setrlimit", self.type) from None


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value == _RLIM_INFINITY else value


def _shown(value: int) -> str:
    return "unlimited" if value == _RLIM_INFINITY else str(value)


@record
class InstallFilter:
    """Install the seccomp filter here: without no_new_privs only CAP_SYS_ADMIN may do it.

    And a listener is to hear of what the stub does (docs/decisions/0004).
    """

    flags: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        if self.flags & NEW_LISTENER:
            return "install the seccomp filter and hand over its listener"
        return "install the seccomp filter (before the capabilities go: no_new_privs is off)"

    def apply(self, at: World) -> None:
        """Install it; all that follows must pass it."""
        at.listener_fd = install_filter(at.filter_program, self.flags)


@record
class DropBoundingSet:
    """Take capabilities away for good."""

    keep: int
    last: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"keep in the bounding set: {_names(self.keep)}"

    def apply(self, at: World) -> None:
        """Drop every other one, up to the last that this kernel knows."""
        del at
        for number in range(self.last + 1):
            if not self.keep >> number & 1:
                credentials.drop_from_bounding_set(number)


@record
class SetUser:
    """Become the user of the process, still with the capabilities to set what follows."""

    user: User
    set_groups: bool
    origin: str
    # user_namespaces(7): one that is joined may deny setgroups(2), which only shows inside.
    may_be_denied: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        user = self.user
        groups = f", groups {list(user.additional_gids)}" if user.additional_gids else ""
        umask = _DEFAULT_UMASK if user.umask is None else user.umask
        return f"become uid {user.uid}, gid {user.gid}{groups}, umask {umask:04o}"

    def apply(self, at: World) -> None:
        """Set groups, gid, uid in this order: after the uid is gone nothing may be set."""
        del at
        user = self.user
        os.umask(_DEFAULT_UMASK if user.umask is None else user.umask)
        prctl(PR_SET_KEEPCAPS, 1)
        if self.set_groups:
            self._set_groups()
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        prctl(PR_SET_KEEPCAPS, 0)

    def _set_groups(self) -> None:
        groups = self.user.additional_gids
        try:
            os.setgroups(groups)
        except PermissionError:
            if not self.may_be_denied:
                raise
            # Then every process in there keeps the groups that it came with, see LeaveGroups.
            if groups:
                raise SpecError(
                    "process.user.additionalGids: denied in the user namespace that is joined",
                    where="config.json",
                    hint="drop them, or join a namespace that was not made by a plain user",
                ) from None


@record
class SetCapabilities:
    """Set the remaining four capability sets.

    `carried` are those with which the stub executes the program and that the user would lose when
    the stub is executed: it has them as ambient ones, and gives them up.
    """

    effective: int
    permitted: int
    inheritable: int
    ambient: int
    carried: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return (
            f"set capabilities: effective {_names(self.effective)}; "
            f"permitted {_names(self.permitted)}; inheritable {_names(self.inheritable)}; "
            f"ambient {_names(self.ambient)}"
        )

    def apply(self, at: World) -> None:
        """See capset(2). The kernel wants ambient to be permitted and inheritable."""
        inheritable = self.inheritable | self.carried
        credentials.capset(self.effective, self.permitted, inheritable)
        credentials.set_ambient(self.ambient | self.carried)
        at.carried = self.carried


def _names(mask: int) -> str:
    known = [name for name, number in capabilities.NUMBERS.items() if mask >> number & 1]
    if len(known) == len(capabilities.NUMBERS):
        return "all"
    return " ".join(known) or "none"


@record
class EnterDirectory:
    """Enter the working directory with the rights of the runtime, before the user is switched."""

    path: str
    final: bool
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        when = "as the user" if self.final else "before the user is switched"
        return f"enter {self.path} {when}"

    def apply(self, at: World) -> None:
        """Enter it; the second time any failure counts, and it must lie inside the root."""
        del at
        try:
            os.chdir(self.path)
        except OSError as error:
            if error.errno == errno.EACCES and not self.final:
                # The user may enter what root squashed away, or the other way round: try both.
                return
            if error.errno == errno.EACCES and self._is_here():
                return
            raise _directory_error(self.path, error) from None
        if not current_directory_is_reachable():
            # CVE-2024-21626: the directory came in by a leaked fd.
            raise Failure(
                f"the working directory {self.path} lies outside the container",
                hint="choose a process.cwd that lies in the rootfs",
            )

    def _is_here(self) -> bool:
        try:
            return os.getcwd() == os.path.normpath(self.path)
        except OSError:
            return False


def _directory_error(path: str, error: OSError) -> KernelError:
    return kernel_error(error.errno or 0, "chdir", path)


def mask_of(names: tuple[str, ...], host: Host) -> int:
    """Return the bit mask of the capabilities that this kernel knows."""
    mask = 0
    for name in names:
        number = capabilities.NUMBERS.get(name)
        if number is not None and number <= host.last_capability:
            mask |= 1 << number
    return mask


def grantable(linux: Linux, host: Host) -> int:
    """Return the mask of what init can be given at all: anything in a user namespace."""
    if any(one.type == "user" for one in linux.namespaces):
        return ALL_CAPABILITIES
    return host.grantable


def warnings(process: Process, linux: Linux, host: Host) -> list[str]:
    """Return a sentence for each capability that is ignored (config.md: MUST log a warning)."""
    sets = process.capabilities
    if sets is None:
        return []
    asked = (*sets.bounding, *sets.effective, *sets.permitted, *sets.inheritable, *sets.ambient)
    unknown = [name for name in dict.fromkeys(asked) if not mask_of((name,), host)]
    found = [f"process.capabilities: {name} is unknown here and ignored" for name in unknown]
    given = grantable(linux, host)
    for name in dict.fromkeys(asked):
        if mask_of((name,), host) & ~given:
            unknown.append(name)
            found.append(f"process.capabilities: {name} is not the caller's to give, and ignored")
    # capabilities(7): the kernel refuses to raise it. `runc spec` asks for such.
    raised = [name for name in dict.fromkeys(sets.ambient) if name not in unknown]
    for word, names in (("permitted", sets.permitted), ("inheritable", sets.inheritable)):
        lost = [name for name in raised if name not in names]
        if lost:
            at = "process.capabilities.ambient"
            found.append(f"{at}: not {word}, and so ignored: {' '.join(lost)}")
    return found


def rlimit_steps(process: Process) -> list[Step]:
    """Return the resource limits."""
    return [
        SetRlimit(one.type, one.soft, one.hard, f"process.rlimits[{index}]")
        for index, one in enumerate(process.rlimits)
    ]


def steps(
    process: Process, linux: Linux, host: Host, *, filter_flags: int | None, set_groups: bool
) -> list[Step]:
    """Return the last steps of container init, in the order that `build` explains."""
    found: list[Step] = []
    if process.no_new_privileges:
        found.append(SetNoNewPrivileges("process.noNewPrivileges"))
    if process.scheduler or process.io_priority or linux.personality or linux.memory_policy:
        from aisbx_runtime.oci.plan import inherited

        found.extend(inherited.steps(process, linux))
    found.append(EnterDirectory(process.cwd, final=False, origin="process.cwd"))
    # Before the limits: it reads a file, and they may leave too little memory for that.
    if not any(entry.startswith("HOME=") for entry in process.env):
        from aisbx_runtime.oci.plan import home

        found.extend(home.steps(process))
    found.extend(rlimit_steps(process))
    if filter_flags is not None and not process.no_new_privileges:
        found.append(InstallFilter(filter_flags, "linux.seccomp"))
    found.extend(_credential_steps(process, linux, host, set_groups=set_groups))
    found.append(EnterDirectory(process.cwd, final=True, origin="process.cwd"))
    found.extend(program.steps(process))
    if filter_flags is not None and filter_flags & NEW_LISTENER and process.no_new_privileges:
        found.append(InstallFilter(filter_flags, "linux.seccomp"))
    return found


def _credential_steps(
    process: Process, linux: Linux, host: Host, *, set_groups: bool
) -> list[Step]:
    # Without capabilities in config.json there are none, as in runc.
    sets = process.capabilities or Capabilities()
    # config.md: it SHOULD NOT fail for what a restricted caller cannot give (see `warnings`).
    given = grantable(linux, host)
    permitted = mask_of(sets.permitted, host) & given
    inheritable = mask_of(sets.inheritable, host) & given
    # capabilities(7): ambient is limited to what is permitted and inheritable (see `warnings`).
    ambient = mask_of(sets.ambient, host) & permitted & inheritable
    joins_user_namespace = any(one.type == "user" and one.path for one in linux.namespaces)
    effective = mask_of(sets.effective, host) & given
    bounding = mask_of(sets.bounding, host) & given
    carried = 0
    if process.user.uid:
        carried = _TO_EXECUTE & effective & permitted & bounding & ~inheritable
    return [
        DropBoundingSet(bounding, host.last_capability, "process.capabilities.bounding"),
        SetUser(process.user, set_groups, "process.user", joins_user_namespace),
        SetCapabilities(
            effective,
            permitted,
            inheritable,
            ambient,
            carried,
            "process.capabilities",
        ),
    ]
