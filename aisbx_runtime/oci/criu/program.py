"""Finding criu, and whether it can be used here: asked by `checkpoint`, `features`, `doctor`."""

from __future__ import annotations

import select

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.criu.log import without_reserved_words
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.kernel.signal import SIGKILL, send_signal
from aisbx_runtime.oci.record import record

# criu 3.x fails on the kernels of 2025 and later (rseq, vdso, mount ids).
LEAST_VERSION = 4
REMEDY = f"install criu {LEAST_VERSION} or newer, and call this as root outside of user namespaces"
_DIRECTORIES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 20


@record
class Found:
    """What there is: `path` empty where criu is not installed, `lacks` empty where it works."""

    path: str
    version: str = ""
    lacks: str = ""

    def is_old(self) -> bool:
        """Tell whether a newer one is what is lacking."""
        major = self.version.partition(".")[0]
        return major.isdigit() and int(major) < LEAST_VERSION


def search_path() -> str:
    """Return the PATH that criu is looked for in, and gets: podman calls some verbs without one."""
    return os.environment("PATH") or _DIRECTORIES


def find() -> Found:
    """Return what there is of criu here, whether its version and this kernel will do.

    Takes 0.1 s: `criu check` tries what criu needs of the kernel, and of the caller's rights.
    """
    path = _path()
    if not path:
        return Found("", lacks="criu is not installed")
    if os.geteuid() != 0:
        return Found(path, lacks="criu needs root")
    code, said = _call(path, "--version")
    version = said.partition("\n")[0].rpartition(" ")[2]
    if code or not version[:1].isdigit():
        return Found(path, lacks=f"{path} does not run")
    if Found(path, version).is_old():
        return Found(path, version, f"criu {version} is older than {LEAST_VERSION}")
    code, said = _call(path, "check")
    if code:
        lines = [line for line in said.splitlines() if "Error" in line] or said.splitlines()
        told = f": {without_reserved_words(lines[-1].strip())}" if lines else ""
        return Found(path, version, f"criu check fails{told}")
    return Found(path, version)


def require() -> Found:
    """Return criu. Raises HostError where it cannot be used."""
    found = find()
    if found.lacks:
        raise HostError("checkpoint and restore cannot be done here", why=found.lacks, hint=REMEDY)
    return found


def _path() -> str:
    directories = (*search_path().split(":"), *_DIRECTORIES.split(":"))
    for directory in directories:
        path = f"{directory}/criu"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def _call(path: str, word: str) -> tuple[int, str]:
    """Run criu with one word; return its exit status and what it says."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    streams = [
        (os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate([null_fd, write_fd, write_fd])
    ]
    try:
        pid = os.posix_spawn(path, ["criu", word], {"PATH": search_path()}, file_actions=streams)
    except OSError:
        # Not a program of this machine: as good as none.
        os.close(read_fd)
        return 1, ""
    finally:
        os.close(null_fd)
        os.close(write_fd)
    said = b""
    while select.select([read_fd], [], [], _TIMEOUT_S)[0]:
        chunk = os.read(read_fd, 4096)
        if not chunk:
            break
        said += chunk
    else:
        pidfd = os.pidfd_open(pid)
        send_signal(pidfd, SIGKILL)
        os.close(pidfd)
    os.close(read_fd)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode(errors="replace").strip()
