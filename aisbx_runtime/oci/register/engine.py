"""Every engine by its name, and what this machine has of it."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError, UsageError
from aisbx_runtime.oci.probe.users import program as program_of_host
from aisbx_runtime.oci.register import containerd, crio, docker, podman, shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.register.change import Registration

ENGINES = ("podman", "containerd", "docker", "buildah", "cri-o")
_TIMEOUT_S = 30


def registration(
    engine: str,
    program: str,
    library: str,
    etc: str = "",
    *,
    shims: str = shim.DIRECTORY,
    remove: bool = False,
) -> Registration:
    """Return what is to be done for an engine; `etc` is the caller's own by default.

    program, library: the absolute paths of the runtime. Raises UsageError for an unknown engine,
    HostError for a file that somebody else wrote. Changes nothing.
    """
    if engine not in ENGINES:
        raise UsageError(f"{engine}: no such engine", hint=f"write one of {', '.join(ENGINES)}")
    if engine in {"podman", "buildah"}:
        etc = etc or podman.etc_of_caller()
        return podman.registration(engine, program, etc, remove=remove)
    if not etc and os.geteuid() != 0:
        raise HostError(
            f"{engine} is registered with for the whole machine, which needs root",
            hint="call it as root; what --print shows can be put where a rootless daemon reads it",
        )
    etc = etc or "/etc"
    if engine == "docker":
        return docker.registration(program, etc, remove=remove)
    if engine == "cri-o":
        return crio.registration(program, etc, remove=remove)
    daemon = program_of_host("containerd")
    major = _major_of(daemon) if daemon else None
    return containerd.registration(
        program, library, etc, remove=remove, shims=shims, containerd=daemon, major=major
    )


def _major_of(daemon: str) -> int | None:
    """Return the first number of `containerd --version`, None if it does not say one."""
    import subprocess

    try:
        done = subprocess.run(
            [daemon, "--version"], capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        # Not a program of this machine: its version decides about comfort only.
        return None
    words = done.stdout.decode(errors="replace").split()
    number = words[2].lstrip("v").partition(".")[0] if len(words) > 2 else ""
    return int(number) if number.isascii() and number.isdigit() else None
