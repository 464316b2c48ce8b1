"""Build and install the runtime: launcher, stub, bytecode, registration with podman.

Started by `make build`, `make install` and `make uninstall`, with the interpreter that the
launcher shall name.
No part of the runtime: it is not installed, and `aisbx_runtime.oci` never imports it.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys

from aisbx_runtime import bytecode, launch
from aisbx_runtime.oci.lifecycle.version import COMMIT_FILE
from aisbx_runtime.oci.stub import build as stub

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = "aisbx-runtime"
STUB = "aisbx_runtime/oci/stub/stub"
# What only a build needs, or makes anew at its place.
NOT_INSTALLED = (
    "aisbx_runtime/install.py",
    f"aisbx_runtime/{launch.FILE}",
    f"aisbx_runtime/{COMMIT_FILE}",
    "aisbx_runtime/oci/stub/build.py",
    "aisbx_runtime/oci/stub/stub.c",
    STUB,
)

# -I: engines pass their whole environment, PYTHONPATH included. -S: `site` costs 3 to 45 ms.
LAUNCHER = """\
#!{interpreter} -IS
# Written by aisbx_runtime/install.py; a rebuild overwrites it.
import sys

sys.path.insert(0, {library!r})
from aisbx_runtime.launch import main

main({library!r}, sys.argv[1:])
"""

# podman 4 replaces its default lists by these (so they are whole), and fails to parse the
# `{append=true}` of podman 5. The key is `nocgroup`, singular, whatever the man page says.
DROP_IN_MARK = "# Written by aisbx-runtime; `make install` overwrites only files that begin so."
DROP_IN = """\
{mark}
[engine]
runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "aisbx"]
runtime_supports_nocgroup = ["crun", "krun", "aisbx"]

[engine.runtimes]
aisbx = ["{program}"]
"""


class InstallError(Exception):
    """What could not be done, in one line for the person who called make."""


def launcher_text(interpreter: str, library: str) -> str:
    """Return the program's text. execve(2) reads 255 bytes of its first line, split at spaces."""
    if not os.path.isabs(interpreter) or len(interpreter.encode()) > 240 or " " in interpreter:
        raise InstallError(
            f"{interpreter!r} cannot stand in a #! line; hint: make PYTHON=/usr/bin/python3"
        )
    return LAUNCHER.format(interpreter=interpreter, library=library)


def write_whole(path: str, text: str, mode: int) -> None:
    """Replace the file at path in one step: an engine may be starting it right now."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new = f"{path}.new-{os.getpid()}"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(new, mode)
    os.rename(new, path)


def compile_bytecode(library: str, mode: py_compile.PycInvalidationMode, destdir: str = "") -> None:
    compiled = compileall.compile_dir(
        os.path.join(library, "aisbx_runtime"),
        quiet=1,
        force=True,
        stripdir=destdir or None,
        prependdir="/" if destdir else None,
        invalidation_mode=mode,
    )
    if not compiled:
        raise InstallError(f"the bytecode below {library} could not be compiled")


def write_commit(library: str) -> None:
    """Bake in what --version says of the source: without git, or of no checkout, nothing."""
    path = os.path.join(library, "aisbx_runtime", COMMIT_FILE)
    words = ["git", "-C", CHECKOUT, "describe", "--always", "--match=", "--abbrev=40", "--dirty"]
    here = os.path.exists(os.path.join(CHECKOUT, ".git"))
    try:
        said = (
            subprocess.run(words, capture_output=True, text=True, check=here).stdout if here else ""
        )
    except (OSError, subprocess.CalledProcessError):
        # No git here, or a checkout of somebody else's: git(1), safe.directory.
        said = ""
    if said:
        write_whole(path, said, 0o644)
    elif os.path.exists(path):
        os.unlink(path)


def build(interpreter: str, compiler: str) -> None:
    """Make the checkout runnable: bin/aisbx-runtime, its stub, its bytecode."""
    stub.build(os.path.join(CHECKOUT, STUB), compiler)
    # Checked by time stamp, so that a developer's edit takes effect at the next start.
    compile_bytecode(CHECKOUT, py_compile.PycInvalidationMode.TIMESTAMP)
    bytecode.write(CHECKOUT, CHECKOUT)
    write_commit(CHECKOUT)
    program = os.path.join(CHECKOUT, "bin", PROGRAM)
    write_whole(program, launcher_text(interpreter, CHECKOUT), 0o755)
    print(f"build: {program} runs with {interpreter}")


def copy_tree(source: str, target: str) -> None:
    """Copy files with root's modes whatever the umask and the checkout say: root will run them."""
    os.makedirs(target, exist_ok=True)
    os.chmod(target, 0o755)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        path = os.path.join(target, entry.name)
        if entry.name == "__pycache__" or os.path.relpath(entry.path, CHECKOUT) in NOT_INSTALLED:
            continue
        if entry.is_dir(follow_symlinks=False):
            copy_tree(entry.path, path)
        elif entry.is_file(follow_symlinks=False):
            shutil.copyfile(entry.path, path)
            os.chmod(path, 0o644)


