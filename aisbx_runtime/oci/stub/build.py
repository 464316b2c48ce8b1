"""Build the stub from stub.c: `/usr/bin/python3 build.py [--cc CC] OUTPUT`, or `build()`.

A build-time program; nothing of the runtime imports it. The same source and compiler give the
same bytes: no flags are taken from the environment, and no path, time or build id goes in.
"""

from __future__ import annotations

import os
import sys

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stub.c")
PACKAGES = "apt install gcc linux-libc-dev"
FLAGS = (
    "-std=gnu11",
    "-Os",
    # No libc: nothing may be expected from it, neither start files nor __stack_chk_fail.
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    # Position-dependent: there is nobody to apply relocations.
    "-fno-pic",
    "-no-pie",
    # Only code and strings: no unwind tables, notes or compiler name. Distributions turn
    # -fcf-protection on by default, which adds a note.
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-ident",
    "-fcf-protection=none",
    "-Wl,--build-id=none",
    "-Wl,--strip-all",
    # One segment, read and execute, of one page; no writable segment, the stack not executable.
    "-Wl,-z,noseparate-code",
    "-Wl,-z,norelro",
    "-Wl,-z,noexecstack",
)


class BuildError(Exception):
    """The stub could not be built; `hint` says what to do, or is empty."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint


def build(output: str, cc: str = "cc") -> None:
    """Compile the stub to `output`, which appears complete or not at all. Raises BuildError."""
    import subprocess

    unfinished = f"{output}.{os.getpid()}"
    command = [cc, *FLAGS, "-Wall", "-Wextra", "-o", unfinished, SOURCE]
    # The environment can add flags and search paths to gcc (COMPILER_PATH, CPATH); keep them out.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=False)
    except (FileNotFoundError, PermissionError):  # execvp(3): EACCES if PATH cannot be searched
        raise BuildError(f'there is no C compiler "{cc}"', hint=PACKAGES) from None
    if result.returncode != 0:
        raise BuildError(
            f"{cc} cannot build {SOURCE}:\n{result.stderr.decode(errors='replace').rstrip()}",
            hint=f"it takes gcc or clang and the headers of the kernel: {PACKAGES}",
        )
    os.replace(unfinished, output)


def main() -> int:
    import argparse

    parser = argparse.ArgumentParser(description="Build the stub of aisbx-runtime.")
    parser.add_argument("--cc", default="cc", help="the C compiler (default: cc)")
    parser.add_argument("output", help="the file to write")
    arguments = parser.parse_args()
    try:
        build(arguments.output, arguments.cc)
    except BuildError as error:
        hint = f"hint: {error.hint}\n" if error.hint else ""
        sys.stderr.write(f"build.py: {error.what}\n{hint}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
