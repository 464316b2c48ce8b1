"""One container on disk: directory, facts, journal, lock. Its status is derived, never stored.

ROOT/ID/ (0700) holds
  config.json   a private copy: the bundle's may change while the container lives
  facts.json    what is known of it; replaced by rename
  handles       journal of what was made elsewhere, one `KIND PATH` a line, written ahead
  start.sock    where the stub waits for `start`; gone from then on
The lock is flock(2) on the directory.
"""

from __future__ import annotations

import errno
import fcntl
import time

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import (
    DOES_NOT_EXIST,
    ID_IN_USE,
    Failure,
    StateError,
    UsageError,
    kernel_error,
)
from aisbx_runtime.oci.jsontext import is_array, is_object
from aisbx_runtime.oci.kernel.signal import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_ID_BYTES = 255  # NAME_MAX
FACTS = "facts.json"
CONFIG = "config.json"
HANDLES = "handles"
START_SOCKET = "start.sock"
# What a create that was killed before it had facts may have left.
_EARLY_FILES = frozenset({CONFIG, f"{CONFIG}.new", f"{FACTS}.new", HANDLES, START_SOCKET})


def root_directory(option: str | None) -> str:
    """Return where containers are kept: `--root`, or what can be found again without it.

    podman never passes --root, and sets XDG_RUNTIME_DIR empty for root (contract.md 15, 17).
    """
    if option:
        return os.path.abspath(option)
    from aisbx_runtime.oci.host import in_user_namespace, read_text

    uid_map = read_text("/proc/self/uid_map")
    uid = str(os.geteuid())
    if uid == "0":
        if not in_user_namespace(uid_map):
            return "/run/aisbx"
        # Every user may be root of a namespace: /tmp/aisbx-0 would be whose it is first.
        uid = uid_map.split()[1]
    runtime_dir = os.environment("XDG_RUNTIME_DIR")
    return f"{runtime_dir}/aisbx" if runtime_dir else f"/tmp/aisbx-{uid}"  # noqa: S108


def check_id(container_id: str) -> None:
    """Refuse an id that is not one plain name. Raises UsageError."""
    plain = _ID_CHARACTERS.issuperset(container_id) and container_id[:1] != "."
    if not container_id or not plain or len(container_id) > _ID_BYTES:
        raise UsageError(
            f"invalid container id {container_id!r}",
            hint="use letters, digits and _+-. (not a dot first), at most 255 of them",
        )


