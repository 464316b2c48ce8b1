"""Build and install the programs: launchers, stub, bytecode, containerd's shim, podman's drop-in.

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
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.lifecycle.version import COMMIT_FILE
from aisbx_runtime.oci.register import change, engine, podman, shim
from aisbx_runtime.oci.stub import build as stub

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = "aisbx-runtime"
# What people call, beside it.
SANDBOX = "aisbx"
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
from aisbx_runtime.launch import {main}

{main}({arguments}, sys.argv[1:])
"""


class InstallError(Exception):
    """What could not be done, in one line for the person who called make."""


def launcher_text(interpreter: str, library: str, runtime: str = "") -> str:
    """Return the text of the runtime's program, or of the sandbox's, which uses `runtime`.

    execve(2) reads 255 bytes of its first line, split at spaces.
    """
    if not os.path.isabs(interpreter) or len(interpreter.encode()) > 240 or " " in interpreter:
        raise InstallError(
            f"{interpreter!r} cannot stand in a #! line; hint: make PYTHON=/usr/bin/python3"
        )
    return LAUNCHER.format(
        interpreter=interpreter,
        library=library,
        main="main_of_sandbox" if runtime else "main",
        arguments=f"{library!r}, {runtime!r}" if runtime else repr(library),
    )


def write_programs(where: str, program: str, interpreter: str, library: str) -> None:
    """Write the runtime's launcher, and beside it the sandbox's, which starts `program`."""
    write_whole(where, launcher_text(interpreter, library), 0o755)
    text = launcher_text(interpreter, library, program)
    write_whole(os.path.join(os.path.dirname(where), SANDBOX), text, 0o755)


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
    write_programs(program, program, interpreter, CHECKOUT)
    link_runc(CHECKOUT, program)
    write_whole(shim.beside(program), shim_text(CHECKOUT), 0o755)
    print(f"build: {program} runs with {interpreter}")


def link_runc(staged: str, program: str) -> None:
    """Make the `runc` that our shim lets containerd's shim find, below a library."""
    directory = shim.directory_of(staged)
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, shim.RUNC)
    new = f"{path}.new-{os.getpid()}"
    os.symlink(program, new)
    os.rename(new, path)


def shim_text(library: str) -> str:
    """Return the shim for the library that lies here, with our mark."""
    return change.marked(shim.text(shim.directory_of(library))).decode()


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
    """Install the library, the programs and podman's drop-in below where.destdir."""
    staged = where.staged(where.library)
    new = f"{staged}.new-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    copy_tree(os.path.join(CHECKOUT, "aisbx_runtime"), os.path.join(new, "aisbx_runtime"))
    for name in ("spec", "profiles"):
        if os.path.isdir(os.path.join(CHECKOUT, name)):
            copy_tree(os.path.join(CHECKOUT, name), os.path.join(new, name))
    shutil.copyfile(os.path.join(CHECKOUT, "LICENSE"), os.path.join(new, "LICENSE"))
    stub.build(os.path.join(new, STUB), compiler)
    write_commit(new)
    link_runc(new, where.program)
    replace_directory(new, staged)
    # Unchecked: valid whatever a packager does to time stamps. Sources stay beside it, for
    # tracebacks and for the day when the interpreter is upgraded under it.
    compile_bytecode(staged, py_compile.PycInvalidationMode.UNCHECKED_HASH, where.destdir)
    bytecode.write(where.library, staged)
    write_programs(where.staged(where.program), where.program, interpreter, where.library)
    print(f"install: {where.staged(where.program)} runs with {interpreter}")
    write_ours(
        where.staged(shim.beside(where.program)), shim.text(shim.directory_of(where.library))
    )
    if write_ours(where.staged(podman.path_below(where.etc)), podman.text(where.program), 0o644):
        print(f"install: podman and buildah know {where.program} as aisbx")


def replace_directory(new: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    old = f"{target}.old-{os.getpid()}"
    if os.path.lexists(target):
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def write_ours(path: str, text: str, mode: int = 0o755) -> bool:
    """Write a file of ours, unless somebody else's is there."""
    try:
        change.apply(change.of_marked(path, text, mode))
    except HostError as error:
        print(f"install: {error.what}")
        return False
    print(f"install: {path}")
    return True


def uninstall(where: Places) -> None:
    """Remove what install made, and what `register` told engines of it; nothing else."""
    for name in engine.ENGINES:
        unregister(name, where)
    shutil.rmtree(where.staged(where.library), ignore_errors=True)
    program, beside = where.staged(where.program), where.staged(shim.beside(where.program))
    ours = (program, os.path.join(os.path.dirname(program), SANDBOX))
    for path in (*ours, beside):
        if os.path.lexists(path) and (path in ours or is_ours(path)):
            os.unlink(path)
            print(f"uninstall: removed {path}")


def unregister(name: str, where: Places) -> None:
    """Take back a registration that names the program."""
    try:
        found = engine.registration(
            name,
            where.program,
            where.library,
            where.staged(where.etc),
            shims=where.staged(where.shims),
            remove=True,
        )
        if any(where.program.encode() in (one.before or b"") for one in found.changes):
            for one in found.changes:
                change.apply(one)
                print(f"uninstall: {one.path}: {one.word()}")
    except HostError as error:
        print(f"uninstall: {error.what}")


def is_ours(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return change.is_ours(file.read())
    except OSError:  # gone, or a directory: not what we wrote
        return False


class Places:
    """Where things go on the target; `staged` adds the packager's DESTDIR."""

    def __init__(self, prefix: str, sysconfdir: str, destdir: str) -> None:
        for name, value in (("PREFIX", prefix), ("SYSCONFDIR", sysconfdir)):
            if not os.path.isabs(value):
                raise InstallError(f"{name}={value} is not an absolute path")
        self.destdir = os.path.abspath(destdir) if destdir else ""
        self.library = os.path.join(prefix, "lib/aisbx")
        self.program = os.path.join(prefix, "bin", PROGRAM)
        self.etc = sysconfdir.rstrip("/")
        self.shims = shim.DIRECTORY

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
