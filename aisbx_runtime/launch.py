"""The first module of a start: it makes the modules of the verb and calls `oci.cli`, or `aisbx`.

It imports nothing but C modules, not even `__future__`: each file more is 0.2 ms of every start.
`bytecode` writes the file that is read here (docs/decisions/0001).
"""

import gc
import marshal
import posix
import sys
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import NoReturn

    # name, is a package, mtime (whole seconds: archives keep no more) and size of the source, code
    Linked = tuple[str, bool, int, int, CodeType]

FILE = "bytecode.bin"
HEADER_DIGITS = 8
# Verb -> what it imports, now and later, besides `cli`.
VERBS = {
    "create": ("lifecycle.create", "seccomp.cache"),
    "start": ("lifecycle.start",),
    "state": ("lifecycle.state", "cgroup"),
    "kill": ("lifecycle.kill", "kernel.signal"),
    "delete": ("lifecycle.delete", "cgroup"),
    "list": ("lifecycle.list", "cgroup"),
    "run": ("lifecycle.run", "lifecycle.foreground", "seccomp.cache", "cgroup"),
    "exec": ("lifecycle.exec", "lifecycle.foreground", "seccomp.cache", "cgroup"),
}
# What `aisbx run` of a cached image imports; a name that is no word of a verb's.
SANDBOX = "aisbx run"
SANDBOX_MODULES = (
    "start", "options", "prepared", "run", "images.names", "runtime", "where", "defaults",
)  # fmt: skip
# Verb -> the files of which it will write one, to move a process between cgroups. With cgroup v2
# create moves none: container init is born where it belongs.
_V1 = "/sys/fs/cgroup/freezer/cgroup.procs"
_V2 = "/sys/fs/cgroup/cgroup.procs"
_MOVES = {"create": (_V1,), "run": (_V1,), "exec": (_V1, _V2)}


def main(library: str, words: list[str]) -> "NoReturn":
    """Carry out the call `words` with the modules below `library`."""
    # A process that lives for 20 ms leaves no garbage worth looking for: 3 of them.
    gc.disable()
    verb = next((word for word in words if word in VERBS), "")
    helper = _begin_grace_period(_MOVES.get(verb, ()))
    if verb:
        _link(library, verb)
    from aisbx_runtime.oci.cli import main as carry_out

    carry_out(words, helper)


def main_of_sandbox(library: str, runtime: str, words: list[str]) -> "NoReturn":
    """Carry out the call `words` of aisbx; runtime: the program aisbx-runtime."""
    gc.disable()
    if "run" in words[:3]:
        _link(library, SANDBOX)
    from aisbx_runtime.sandbox.start import main as carry_out

    carry_out(library, runtime, words)


def _begin_grace_period(files: tuple[str, ...]) -> int:
    """Let an RCU grace period pass during our imports; return the pid of the helper, or 0.

    Whoever moves a process between cgroups waits for one, 10 to 15 ms, when nobody has moved any
    for a while (cgroup_threadgroup_rwsem, kernel/cgroup/cgroup.c). The helper moves itself to
    where it ends, so that the move that counts finds the wait over (docs/decisions/0003).
    """
    for file in files:
        try:
            fd = posix.open(file, posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError:
            # Another cgroup version, or not ours to write.
            continue
        pid = posix.fork()
        if pid == 0:
            try:
                # 0 is the writer itself (cgroups(7)).
                posix.write(fd, b"0")
            finally:
                posix._exit(0)  # pyright: ignore[reportPrivateUsage]
        posix.close(fd)
        return pid
    return 0


def _link(library: str, verb: str) -> None:
    """Make the modules of a verb from the file, if all of them are as they were."""
    try:
        fd = posix.open(f"{library}/aisbx_runtime/{FILE}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        # Not built: importing the ordinary way does the same.
        return
    try:
        start = len(MAGIC_NUMBER) + HEADER_DIGITS
        head = posix.read(fd, start)
        if head[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
            return
        length = int(head[len(MAGIC_NUMBER) :])
        index = marshal.loads(posix.read(fd, length))
        offset, size = index[verb]
        linked: list[Linked] = marshal.loads(posix.pread(fd, size, start + length + offset))
    finally:
        posix.close(fd)
    if _is_current(library, linked):
        _run(library, linked)


def _is_current(library: str, linked: "list[Linked]") -> bool:
    for name, is_package, changed, size, _ in linked:
        try:
            found = posix.stat(source_of(library, name, is_package=is_package))
        except OSError:
            return False
        if int(found.st_mtime) != changed or found.st_size != size:
            return False
    return True


def _run(library: str, linked: "list[Linked]") -> None:
    modules = sys.modules
    module_type = type(sys)  # pyright: ignore[reportUnknownVariableType]
    for name, is_package, _, _, code in linked:
        module = module_type(name)
        file = source_of(library, name, is_package=is_package)
        module.__file__ = file
        if is_package:
            module.__path__ = [file.rpartition("/")[0]]
        modules[name] = module
        parent, _, child = name.rpartition(".")
        setattr(modules[parent], child, module)
        exec(code, module.__dict__)  # noqa: S102  (what importlib's own loaders do)


def source_of(library: str, name: str, *, is_package: bool) -> str:
    """Return the path of a module's source below the library."""
    tail = "/__init__.py" if is_package else ".py"
    return f"{library}/{name.replace('.', '/')}{tail}"
