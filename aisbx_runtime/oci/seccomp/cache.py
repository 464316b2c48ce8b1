r"""Compiled seccomp programs, kept on disk: compiling takes longer than the rest of a create.

A hit is on the path of every create: `_blake2` and six system calls, no libseccomp, no ctypes.
What a rule means is `compiler`'s; it is only loaded on a miss, and runs in a process `apart`.

An entry is a file `CACHE_DIR/KEY`, written once and renamed into place:

    DIGEST of all that follows \n KEY \n DEV INO SIZE MTIME_NS PATH of libseccomp \n program
"""

from __future__ import annotations

import _blake2
import stat

from aisbx_runtime.oci import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Seccomp

FORMAT = 2  # of an entry, and of what `compiler` makes of a profile: a change of either counts up
INSTRUCTION_BYTES = 8  # struct sock_filter
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel takes no longer program
MAX_ENTRY_BYTES = MAX_INSTRUCTIONS * INSTRUCTION_BYTES + 8192
MAX_ENTRIES = 128  # of at most 40 kB; an engine uses a handful
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def program(seccomp: Seccomp, *, cache_dir: str, machine: str) -> bytes:
    """Return the BPF program (an array of struct sock_filter) of this profile.

    Raises SpecError for a profile that cannot be compiled, HostError without libseccomp. Nothing
    is raised for a cache that cannot be read or written: then the profile is compiled again.
    """
    key = key_of(seccomp, machine)
    cached = _read(f"{cache_dir}/{key}", key)
    if cached is not None:
        return cached
    from aisbx_runtime.oci.seccomp import apart

    compiled, library_path = apart.compiled(seccomp)
    _keep(cache_dir, key, compiled, library_path)
    return compiled


def key_of(seccomp: Seccomp, machine: str) -> str:
    """Return the name of the profile's entry: all that decides about the program is in it.

    The digest is over a Python literal, which quotes strings and keeps None, numbers and nesting
    apart: two profiles have one text only if they are equal. (crun joins the strings and leaves
    errnoRet out, so that two profiles can share a program.)
    """
    rules = tuple(
        [
            (
                rule.names,
                rule.action,
                rule.errno_ret,
                tuple([(arg.index, arg.value, arg.value_two, arg.op) for arg in rule.args]),
            )
            for rule in seccomp.syscalls
        ],
    )
    profile = (seccomp.default_action, seccomp.default_errno_ret, seccomp.architectures)
    canonical = ascii((FORMAT, machine, profile, seccomp.flags, rules))
    return _digest(canonical.encode("ascii"))


def is_plausible(compiled: bytes) -> bool:
    """Tell whether the bytes can be a program: whole instructions, no more than may be loaded."""
    return (
        len(compiled) % INSTRUCTION_BYTES == 0
        and 0 < len(compiled) <= MAX_INSTRUCTIONS * INSTRUCTION_BYTES
    )


def _digest(data: bytes) -> str:
    return _blake2.blake2b(data, digest_size=32).hexdigest()


def _read(path: str, key: str) -> bytes | None:
    """Return the program of an entry that is whole and still valid."""
    try:
        fd = os.open(path, _OPEN)
        try:
            status = os.fstat(fd)
            if not _is_ours(status) or not stat.S_ISREG(status.st_mode):
                return None
            # Of a larger file only a part is read, which the digest does not fit.
            return _program_in(os.read(fd, MAX_ENTRY_BYTES), key)
        finally:
            os.close(fd)
    except OSError:
        # No entry, a symbolic link in its place, or libseccomp has been replaced: a miss.
        return None


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _program_in(entry: bytes, key: str) -> bytes | None:
    digest, _, signed = entry.partition(b"\n")
    if digest.decode("latin-1") != _digest(signed):
        return None
    # The key is in the entry too: an entry renamed to another profile's name is not taken for it.
    own_key, _, rest = signed.partition(b"\n")
    library, _, compiled = rest.partition(b"\n")
    fields = library.split(b" ", 4)
    if own_key.decode("latin-1") != key or len(fields) != 5 or not is_plausible(compiled):
        return None
    return compiled if library == _library_now(os.fsdecode(fields[4])) else None


def _library_now(path: str) -> bytes:
    """Return what identifies libseccomp: its file, whose name ends in the version on most hosts.

    Raises OSError if the file has gone.
    """
    status = os.stat(path)
    return os.fsencode(
        f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {path}",
    )


def _keep(cache_dir: str, key: str, compiled: bytes, library_path: str) -> bool:
    """Write an entry, atomically, and tell whether it was kept."""
    try:
        library = _library_now(library_path)
        if b"\n" in library:
            return False
        signed = b"\n".join([key.encode(), library, compiled])
        directory_fd = _open_directory(cache_dir)
        try:
            _write(directory_fd, key, _digest(signed).encode() + b"\n" + signed)
            _evict(directory_fd)
        finally:
            os.close(directory_fd)
    except OSError:
        # A read-only, full or foreign directory: the cache is a convenience, the program is not.
        return False
    return True


def _open_directory(cache_dir: str) -> int:
    """Return a descriptor of the directory, made if needed. Raises OSError if it is not ours."""
    import contextlib  # not for a hit

    for path in (os.path.dirname(os.path.abspath(cache_dir)), cache_dir):
        # Another create may make it meanwhile; what is no directory, open refuses.
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    fd = os.open(cache_dir, _OPEN | os.O_DIRECTORY)
    if not _is_ours(os.fstat(fd)):
        os.close(fd)
        message = "the cache directory belongs to somebody else"
        raise PermissionError(message)
    return fd


def _write(directory_fd: int, key: str, entry: bytes) -> None:
    # Two creates may write at once: each has a name of its own, and the last rename stays.
    name = f".{key}.{os.urandom(8).hex()}"
    fd = os.open(
        name,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
        dir_fd=directory_fd,
    )
    try:
        with open(fd, "wb") as file:
            file.write(entry)
        os.rename(name, key, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except OSError:
        os.unlink(name, dir_fd=directory_fd)
        raise


def _evict(directory_fd: int) -> None:
    """Remove the oldest files above MAX_ENTRIES, among them what a killed create left behind."""
    names = os.listdir(directory_fd)
    if len(names) <= MAX_ENTRIES:
        return

    def age(name: str) -> int:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mtime_ns

    for name in sorted(names, key=age)[:-MAX_ENTRIES]:
        os.unlink(name, dir_fd=directory_fd)
