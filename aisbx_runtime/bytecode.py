"""Start-up: the modules that a verb needs, linked into one file before anybody starts it.

Finding, opening and reading 80 modules one by one, each with its own copy of every name, takes
two thirds of the time that importing them takes. `make build` and `make install` write for each
hot verb one marshalled list of its modules in the order in which they need each other; the
launcher reads the list of the verb it is called with and runs it. Nothing is linked in that
differs from its source now, so an edit takes effect, and whatever is not linked in is imported
the ordinary way.
"""

from __future__ import annotations

import gc
import marshal
import posix
import sys
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    # name, is a package, mtime (whole seconds: archives keep no more) and size of the source, code
    Linked = tuple[str, bool, int, int, CodeType]

FILE = "bytecode.bin"
_PACKAGE = "aisbx_runtime.oci"
# Verb -> what it imports later, in nearly every call, besides the module it is named after.
VERBS = {
    "create": ("lifecycle.create", "seccomp.cache"),
    "start": ("lifecycle.start",),
    "state": ("lifecycle.state", "cgroup"),
    "kill": ("lifecycle.kill", "kernel.signal"),
    "delete": ("lifecycle.delete", "cgroup"),
    "run": ("lifecycle.run", "lifecycle.foreground", "seccomp.cache", "cgroup"),
    "exec": ("lifecycle.exec", "lifecycle.foreground", "seccomp.cache", "cgroup"),
}
_DIGITS = 8


def use(library: str, words: list[str]) -> None:
    """Make the modules of the verb in `words` from the file, if all of them are as they were."""
    # A process that lives for 20 ms leaves no garbage worth looking for: 3 of them.
    gc.disable()
    verb = next((word for word in words if word in VERBS), None)
    if verb is None:
        return
    try:
        fd = posix.open(f"{library}/aisbx_runtime/{FILE}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        # Not built: importing the ordinary way does the same.
        return
    try:
        start = len(MAGIC_NUMBER) + _DIGITS
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


def _is_current(library: str, linked: list[Linked]) -> bool:
    for name, is_package, changed, size, _ in linked:
        try:
            found = posix.stat(source_of(library, name, is_package=is_package))
        except OSError:
            return False
        if int(found.st_mtime) != changed or found.st_size != size:
            return False
    return True


def _run(library: str, linked: list[Linked]) -> None:
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


def write(library: str, staged: str) -> None:
    """Write the file below `staged`, for a library that will lie at `library`."""
    import os

    index: dict[str, tuple[int, int]] = {}
    blobs: list[bytes] = []
    offset = 0
    for verb in VERBS:
        linked = [_linked(library, staged, name) for name in _modules_of(verb, staged)]
        blob = marshal.dumps(linked)
        index[verb] = (offset, len(blob))
        blobs.append(blob)
        offset += len(blob)
    header = marshal.dumps(index)
    target = f"{staged}/aisbx_runtime/{FILE}"
    new = f"{target}.new-{os.getpid()}"
    with open(new, "wb") as out:
        out.write(MAGIC_NUMBER + f"{len(header):0{_DIGITS}d}".encode() + header + b"".join(blobs))
    os.rename(new, target)


def _modules_of(verb: str, staged: str) -> list[str]:
    """Return the runtime's modules that a verb imports, each after those that it needs."""
    import subprocess

    wanted = ", ".join([f"{_PACKAGE}.{name}" for name in ("cli", *VERBS[verb])])
    # A module gets its name into sys.modules when its import begins: its end is what counts.
    program = (
        f"import sys; sys.path.insert(0, {staged!r}); done = []\n"
        "import importlib._bootstrap_external as external\n"
        "load = external.SourceLoader.exec_module\n"
        "def keep(self, module):\n"
        "    load(self, module); done.append(module.__name__)\n"
        "external._LoaderBasics.exec_module = external.SourceFileLoader.exec_module = keep\n"
        f"import {wanted}\n"
        "print('\\n'.join(done))"
    )
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", program], capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.split() if name.startswith(_PACKAGE)]


def _linked(library: str, staged: str, name: str) -> Linked:
    import os

    is_package = os.path.isdir(f"{staged}/{name.replace('.', '/')}")
    source = source_of(staged, name, is_package=is_package)
    found = os.stat(source)
    with open(source, "rb") as opened:
        text = opened.read()
    # Without docstrings: nothing reads them at run time, and they are a third of the bytes.
    shown = source_of(library, name, is_package=is_package)
    code = compile(text, shown, "exec", dont_inherit=True, optimize=2)
    return name, is_package, int(found.st_mtime), found.st_size, code