class Container:
    """A container's directory, open. `close` or the end of the process lets the lock go."""

    def __init__(self, root: str, container_id: str, dir_fd: int) -> None:
        """Take over `dir_fd`."""
        self.root = root
        self.id = container_id
        self.path = f"{root}/{container_id}"
        self.dir_fd = dir_fd
        self._holds_lock = False

    def close(self) -> None:
        """Close the directory, and let the lock go."""
        os.close(self.dir_fd)

    def lock(self) -> None:
        """Wait until nobody else changes this container.

        Raises StateError when it has been deleted meanwhile.
        """
        fcntl.flock(self.dir_fd, fcntl.LOCK_EX)
        self._holds_lock = True
        if os.fstat(self.dir_fd).st_nlink == 0:
            raise StateError(DOES_NOT_EXIST)

    def unlock(self) -> None:
        """Let others change this container again."""
        self._holds_lock = False
        fcntl.flock(self.dir_fd, fcntl.LOCK_UN)

    def is_locked(self) -> bool:
        """Tell whether another verb is changing this container at the moment."""
        if self._holds_lock:
            # flock(2): trying once more would turn our own lock into a shared one, and lose it.
            return False
        try:
            fcntl.flock(self.dir_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.dir_fd, fcntl.LOCK_UN)
        return False

    def read(self, name: str) -> bytes:
        """Return the content of one of the files. Raises OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.dir_fd)
        try:
            chunks: list[bytes] = []
            while chunk := os.read(fd, 1 << 20):
                chunks.append(chunk)
        finally:
            os.close(fd)
        return b"".join(chunks)

    def replace(self, name: str, content: bytes) -> None:
        """Write one of the files whole, or not at all. Raises OSError (ENOSPC)."""
        temporary = f"{name}.new"
        self._write(temporary, os.O_TRUNC, content)
        os.rename(temporary, name, src_dir_fd=self.dir_fd, dst_dir_fd=self.dir_fd)

    def _write(self, name: str, flag: int, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flag
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self.dir_fd)
            try:
                _write_all(fd, content)
            finally:
                os.close(fd)
        except OSError as error:
            raise kernel_error(error.errno or 0, "write", f"{self.path}/{name}") from None

    def facts(self) -> Facts:
        """Return what is stored. Raises StateError if it is not readable, or another runtime's."""
        try:
            value = jsontext.parse(self.read(FACTS).decode())
        except FileNotFoundError:
            # Killed between the reservation and the first facts: an empty container.
            if _EARLY_FILES.issuperset(os.listdir(self.dir_fd)):
                return Facts({})
            raise StateError(
                f"container {self.id} was made by another runtime",
                where=self.path,
                hint="choose another state directory with --root: each runtime has its own",
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(
                f"container {self.id} is damaged: its facts cannot be read",
                where=f"{self.path}/{FACTS}",
                why=str(error).splitlines()[0],
                hint="remove it with delete --force",
            ) from None
        return Facts(value if is_object(value) else {})

    def save(self, facts: Facts) -> None:
        """Store the facts. Raises OSError."""
        self.replace(FACTS, jsontext.dump(facts.fields).encode())

    def own(self, kind: str, path: str) -> None:
        """Note a thing before it is made, so that a killed create can be cleaned up after."""
        self._write(HANDLES, os.O_APPEND, os.fsencode(f"{kind} {path}\n"))

    def owned(self, kind: str) -> list[str]:
        """Return what was noted of one kind, in the order in which it was made."""
        try:
            # Not splitlines: a cgroup may have a form feed or U+2028 in its name.
            lines = os.fsdecode(self.read(HANDLES)).split("\n")
        except FileNotFoundError:
            return []
        prefix = f"{kind} "
        return [line[len(prefix) :] for line in lines if line.startswith(prefix)]

    def has_start_socket(self) -> bool:
        """Tell whether `start` is still to come."""
        try:
            os.stat(START_SOCKET, dir_fd=self.dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        """Remove the directory with all in it. Something foreign in it makes this fail."""
        for name in os.listdir(self.dir_fd):
            os.unlink(name, dir_fd=self.dir_fd)
        os.rmdir(self.path)


class Facts:
    """The facts of a container: what create learnt. Unknown keys are kept."""

    def __init__(self, fields: dict[str, object]) -> None:
        """Wrap the JSON object."""
        self.fields = fields

    def text(self, key: str) -> str:
        """Return a string, empty when absent."""
        value = self.fields.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return an integer, 0 when absent."""
        value = self.fields.get(key, 0)
        return value if isinstance(value, int) else 0

    def texts(self, key: str) -> list[str]:
        """Return a list of strings, empty when absent."""
        value = self.fields.get(key)
        return [str(one) for one in value] if is_array(value) else []

    def flag(self, key: str) -> bool:
        """Return a truth value, false when absent."""
        return self.fields.get(key) is True

    def mapping(self, key: str) -> dict[str, object]:
        """Return an object, empty when absent."""
        value = self.fields.get(key)
        return value if is_object(value) else {}

    def with_fields(self, **fields: object) -> Facts:
        """Return the facts with some of them changed."""
        return Facts({**self.fields, **fields})


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def reserve(root: str, container_id: str) -> Container:
    """Make the directory of a new container, locked: from here on the id is taken.

    Raises StateError if it is taken, Failure if the root cannot be used.
    """
    check_id(container_id)
    _make_root(root)
    path = f"{root}/{container_id}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        raise StateError(f"{ID_IN_USE}: {container_id}") from None
    except OSError as error:
        raise _unusable(root, error) from None
    try:
        container = _open(root, container_id)
        container.lock()
    except OSError:
        os.rmdir(path)
        raise
    return container


def _make_root(root: str) -> None:
    try:
        os.makedirs(root, 0o700)
        found = os.stat(root)
    except OSError as error:
        raise _unusable(root, error) from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Failure(
            f"the state directory {root} may be written by others",
            hint="choose another one with --root, or give it to this user with mode 0700",
        )


def _unusable(root: str, error: OSError) -> Failure:
    return Failure(
        f"cannot use the state directory {root}",
        why=errno.errorcode.get(error.errno or 0, ""),
        hint="choose another one with --root",
    )


def load(root: str, container_id: str) -> Container:
    """Return a container that is there. Raises StateError (`container does not exist`)."""
    check_id(container_id)
    try:
        return _open(root, container_id)
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(f"{DOES_NOT_EXIST}: {container_id}") from None


def _open(root: str, container_id: str) -> Container:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    dir_fd = os.open(f"{root}/{container_id}", flags)
    found = os.fstat(dir_fd)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        # Facts name pids to kill and cgroups to remove: nobody else's are believed.
        os.close(dir_fd)
        raise Failure(
            f"the state of container {container_id} may be written by others",
            where=root,
            hint="choose another state directory with --root",
        )
    return Container(root, container_id, dir_fd)


def every(root: str) -> Iterator[Container]:
    """Yield all containers below a root, by id; each is closed before the next is opened."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith("."):
            continue
        try:
            container = _open(root, name)
        except (FileNotFoundError, NotADirectoryError, Failure):
            # Deleted meanwhile, not a container, or not ours.
            continue
        yield container
        container.close()


# ---- status ------------------------------------------------------------------------------------
_MAX_PID = 1 << 22  # proc_sys_kernel(5), pid_max
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


def status_of(container: Container, facts: Facts) -> str:
    """Return the status, from what the kernel says of init right now (runtime.md, State).

    What a killed create has left stays `creating` as long as its init waits: nobody can finish it
    or start it, only `kill` and `delete` (without --force as well) end it. Mostly it is `stopped`:
    until `ready` the kernel takes init along, see PR_SET_PDEATHSIG in `init`.
    """
    if not facts.flag("complete"):
        if container.is_locked():
            return CREATING
        # Whoever had the lock may have become ready since `facts` were read.
        facts = container.facts()
        if not facts.flag("complete"):
            return CREATING if _init_is_alive(facts) else STOPPED
    if not _init_is_alive(facts):
        return STOPPED
    if container.has_start_socket():
        return CREATED
    from aisbx_runtime.oci import cgroup

    return PAUSED if cgroup.is_frozen(tuple(facts.texts("cgroups"))) else RUNNING


def _init_is_alive(facts: Facts) -> bool:
    return is_alive(facts.number("pid"), facts.number("start_time"))


def open_init(facts: Facts) -> int:
    """Return a pidfd of init, -1 if it has ended. Its pid cannot mean another process."""
    pid = facts.number("pid")
    if not 0 < pid <= _MAX_PID:
        return -1
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL}:
            return -1
        raise
    if is_alive(pid, facts.number("start_time")):
        return pidfd
    os.close(pidfd)
    return -1


def state_of(container: Container, facts: Facts, *, status: str | None = None) -> dict[str, object]:
    """Return the state of runtime.md, with the fields that runc adds and engines read."""
    shown = status or status_of(container, facts)
    state: dict[str, object] = {
        "ociVersion": facts.text("ociVersion") or "1.0.2",
        "id": container.id,
        "pid": 0 if shown == STOPPED else facts.number("pid"),
        "status": shown,
        "bundle": facts.text("bundle"),
        "rootfs": facts.text("rootfs"),
        "created": facts.text("created") or rfc3339(os.stat(container.dir_fd).st_mtime_ns),
        "owner": facts.text("owner"),
    }
    annotations = facts.mapping("annotations")
    if annotations:
        state["annotations"] = annotations
    return state


def rfc3339(nanoseconds: int) -> str:
    """Return a time in UTC as Go's time.RFC3339Nano reads it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
