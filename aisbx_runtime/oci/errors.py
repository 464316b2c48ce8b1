"""Errors: what, where, why and what to do; their wire form; the sentences that engines match.

Exceptions carry fields; text is made here, once, when a failure is reported (`cli`).
What raises which error lives where it is raised.
"""

from __future__ import annotations

import errno as _errno

# ---- sentences that engines match (docs: contract.md 5) --------------------------------------
DOES_NOT_EXIST = "container does not exist"  # containerd delete: "does not exist" is success
NOT_RUNNING = "container not running"  # containerd and CRI-O kill: the process is gone
ID_IN_USE = "container with given ID already exists"  # runc's words
NOT_STOPPED = "cannot delete container {id} that is not stopped: {status}"  # runc's words
NOT_IN_PATH = 'exec: "{name}": executable file not found in $PATH'  # podman, docker: exit 127
NO_SUCH_PROGRAM = 'exec: "{name}": stat {name}: no such file or directory'  # exit 127
NO_SUCH_INTERPRETER = "exec: the interpreter of the program: no such file or directory"  # 127
NOT_EXECUTABLE = 'exec: "{name}": permission denied'  # podman, docker: exit 126
IS_A_DIRECTORY = 'exec: "{name}": is a directory'  # docker: exit 126
NEEDS_ARGUMENT = "flag needs an argument: {flag}"  # podman's probe of `restore`

# podman and docker turn these words into exit codes 126 and 127 wherever they stand,
# so only an error about the user's own command may hold them.
RESERVED_WORDS = (
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "not found",
    "is a directory",
    "not a directory",
)

# ---- what to do about a system call that failed ------------------------------------------------
HINTS = {
    ("open_tree", "ENOENT"): "the source must exist on the host: create it, or drop the mount",
    ("open_tree", "EPERM"): "the runtime may not clone this mount: run it as root",
    ("clone3", "EPERM"): "new namespaces need root, or a user namespace in linux.namespaces",
    ("clone3", "ENOSPC"): "a namespace limit is reached: raise /proc/sys/user/max_*_namespaces",
    ("clone3", "EAGAIN"): "the process limit is reached: raise RLIMIT_NPROC or pids.max",
    ("clone3", "EUSERS"): "user namespaces are nested too deeply, or their limit is reached",
    ("fsmount", "EPERM"): "this file system type may not be mounted in the container's user "
    "namespace: use a bind mount instead",
    ("fsconfig", "EINVAL"): "the file system does not know this option or value",
    ("fsconfig", "EPERM"): "this file system may not be mounted in the container's user "
    "namespace: use a bind mount instead",
    ("fsopen", "ENODEV"): "the kernel does not have this file system type",
    ("mount_setattr", "EPERM"): "a flag of this mount is locked by an outer user namespace: "
    "ask for the flags that the host's mount has",
    ("setrlimit", "EPERM"): "the runtime may not raise this limit (no CAP_SYS_RESOURCE here): "
    "ask for no more than the hard limit of the caller",
    ("setns", "EINVAL"): "the path must be a namespace file of the type that is asked for",
    ("pivot_root", "EINVAL"): "the root is an initramfs: call with --no-pivot",
    ("capset", "EPERM"): "a capability is asked for that the runtime does not have itself",
    ("seccomp", "EINVAL"): "the kernel refuses the filter: see linux.seccomp.flags",
    ("uid_map", "EPERM"): "the mapping needs newuidmap and a line in /etc/subuid",
    ("gid_map", "EPERM"): "the mapping needs newgidmap and a line in /etc/subgid",
    ("sched_setattr", "EPERM"): "a realtime policy or a negative nice needs CAP_SYS_NICE outside "
    "of user namespaces, and with cgroup v1 linux.resources.cpu.realtimeRuntime",
    ("sched_setattr", "EINVAL"): "the kernel does not have this policy with these values",
    ("sched_setattr", "ENOTSUP"): "the kernel has no utilization clamping: drop the flag",
    ("sched_setaffinity", "EINVAL"): "none of the CPUs is online and in the container's cpuset",
    ("ioprio_set", "EPERM"): "IOPRIO_CLASS_RT needs CAP_SYS_NICE outside of user namespaces",
    ("set_mempolicy", "EINVAL"): "a node is not there, or not in linux.resources.cpu.mems",
    ("RTM_SETLINK", "EINVAL"): "a device of this kind stays in its network namespace",
    ("RTM_SETLINK", "EEXIST"): "the container's network namespace has a device of this name",
    ("RTM_SETLINK", "EPERM"): "moving a network device needs CAP_NET_ADMIN in both namespaces",
    ("bind", "EADDRINUSE"): "another create of this container is under way",
}


