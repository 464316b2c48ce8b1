"""criu's log: what it says of a failure, in one line, with what to do about it."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.criu.messages import Answer

# Said on every host without CAP_SYS_RESOURCE, or at every failure.
_SAYS_NOTHING = ("Can't setup RLIMIT_NOFILE for self", "Dumping FAILED.", "Restoring FAILED.")
_LAST_BYTES = 256 << 10
_LINES = 3
# podman and docker read exit codes out of these words (contract.md 23).
_RESERVED = {
    "no such file or directory": "ENOENT",
    "permission denied": "EACCES",
    "operation not permitted": "EPERM",
    "is a directory": "EISDIR",
    "not a directory": "ENOTDIR",
    "not found": "missing",
}
# What criu's log says -> what to do. The first that fits.
HINTS = (
    ("Connected TCP socket", "close the connections, or call with --tcp-established"),
    ("External socket", "call with --ext-unix-sk"),
    ("external unix", "call with --ext-unix-sk"),
    ("shell job", "give the container a terminal of its own, or call with --shell-job"),
    ("Some file locks are hold", "call with --file-locks"),
    ("file locks", "call with --file-locks"),
    ("iptables", "install iptables, or call with --network-lock nftables"),
    ("Can't dump ghost file", "call with --link-remap"),
    ("link-remap", "call with --link-remap"),
    ("link remap", "call with --link-remap"),
    ("bad size", "give fds 0 to 2 the files that they were, as they were"),
    ("Can't fork for", "a process has a pid of the container: end it, or use a pid namespace"),
    ("mount", "criu knows the mounts of config.json only: remove those added since"),
)


def failure(what: str, answer: Answer | None, path: str) -> Failure:
    """Return why criu failed: `what` could not be done, by the end of its log at `path`."""
    lines = _error_lines(path)
    told = "; ".join(lines or [])
    if not told:
        told = answer.message if answer is not None else "it ended without an answer"
    hint = next((hint for words, hint in HINTS if words in told), "")
    return Failure(
        what,
        where=path if lines is not None else "",
        why=without_reserved_words(f"criu: {told}" if told else "criu failed"),
        hint=hint or "read criu's log, which tells what led to this",
    )


def _error_lines(path: str) -> list[str] | None:
    """Return the first and the last lines of the log that are errors, without times and places.

    None: there is no log.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        # criu has not come as far as its log.
        return None
    try:
        size = os.fstat(fd).st_size
        text = os.pread(fd, _LAST_BYTES, max(size - _LAST_BYTES, 0)).decode(errors="replace")
    finally:
        os.close(fd)
    found: list[str] = []
    for line in text.splitlines():
        _, marker, rest = line.partition("Error (")
        if marker:
            said = rest.partition("): ")[2].strip()
            if said and said not in found and not any(one in said for one in _SAYS_NOTHING):
                found.append(said)
    # The first says what was wrong, the last what criu gave up on for it.
    return found if len(found) <= _LINES else [found[0], *found[-_LINES + 1 :]]


def without_reserved_words(text: str) -> str:
    """Return `text` with the names of errors for the words of strerror(3)."""
    for words, name in _RESERVED.items():
        at = text.lower().find(words)
        while at >= 0:
            text = text[:at] + name + text[at + len(words) :]
            at = text.lower().find(words)
    return text
