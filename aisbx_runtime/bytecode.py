"""Link the modules of each verb into one file, which `launch` reads: `make build`, `make install`.

Finding, opening and reading 80 modules one by one, each with its own copy of every name, takes
two thirds of the time that importing them takes. Nothing is used that differs from its source, so
an edit takes effect, and whatever is not linked is imported the ordinary way.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from importlib.util import MAGIC_NUMBER

from aisbx_runtime.launch import (
    FILE,
    HEADER_DIGITS,
    SANDBOX,
    SANDBOX_MODULES,
    VERBS,
    source_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.launch import Linked

_ROOMS = ("aisbx_runtime.oci", "aisbx_runtime.sandbox")
_FUTURE = b"from __future__ import annotations\n"
# CO_FUTURE_ANNOTATIONS (Include/cpython/code.h), what the line above asks of the compiler.
_ANNOTATIONS = 0x1000000
# Print the modules of an import, each when it is complete: after those that it needs.
_LISTING = """\
import sys
sys.path.insert(0, {staged!r})
import importlib._bootstrap_external as external
load = external.SourceFileLoader.exec_module
def keep(self, module):
    load(self, module)
    print(module.__name__)
external.SourceFileLoader.exec_module = keep
import {wanted}
"""


def write(library: str, staged: str) -> None:
    """Write the file below `staged`, for a library that will lie at `library`."""
    index: dict[str, tuple[int, int]] = {}
    blobs: list[bytes] = []
    offset = 0
    wanted = {verb: _imported(_ROOMS[0], ("cli", *names)) for verb, names in VERBS.items()}
    wanted[SANDBOX] = _imported(_ROOMS[1], SANDBOX_MODULES)
    for verb, names in wanted.items():
        linked = [_linked(library, staged, name) for name in _modules_of(names, staged)]
        blob = marshal.dumps(linked)
        index[verb] = (offset, len(blob))
        blobs.append(blob)
        offset += len(blob)
    header = marshal.dumps(index)
    length = f"{len(header):0{HEADER_DIGITS}d}".encode()
    target = f"{staged}/aisbx_runtime/{FILE}"
    new = f"{target}.new-{os.getpid()}"
    with open(new, "wb") as out:
        out.write(MAGIC_NUMBER + length + header + b"".join(blobs))
    os.rename(new, target)


def _imported(room: str, names: tuple[str, ...]) -> str:
    return ", ".join([f"{room}.{name}" for name in names])


def _modules_of(wanted: str, staged: str) -> list[str]:
    """Return our modules that an import of `wanted` loads, each after those that it needs."""
    program = _LISTING.format(staged=staged, wanted=wanted)
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", program], capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.split() if name.startswith(_ROOMS)]


def _linked(library: str, staged: str, name: str) -> Linked:
    is_package = os.path.isdir(f"{staged}/{name.replace('.', '/')}")
    source = source_of(staged, name, is_package=is_package)
    found = os.stat(source)
    with open(source, "rb") as opened:
        text = opened.read()
    # The flag instead of the import, which would load a module; the line stays, empty. No
    # docstrings: nothing reads them at run time, and they are a third of the bytes.
    code = compile(
        text.replace(_FUTURE, b"\n", 1),
        source_of(library, name, is_package=is_package),
        "exec",
        flags=_ANNOTATIONS if _FUTURE in text else 0,
        dont_inherit=True,
        optimize=2,
    )
    return name, is_package, int(found.st_mtime), found.st_size, code
