"""One start of a guest: User-Mode Linux on a root, one command in it, its output and exit status.

Everything of a guest lives in namespaces of its own (mount, pid, network) and ends with the process
that this module starts, which ends with this one. Nothing of the host is changed: the guest's root
and the checkout are overlays whose upper layers are the guest's memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from integration.lab import cache, kernel, own, terminal
from integration.runtime import PATH

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = ("init", "setup", "job", "own")
TIMED_OUT, NO_GUEST = 124, 125  # as timeout(1) and env(1) say it
PR_SET_PDEATHSIG = 1  # linux/prctl.h
DISK_BYTES = 16 << 30  # sparse


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What one guest is made of. Paths are the host's, and absolute."""

    kernel: str  # a directory with `linux`, and `lib` where that brings a C library; "": the host's
    root: str
    systemd: bool
    checkout: str
    directory: str  # in which the command runs, host and guest alike
    writable: tuple[str, ...] = ()  # directories whose changes stay
    environment: dict[str, str] = field(default_factory=dict)
    memory_mb: int = 3072
    timeout_s: float = 1800.0
    build: bool = False  # bin/aisbx-runtime anew, for the guest's interpreter
    processors: int = 1


def assignments(values: dict[str, str]) -> str:
    """Return lines of sh that set the values."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def settings(guest: Guest, run: str, line: terminal.Pipe) -> str:
    """Return what the scripts of the guest read first."""
    modules, first = kernel.modules(guest.kernel) if guest.kernel else ("", "")
    return assignments(
        {
            "LAB_RUN": run,
            "LAB_ROOT": guest.root,
            "LAB_SYSTEMD": "1" if guest.systemd else "0",
            "LAB_CHECKOUT": guest.checkout,
            "LAB_WRITABLE": " ".join(guest.writable),
            "LAB_MODULES": modules,
            "LAB_OVERLAY": first,
            "LAB_DISK": "/dev/ubda",
            "LAB_TERMINAL": line.size,
        }
    )


def command_text(guest: Guest, words: list[str]) -> str:
    """Return the script that runs the words in the guest's directory and environment."""
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in guest.environment.items()
    )
    build = f"make -s -C {shlex.quote(guest.checkout)} build PYTHON=/usr/bin/python3 >/dev/null"
    lines = [
        build if guest.build else "",
        f"cd {shlex.quote(guest.directory)} || exit {NO_GUEST}",
        f"exec {shlex.join(words)}",
    ]
    return exports + "\n".join(line for line in lines if line) + "\n"


def kernel_words(guest: Guest, run: str, channel: str) -> list[str]:
    """Return the kernel's command line; the channel is UML's word for the line of the job."""
    return [
        f"mem={guest.memory_mb}M",
        f"uml_dir={run}/uml",
        *([f"ncpus={guest.processors}"] if guest.processors > 1 else []),
        f"ubda={run}/disk",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={run}/init",
        f"LAB_RUN={run}",  # a word the kernel does not know becomes init's environment
        "seccomp=auto",  # else system calls are caught by ptrace: half as fast
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        f"ssl0={channel}",
        "quiet",
        "loglevel=3",
        "panic=-1",
        "lsm=landlock,yama",
        "cgroup_no_v1=all",
        "audit=0",
        "rt_group_sched=0",  # else no process of a cgroup of v2 may be realtime
        "random.trust_cpu=on",
    ]


def start_words(guest: Guest, run: str, channel: str) -> list[str]:
    """Return the words that start the guest; its memory is a file of a tmpfs nobody else sees."""
    script = (
        f"mount -t tmpfs -o mode=700,size={guest.memory_mb + 64}M lab {run}/memory && "
        f'exec env TMPDIR={run}/memory LD_LIBRARY_PATH=lib ./linux "$@"'
    )
    namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
    return ["unshare", *namespaces, "sh", "-c", script, "sh", *kernel_words(guest, run, channel)]


def prepare(guest: Guest, run: str, words: list[str], line: terminal.Pipe) -> None:
    """Fill the directory that host and guest share."""
    os.chmod(run, 0o755)  # a plain user's processes in the guest pass through /run/lab
    os.mkdir(f"{run}/memory")
    for name in SCRIPTS:
        shutil.copy(f"{HERE}/guest/{name}.sh", f"{run}/{name}")
        os.chmod(f"{run}/{name}", 0o755)
    texts = {
        "settings": settings(guest, run, line),
        "command": command_text(guest, words),
    }
    for name, text in texts.items():
        with open(f"{run}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    if not guest.kernel:
        return
    with open(f"{run}/disk", "wb") as file:
        file.truncate(DISK_BYTES)
    features = "^has_journal,^metadata_csum"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", features, "-m", "0", f"{run}/disk"]
    subprocess.run(make, check=True, env={"PATH": PATH}, stdin=subprocess.DEVNULL)


def bind(processor: int | None) -> None:
    """Run in the new process: it ends when its parent does, whatever ends that."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if processor is not None:
        os.sched_setaffinity(0, {processor})


def run(guest: Guest, words: list[str], line: terminal.Pipe) -> int:
    """Run the words in a new guest and return their exit status, 124 after too long a time.

    The line is closed at the end.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(cache.run_directory())
        prepare(guest, directory, words, line)
        # Bound to one processor a guest is twice as fast: its parts hand over all the time.
        alone = guest.kernel and guest.processors == 1
        processor = stack.enter_context(cache.cpu()) if alone else None
        stack.enter_context(line)
        if guest.kernel:
            start = start_words(guest, directory, line.channel)
        else:
            group = stack.enter_context(own.cgroup(directory))
            start = own.start_words(directory, group, line.guest_fd)
        console = stack.enter_context(open(f"{directory}/console", "w+b"))
        process = subprocess.Popen(
            start,
            cwd=guest.kernel or "/",
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(line.guest_fd,),
            start_new_session=True,
            preexec_fn=lambda: bind(processor),  # noqa: PLW1509 (no threads)
        )
        stack.callback(end, process)
        line.give_away()
        deadline = time.monotonic() + guest.timeout_s
        while process.poll() is None and time.monotonic() < deadline:
            if not line.pump(min(0.5, deadline - time.monotonic())):
                time.sleep(0.01)  # the line is closed: the guest is about to end
            if panicked(directory):
                break
        timed_out = process.poll() is None and time.monotonic() >= deadline
        end(process)
        line.drain()
        return status(directory, guest.timeout_s if timed_out else 0)


def panicked(directory: str) -> bool:
    """Tell whether the kernel has given up: it does not exit then."""
    with open(f"{directory}/console", "rb") as file:
        return b"Kernel panic" in file.read(1 << 20)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the guest: unshare's end is the end of all processes of its pid namespace."""
    if process.poll() is None:
        process.kill()
    process.wait()


def status(directory: str, timed_out_s: float) -> int:
    """Return the exit status that the guest has left, or say what became of it."""
    if timed_out_s:
        print(f"lab: ended after {timed_out_s:.0f} s", file=sys.stderr)
        code = TIMED_OUT
    else:
        with contextlib.suppress(OSError, ValueError), open(f"{directory}/status") as file:
            return int(file.read())
        print("lab: the guest ended without an exit status", file=sys.stderr)
        code = NO_GUEST
    with open(f"{directory}/console", errors="replace") as file:
        sys.stderr.write(file.read()[-4000:])
    return code