class KernelError(OSError):
    """A system call failed: an OSError that knows the name of its call (`syscall`)."""

    syscall: str = ""


def kernel_error(number: int, syscall: str, path: str = "") -> KernelError:
    """Return the error of one failed call. `number` is its errno."""
    error = KernelError(number, _errno.errorcode.get(number, str(number)), path or None)
    error.syscall = syscall
    return error


def why_of(error: OSError) -> str:
    """Return `syscall: ERRNO path`: names only, since engines read the words of strerror."""
    number = error.errno
    name = _errno.errorcode.get(number, f"errno {number}") if number else str(error)
    parts = [f"{error.syscall}: {name}" if isinstance(error, KernelError) else name]
    if error.filename is not None:
        shown = error.filename
        parts.append(shown.decode(errors="replace") if isinstance(shown, bytes) else str(shown))
    return " ".join(parts)


def hint_of(error: OSError) -> str:
    """Return what to do about a failed system call, or nothing."""
    if not isinstance(error, KernelError) or not error.errno:
        return ""
    return HINTS.get((error.syscall, _errno.errorcode.get(error.errno, "")), "")


class Failure(Exception):  # noqa: N818  (the exception tree of the runtime; each subclass is an Error)
    """A call of the runtime failed, for a reason that can be told.

    what: one clause, lower case, that names the thing. where: a place in config.json, a step.
    why: system call and errno name. hint: one imperative sentence, or nothing.
    """

    def __init__(
        self, what: str, *, where: str = "", why: str = "", hint: str = "", exit_code: int = 1
    ) -> None:
        """Keep the fields; `exit_code` is what the runtime exits with."""
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        self.exit_code = exit_code

    def line(self) -> str:
        """Return the failure as one line."""
        text = f"{self.what}: {self.why}" if self.why else self.what
        return f"{text} ({self.where})" if self.where else text


class SpecError(Failure):
    """config.json or process.json is refused; nothing has been changed."""


class UsageError(Failure):
    """The command line is refused; nothing has been changed."""


class StateError(Failure):
    """The container is not in the state that the verb needs."""


class HostError(Failure):
    """This machine cannot do what is asked."""


class StepError(Failure):
    """A step of the plan failed; everything made before it is undone."""


class HookError(Failure):
    """A hook failed; which of them ends what is in runtime.md, lifecycle."""


class CommandError(Failure):
    """The user's command cannot be executed; the words are runc's, since engines match them."""


_WIRE_TYPES = {
    cls.__name__: cls
    for cls in (Failure, SpecError, UsageError, StateError, HostError, StepError, CommandError)
}


# Four such fields fit one packet of the channel, even with all characters as \uXXXX\uXXXX: an
# args[0], which the words about a missing program quote, may be 128 KiB long.
_WIRE_CHARACTERS = 2000


def to_wire(failure: Failure) -> dict[str, str]:
    """Return the failure as strings for the channel between container init and create."""
    return {
        "type": type(failure).__name__,
        "what": failure.what[:_WIRE_CHARACTERS],
        "where": failure.where[:_WIRE_CHARACTERS],
        "why": failure.why[:_WIRE_CHARACTERS],
        "hint": failure.hint[:_WIRE_CHARACTERS],
    }


def from_wire(message: dict[str, object]) -> Failure:
    """Return the failure that `to_wire` described."""
    cls = _WIRE_TYPES.get(str(message.get("type")), Failure)
    return cls(
        str(message.get("what", "")),
        where=str(message.get("where", "")),
        why=str(message.get("why", "")),
        hint=str(message.get("hint", "")),
    )
