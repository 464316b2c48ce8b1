"""Start a container through an engine that was registered with: a word from inside is the proof.

Its rootfs is an empty directory with the host's programs mounted into it, read-only: no image is
needed, and nothing is fetched.
"""

from __future__ import annotations

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.probe.users import program as program_of_host
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.register.containerd import RUNTIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"
_WORD = "aisbx-register-check"
_TIMEOUT_S = 120
# Where programs and their libraries lie; the links of a merged /usr are followed.
_TOPS = ("/usr", "/bin", "/lib", "/lib64", "/nix", "/gnu")
_QUOTED_CHARACTERS = 2000
_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


@record
class Outcome:
    """state: passed, failed or left out. why: what was said, or what is missing."""

    state: str
    why: str = ""


def check(engine: str, runtime: str) -> Outcome:
    """Start a container and look at what it prints. Leaves nothing behind.

    `runtime` is the path that was registered.
    """
    needs, tried = _CHECKS[engine]
    lost = [name for name in (*needs, "echo") if program_of_host(name) is None]
    if lost:
        return Outcome(LEFT_OUT, f"not installed here: {', '.join(lost)}")
    return tried(runtime)


def _call(*words: str, data: bytes = b"") -> CompletedProcess[bytes]:
    import subprocess

    try:
        return subprocess.run(
            words, input=data, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stderr or b"") + f"no answer after {_TIMEOUT_S} s".encode()
        return subprocess.CompletedProcess(words, 124, late.stdout or b"", said)
    except OSError as error:
        return subprocess.CompletedProcess(words, 126, b"", str(error).encode())


def _said(done: CompletedProcess[bytes]) -> str:
    text = (done.stderr or done.stdout).decode(errors="replace").strip()
    return text[-_QUOTED_CHARACTERS:] or f"exit status {done.returncode}, and not a word"


def _outcome(done: CompletedProcess[bytes]) -> Outcome:
    if done.returncode == 0 and done.stdout.decode(errors="replace").strip() == _WORD:
        return Outcome(PASSED)
    return Outcome(FAILED, _said(done))


def _tops() -> list[tuple[str, str]]:
    """Return (source, target) of the directories with the host's programs."""
    found: list[tuple[str, str]] = []
    for target in _TOPS:
        try:
            fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # No such directory on this machine.
            continue
        found.append((os.readlink(f"/proc/self/fd/{fd}"), target))
        os.close(fd)
    return found


def _volumes() -> list[str]:
    return [word for source, target in _tops() for word in ("-v", f"{source}:{target}:ro")]


def _command() -> list[str]:
    return [str(program_of_host("echo")), _WORD]


def _in_directory(tried: Callable[[str], Outcome]) -> Outcome:
    """Call with an empty directory for a rootfs."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="aisbx-register-") as path:
        os.chmod(path, 0o755)
        return tried(path)


def _podman(runtime: str) -> Outcome:
    found = _call("podman", "--runtime", "aisbx", "info", "--format", "{{.Host.OCIRuntime.Path}}")
    if found.returncode:
        return Outcome(FAILED, _said(found))
    path = found.stdout.decode(errors="replace").strip()
    if path != runtime:
        return Outcome(FAILED, f"podman takes {path} for aisbx: another of its files says so")
    # host: a machine without CAP_SYS_RESOURCE cannot raise podman's defaults.
    words = ["podman", "--runtime", "aisbx", "run", "--rm", "--network=none", "--ulimit=host"]
    return _in_directory(
        lambda path: _outcome(_call(*words, *_volumes(), "--rootfs", path, *_command()))
    )


def _buildah(runtime: str) -> Outcome:
    del runtime
    made = _call("buildah", "from", "scratch")
    if made.returncode:
        return Outcome(FAILED, _said(made))
    name = made.stdout.decode(errors="replace").strip()
    words = ["buildah", "run", "--runtime=aisbx", "--isolation=oci", "--network=none"]
    try:
        return _outcome(_call(*words, *_volumes(), name, "--", *_command()))
    finally:
        _call("buildah", "rm", name)


def _containerd(runtime: str) -> Outcome:
    del runtime
    address = os.environment("CONTAINERD_ADDRESS") or _CONTAINERD_SOCKET
    if not os.path.exists(address):
        return Outcome(LEFT_OUT, f"containerd does not run: there is no {address}")
    words = ["ctr", "run", "--rm", "--runtime", RUNTIME]
    for source, target in _tops():
        words += ["--mount", f"type=bind,src={source},dst={target},options=rbind:ro"]
    name = f"{_WORD}-{os.getpid()}"
    return _in_directory(lambda path: _outcome(_call(*words, "--rootfs", path, name, *_command())))


def _docker(runtime: str) -> Outcome:
    found = _call("docker", "info", "--format", "{{json .Runtimes}}")
    if found.returncode:
        return Outcome(LEFT_OUT, f"dockerd does not answer: {_said(found)}")
    try:
        runtimes = jsontext.parse(found.stdout.decode(errors="replace"))
    except ValueError:
        return Outcome(FAILED, f"docker info: {_said(found)}")
    known = runtimes.get("aisbx") if jsontext.is_object(runtimes) else None
    if not jsontext.is_object(known) or known.get("path") != runtime:
        return Outcome(
            LEFT_OUT, "dockerd has not read daemon.json yet: reload it, and register again"
        )
    image = f"{_WORD}-{os.getpid()}"
    # An archive of nothing: two blocks of zeros (tar(5)).
    made = _call("docker", "import", "-", image, data=bytes(1024))
    if made.returncode:
        return Outcome(FAILED, _said(made))
    words = ["docker", "run", "--rm", "--runtime=aisbx", "--network=none"]
    try:
        return _outcome(_call(*words, *_volumes(), image, *_command()))
    finally:
        _call("docker", "rmi", image)


def _crio(runtime: str) -> Outcome:
    del runtime
    return Outcome(
        LEFT_OUT, "CRI-O starts pods only: after its restart, `crictl runp -r aisbx POD`"
    )


_CHECKS: dict[str, tuple[tuple[str, ...], Callable[[str], Outcome]]] = {
    "podman": (("podman",), _podman),
    "buildah": (("buildah",), _buildah),
    "containerd": (("ctr", "containerd-shim-runc-v2"), _containerd),
    "docker": (("docker",), _docker),
    "cri-o": ((), _crio),
}
