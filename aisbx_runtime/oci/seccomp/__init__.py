"""Seccomp: the profile of config.json becomes the BPF program that the stub installs.

`cache.program` returns the program, `flags_of` the flags to install it with. All else is only
loaded when the cache has no entry: `compiler`, run in a process `apart`; `enosys`, what goes before
the rules; `proof`, that the program says what they say.
Installing is the stub's; reading config.json is `spec`'s.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Seccomp

# include/uapi/linux/seccomp.h, SECCOMP_FILTER_FLAG_*
TSYNC = 1
LOG = 2
SPEC_ALLOW = 4
NEW_LISTENER = 8
TSYNC_ESRCH = 16
_WAIT_KILLABLE_RECV = 32
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SPEC_ALLOW,
}
WAIT_KILLABLE_RECV = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
# By name, what must be asked of the kernel for each: one of them wants a listener beside it.
ASKED = {**FLAGS, WAIT_KILLABLE_RECV: _WAIT_KILLABLE_RECV | NEW_LISTENER}


def notifies(seccomp: Seccomp) -> bool:
    """Tell whether a listener decides about some calls."""
    return any(rule.action == "SCMP_ACT_NOTIFY" for rule in seccomp.syscalls)


def flags_of(seccomp: Seccomp) -> int:
    """Return the flags of seccomp(2) for this profile. Raises SpecError."""
    listens = notifies(seccomp)
    flags = NEW_LISTENER if listens else 0
    if seccomp.flags is None:
        # runc and crun do so: without it the kernel turns on its costly mitigation of speculative
        # store bypass for every process that has a filter. An empty list asks for that.
        return flags | SPEC_ALLOW
    for position, name in enumerate(seccomp.flags):
        if name == WAIT_KILLABLE_RECV and listens:
            flags |= _WAIT_KILLABLE_RECV
            continue
        if name == WAIT_KILLABLE_RECV:
            from aisbx_runtime.oci.errors import SpecError

            # seccomp(2): EINVAL without SECCOMP_FILTER_FLAG_NEW_LISTENER.
            raise SpecError(
                f"linux.seccomp.flags[{position}]: {name} needs SCMP_ACT_NOTIFY",
                where="config.json",
                hint="remove the flag: the kernel refuses it without a listener",
            )
        flags |= FLAGS[name]
    # seccomp(2): with both, what is returned must be one of thread id and listener.
    return flags | TSYNC_ESRCH if listens and flags & TSYNC else flags