def install(where: Places, interpreter: str, compiler: str) -> None:
    """Install the library, the program and podman's drop-in below where.destdir."""
    staged = where.staged(where.library)
    new = f"{staged}.new-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    copy_tree(os.path.join(CHECKOUT, "aisbx_runtime"), os.path.join(new, "aisbx_runtime"))
    if os.path.isdir(os.path.join(CHECKOUT, "spec")):
        copy_tree(os.path.join(CHECKOUT, "spec"), os.path.join(new, "spec"))
    shutil.copyfile(os.path.join(CHECKOUT, "LICENSE"), os.path.join(new, "LICENSE"))
    stub.build(os.path.join(new, STUB), compiler)
    write_commit(new)
    replace_directory(new, staged)
    # Unchecked: valid whatever a packager does to time stamps. Sources stay beside it, for
    # tracebacks and for the day when the interpreter is upgraded under it.
    compile_bytecode(staged, py_compile.PycInvalidationMode.UNCHECKED_HASH, where.destdir)
    bytecode.write(where.library, staged)
    write_whole(where.staged(where.program), launcher_text(interpreter, where.library), 0o755)
    print(f"install: {where.staged(where.program)} runs with {interpreter}")
    write_drop_in(where.staged(where.drop_in), where.program)


def replace_directory(new: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    old = f"{target}.old-{os.getpid()}"
    if os.path.lexists(target):
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def write_drop_in(path: str, program: str) -> None:
    """Register the runtime with podman as `aisbx`, unless somebody else wrote that file."""
    if os.path.lexists(path) and not is_ours(path):
        print(f"install: {path} is somebody else's and stays; use podman --runtime {program}")
        return
    write_whole(path, DROP_IN.format(mark=DROP_IN_MARK, program=program), 0o644)
    print(f"install: podman --runtime aisbx is {program} ({path})")


def is_ours(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\n") == DROP_IN_MARK
    except (OSError, UnicodeDecodeError):  # gone, a directory, or no text: not what we wrote
        return False


def uninstall(where: Places) -> None:
    """Remove what install made, and nothing else."""
    shutil.rmtree(where.staged(where.library), ignore_errors=True)
    for path in (where.staged(where.program), where.staged(where.drop_in)):
        if os.path.lexists(path) and (path.endswith(PROGRAM) or is_ours(path)):
            os.unlink(path)
            print(f"uninstall: removed {path}")


class Places:
    """Where things go on the target; `staged` adds the packager's DESTDIR."""

    def __init__(self, prefix: str, sysconfdir: str, destdir: str) -> None:
        for name, value in (("PREFIX", prefix), ("SYSCONFDIR", sysconfdir)):
            if not os.path.isabs(value):
                raise InstallError(f"{name}={value} is not an absolute path")
        self.destdir = os.path.abspath(destdir) if destdir else ""
        self.library = os.path.join(prefix, "lib/aisbx")
        self.program = os.path.join(prefix, "bin", PROGRAM)
        self.drop_in = os.path.join(sysconfdir, "containers/containers.conf.d/aisbx.conf")

    def staged(self, path: str) -> str:
        return f"{self.destdir}{path}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    parser.add_argument("command", choices=["build", "install", "uninstall"])
    parser.add_argument("--prefix", default="/usr/local")
    parser.add_argument("--sysconfdir", default="/etc")
    parser.add_argument("--destdir", default="")
    parser.add_argument("--compiler", default="cc")
    options = parser.parse_args()
    os.umask(0o022)
    try:
        if options.command == "build":
            build(sys.executable, options.compiler)
        else:
            where = Places(options.prefix, options.sysconfdir, options.destdir)
            if options.command == "install":
                install(where, sys.executable, options.compiler)
            else:
                uninstall(where)
    except stub.BuildError as error:
        print(f"{options.command}: {error.what}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except (InstallError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
