"""The kernel of the guests: User-Mode Linux, as Debian builds it, made to start on this host."""

from __future__ import annotations

import glob
import lzma
import os
import platform
import shutil
import subprocess

from integration import debian
from integration.lab import cache
from integration.runtime import PATH

SUITE = "forky"  # trixie's 6.12 lacks the fast way to catch system calls (seccomp=, Linux 6.16)
OLD_SUITE = "bookworm"  # Linux 6.1, the oldest there is: what the runtime must not ask for
RECIPE = "1"  # another word where build() makes something else
INTERPRETER = b"/lib64/ld-linux-x86-64.so.2\0"
OWN_INTERPRETER = b"lib/ld-linux-x86-64.so.2"
MODULES = ("crypto", "drivers/block", "drivers/net", "fs", "lib", "net")  # the kernel has them
FIRST = "fs/overlayfs/overlay.ko"  # before there is a root with modprobe


def lacks() -> str:
    """Return why no guest can be started on this host, or ""."""
    if platform.machine() != "x86_64":
        return f"User-Mode Linux of Debian is for x86-64 only, this is {platform.machine()}"
    programs = ("apt-get", "busybox", "depmod", "mke2fs", "unshare")
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    return f"not installed: {' '.join(missing)} (hint: make setup-lab)" if missing else ""


def name(suite: str = SUITE) -> str:
    return f"kernel-{cache.key(suite, RECIPE, *MODULES)}"


def build(directory: str, suite: str = SUITE) -> None:
    """Fetch Debian's package and put `linux`, its C library and the modules into the directory."""
    cache.say(f"fetching User-Mode Linux of {suite} (about 10 MB)")
    scratch = f"{directory}/scratch"
    apt = debian.Apt(f"{scratch}/apt", suite)
    apt("update")
    for package in ("user-mode-linux", "libc6"):
        apt.unpack(package, f"{scratch}/{package}")
    with open(f"{scratch}/user-mode-linux/usr/bin/linux.uml", "rb") as file:
        program = with_interpreter(file.read())
    with open(f"{directory}/linux", "wb") as file:
        file.write(program)
    os.chmod(f"{directory}/linux", 0o755)
    os.mkdir(f"{directory}/lib")
    for library in ("ld-linux-x86-64.so.2", "libc.so.6"):
        (path,) = glob.glob(f"{scratch}/libc6/**/lib/x86_64-linux-gnu/{library}", recursive=True)
        shutil.copy(path, f"{directory}/lib/{library}")
    (modules,) = glob.glob(f"{scratch}/user-mode-linux/usr/lib/uml/modules/*")
    target = f"{directory}/lib/modules/{os.path.basename(modules)}"
    for part in MODULES:
        shutil.copytree(f"{modules}/kernel/{part}", f"{target}/kernel/{part}")
    for path in glob.glob(f"{modules}/modules.*"):
        shutil.copy(path, target)
    for path in glob.glob(f"{target}/**/*.ko.xz", recursive=True):
        with lzma.open(path) as packed, open(path.removesuffix(".xz"), "wb") as file:
            shutil.copyfileobj(packed, file)
        os.unlink(path)
    words = ["depmod", "-b", directory, os.path.basename(modules)]
    subprocess.run(words, check=True, env={"PATH": PATH}, stdin=subprocess.DEVNULL)
    shutil.rmtree(scratch)


def with_interpreter(program: bytes) -> bytes:
    """Return the program with an ELF interpreter relative to its working directory.

    It needs a newer C library than this host's and executes itself again, so that it cannot be
    started through ld.so.
    """
    if program[:4096].count(INTERPRETER) != 1:
        raise SystemExit("lab: this User-Mode Linux has another ELF interpreter than expected")
    return program.replace(INTERPRETER, OWN_INTERPRETER.ljust(len(INTERPRETER), b"\0"), 1)


def modules(directory: str) -> tuple[str, str]:
    """Return the directory of a kernel's modules and the first to load, or "", "" without any."""
    found = glob.glob(f"{directory}/lib/modules/*/kernel/{FIRST}")
    return (f"{directory}/lib/modules", found[0]) if found else ("", "")
