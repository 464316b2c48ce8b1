"""Where everything lies on disk, and who waits for whom.

    STORE/                0700; root: /var/lib/aisbx, others: $XDG_DATA_HOME/aisbx; or $AISBX_STORE
      version             one number: another one is refused
      lock                shared: whoever makes a reference; exclusive: whoever removes things
      layout/             one OCI image layout: oci-layout, index.json, blobs/sha256/HEX
      refs/NAME           symbolic link to ../rootfs/KEY: what a reference is unpacked as
      rootfs/KEY/         KEY: manifest digest and version of the converter
        rootfs/           never written to again
        image.json        the image's facts (spec/image.schema.json)
      containers/ID/      the bundle of a sandbox, with its facts
      snapshots/          trees by digest, files by digest, names
      pins/HEX            a bundle that is not in containers/; the content is its path
      locks/NAME          held by whoever makes NAME
      work/NAME.RANDOM/   half-made things; flock(2) on it is held while they are made

Things are made in a workplace and come to their place whole, by one rename(2): after kill -9 there
is a workplace that nobody holds, which the next `sweep` removes, and nothing else.
Order of locks: `making`, then `shared` or `exclusive`. Nobody waits for a workplace's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.where import default_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

VERSION = "1\n"
DIRECTORIES = (
    "layout/blobs/sha256", "refs", "rootfs", "containers", "snapshots", "pins", "locks", "work",
)  # fmt: skip
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Store:
    """A store that exists and has the version this program knows."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._held: dict[str, int] = {}

    @classmethod
    def open(cls, path: str = "") -> Store:
        """Return the store at path (default: `default_path`), made where it is missing.

        Raises InputError for a store of another version or another user, HostError where none can
        be made.
        """
        store = cls(os.path.abspath(path) if path else default_path())
        version = store.place("version")
        try:
            with open(version, encoding="ascii") as file:
                found = file.read(16)
        except FileNotFoundError:
            store._make()
            return store
        except OSError as error:
            raise HostError(
                "cannot open the store",
                where=store.path,
                why=f"open: {errno.errorcode[error.errno or errno.EIO]}",
                hint="name another by --store or AISBX_STORE",
            ) from error
        if found != VERSION:
            raise InputError(
                f"the store has version {found.strip()!r}, known is {VERSION.strip()!r}",
                where=store.path,
                hint="use the aisbx that made it, or name another store by --store or AISBX_STORE",
            )
        return store

    def _make(self) -> None:
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            for directory in DIRECTORIES:
                os.makedirs(self.place(directory), mode=0o700, exist_ok=True)
            write_whole(self.place("layout/oci-layout"), b'{"imageLayoutVersion": "1.0.0"}')
            # Last: its presence says that the rest is there.
            write_whole(self.place("version"), VERSION.encode())
        except OSError as error:
            raise HostError(
                "cannot make a store",
                where=error.filename or self.path,
                why=errno.errorcode[error.errno or errno.EIO],
                hint="name another place by --store or AISBX_STORE",
            ) from error

    def place(self, *names: str) -> str:
        """Return the path of something in the store."""
        return os.path.join(self.path, *names)

    @contextlib.contextmanager
    def shared(self) -> Generator[None]:
        """Hold off whoever removes things, while a reference to one of them is made."""
        with _locked(self.place("lock"), fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Generator[None]:
        """Be alone with the references: what has none now may be removed."""
        with _locked(self.place("lock"), fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def making(self, name: str, waiting: Callable[[], None] | None = None) -> Generator[None]:
        """Be the only one who makes `name`; call `waiting` once where another one is at it."""
        with _locked(self.place("locks", name), fcntl.LOCK_EX, waiting):
            yield

    @contextlib.contextmanager
    def workplace(self, name: str) -> Generator[str]:
        """Yield a new empty directory for half-made things; it is removed at the end."""
        with self.shared():
            path = self.place("work", f"{name}.{os.urandom(8).hex()}")
            os.mkdir(path, 0o700)
            # The directory itself: a file in it would go first when the directory is removed.
            fd = os.open(path, _DIRECTORY)
            fcntl.flock(fd, fcntl.LOCK_EX)
        self._held[path] = fd
        try:
            yield path
        finally:
            del self._held[path]
            remove_tree(path)
            os.close(fd)

    def lock_of(self, workplace: str) -> int:
        """Return the fd that holds a workplace: a program that inherits it holds it as well."""
        return self._held[workplace]

    def sweep(self) -> list[str]:
        """Remove the workplaces that nobody holds; return their names."""
        removed: list[str] = []
        with self.making("sweep"), contextlib.ExitStack() as stack:
            with self.exclusive():
                # Between its mkdir and its lock, who makes one holds `shared`.
                free = [
                    name
                    for name in sorted(os.listdir(self.place("work")))
                    if self._hold(name, stack)
                ]
            for name in free:
                try:
                    remove_tree(self.place("work", name))
                except OSError as error:
                    if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
                        raise
                    # A bundle that its own program removes at the same time.
                    continue
                removed.append(name)
        return removed

    def _hold(self, name: str, stack: contextlib.ExitStack) -> bool:
        """Lock a workplace until the stack ends; False where somebody is at work there."""
        try:
            fd = os.open(self.place("work", name), _DIRECTORY)
        except FileNotFoundError:
            # Its owner has come to the end.
            return False
        except PermissionError:
            # The mode of a directory that a program has made for itself.
            _permit(self.place("work", name), None)
            fd = os.open(self.place("work", name), _DIRECTORY)
        stack.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def _locked(path: str, how: int, waiting: Callable[[], None] | None = None) -> Generator[None]:
    # flock(2): the kernel lets go when the last fd is closed, kill -9 included. Lock files stay:
    # removing one that another process has open would give two owners.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def full_disk(store: Store) -> Generator[None]:
    """Make a clear error of a disk that became full."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise HostError(
            "the disk is full; nothing was changed",
            where=str(error.filename or store.path),
            why=errno.errorcode[error.errno],
            hint="free some space (aisbx image gc), or name another store by --store",
        ) from error


def write_whole(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace the file at path in one step, on the disk when this returns."""
    new = f"{path}.new-{os.getpid()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def put_in_place(made: str, target: str) -> None:
    """Move what was made in a workplace to where it belongs, whole or not at all.

    The caller has flushed the files. Raises FileExistsError where the target is a non-empty
    directory: another one was faster, and made the same.
    """
    try:
        os.rename(made, target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise FileExistsError(errno.EEXIST, "already in place", target) from error
        raise
    fd = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, and follow no link; nothing there is fine.

    Made for what hostile programs leave: any depth (each directory is moved up to the top before
    it is emptied, so that neither the stack nor the fds grow), and directories without permissions.
    """
    try:
        top_fd = _opened(path, None)
    except FileNotFoundError:
        return
    try:
        moved = f".{os.urandom(8).hex()}."
        count = 0
        while names := os.listdir(top_fd):
            for name in names:
                count = _remove(top_fd, name, moved, count)
    finally:
        os.close(top_fd)
    os.rmdir(path)


def _remove(top_fd: int, name: str, moved: str, count: int) -> int:
    """Remove top/name, a directory after its directories were moved to the top."""
    try:
        os.unlink(name, dir_fd=top_fd)
    except IsADirectoryError:
        pass
    else:
        return count
    fd = _opened(name, top_fd)
    try:
        for child in os.listdir(fd):
            try:
                os.unlink(child, dir_fd=fd)
            except IsADirectoryError:
                _permit(child, fd)
                os.rename(child, f"{moved}{count}", src_dir_fd=fd, dst_dir_fd=top_fd)
                count += 1
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=top_fd)
    return count


def _opened(name: str, parent_fd: int | None) -> int:
    """Open a directory whose mode may forbid it; closes nothing."""
    _permit(name, parent_fd)
    return os.open(name, _DIRECTORY, dir_fd=parent_fd)


def _permit(name: str, parent_fd: int | None) -> None:
    """Let a plain user read, empty and move a directory of his: a move writes its `..`."""
    if os.geteuid() == 0:
        return
    # What is no directory is not ours to change: chmod(2) follows links.
    path_fd = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=parent_fd)
    try:
        os.chmod(f"/proc/self/fd/{path_fd}", 0o700)
    finally:
        os.close(path_fd)
