"""Launch the stub from a sealed memfd, in the way of container init, and watch it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

import pytest

from aisbx_runtime.oci.stub.build import build

PATIENCE_S = 20
NO_FILTER = -1
# Where the launcher puts what the stub is told about; below are the descriptors that are kept.
START_FD, FILTER_FD, CHANNEL_FD = 10, 11, 12

# Plays container init: arranges the descriptors, then execveat of the memfd.
LAUNCHER = """
import ctypes, json, os, resource, signal, sys
call = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
if call["pid_namespace"]:
    if libc.unshare(0x30000000):  # CLONE_NEWUSER | CLONE_NEWPID
        sys.exit(77)
    pid = os.fork()
    if pid:
        for fd in [source for source, target in call["fds"]]:
            os.close(fd)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
for source, target in call["fds"]:
    os.dup2(source, target)
if call["processes"] is not None:
    resource.setrlimit(resource.RLIMIT_NPROC, (call["processes"], call["processes"]))
if call["descriptors"] is not None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (call["descriptors"], call["descriptors"]))
if call["user"]:
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setresuid(call["user"], call["user"], call["user"])
if call["ambient"]:
    sets = (ctypes.c_uint32 * 6)(*[call["ambient"]] * 3)
    if libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), sets):
        sys.exit("capset")
    for number in range(32):
        if call["ambient"] >> number & 1:
            libc.prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
    sys.exit("no_new_privs")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in call["send"]:
    os.kill(os.getpid(), number)
os.execve(call["stub_fd"], call["argv"], call["environment"])
"""


class Waiting:
    """A process that is, or will be in a moment, the waiting stub."""

    def __init__(self, process, channel):
        self.process = process
        self.channel = channel
        self.pid = process.pid

    def until(self, states):
        """Wait until it is the stub and its scheduler state is one of `states`."""
        deadline = time.monotonic() + PATIENCE_S
        pidfd = os.pidfd_open(self.pid)
        ended = select.poll()
        ended.register(pidfd)
        try:
            while time.monotonic() < deadline:
                with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
                    name, _, rest = file.read().rpartition(") ")
                if name.endswith("(aisbx-init") and rest[0] in states:
                    return
                assert not ended.poll(1), "it ended instead of waiting"
        finally:
            os.close(pidfd)
        raise AssertionError(f"not waiting: {name}) {rest[0]}")

    def finish(self, fds=()):
        """Give the start; return the report, the program's output and its exit status."""
        with self.channel.start(fds=fds) as connection:
            report = b""
            while chunk := connection.recv(4096):
                report += chunk
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return report, output, self.process.returncode

    def status(self):
        """Return the exit status of one that is never started."""
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


def high(fd):
    """Return a copy of `fd` that no dup2 of the launcher overwrites. Closes `fd`."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(fd)
    return copy


def sealed_memfd(content):
    fd = os.memfd_create("stub", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return high(fd)


class Channel:
    """The runtime's side of the start, for a KIND."""

    def __init__(self, kind):
        self.peer = None
        self.address = None
        if not kind & 1:
            theirs = socket.socket(socket.AF_UNIX)
            theirs.bind("")  # unix(7), "Autobind feature"
            theirs.listen(1)
            self.address = theirs.getsockname()
        else:
            self.peer, theirs = socket.socketpair()
        # With a receive timeout an interrupted wait is not restarted by the kernel: signal(7).
        limit = struct.pack("ll", 2 * PATIENCE_S, 0)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.stub_fd = high(theirs.detach())

    def start(self, byte=b"g", fds=()):
        """Give the start; return the connection, which the caller closes."""
        connection = self.peer or socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_S)
        if self.peer is None:
            connection.connect(self.address)
        socket.send_fds(connection, [byte], fds)
        return connection

    def close(self):
        if self.peer is not None:
            self.peer.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("stub") / "stub")
    build(path)
    return path


@pytest.fixture
def launch(built):
    """Return a function that launches the stub and returns it as Waiting."""
    waiting = []

    def launch_one(
        *program,
        path=None,
        environment=None,
        kind=1,
        bpf=None,
        flags=0,
        kept=(),
        keep=None,
        argv=None,
        send=(),
        user=None,
        processes=None,
        pid_namespace=False,
        label="",
        carried=0,
        told=None,
        descriptors=None,
        ambient=0,
        stdin=subprocess.DEVNULL,
    ):
        channel = Channel(kind)
        with open(built, "rb") as file:
            stub_fd = sealed_memfd(file.read())
        sources = {START_FD: channel.stub_fd}
        if bpf is not None:
            sources[FILTER_FD] = sealed_memfd(bpf)
        for target, fd in enumerate(kept, 3):
            sources[target] = high(os.dup(fd))
        filter_fd = NO_FILTER if bpf is None else FILTER_FD
        count = len(kept) if keep is None else keep
        channel_fd = -1
        if told is not None:
            channel_fd = CHANNEL_FD
            sources[CHANNEL_FD] = high(told.detach())
        numbers = f"{kind},{START_FD},{filter_fd},{flags},{count},{carried},{channel_fd}"
        call = {
            "stub_fd": stub_fd,
            "fds": [(source, target) for target, source in sources.items()],
            "argv": argv or ["aisbx-stub", numbers, path or program[0], label, *program],
            "environment": environment or {},
            "send": send,
            "user": user,
            "processes": processes,
            "descriptors": descriptors,
            "ambient": ambient,
            "pid_namespace": pid_namespace,
        }
        passed = (stub_fd, *sources.values())
        process = subprocess.Popen(
            [sys.executable, "-IS", "-c", LAUNCHER, json.dumps(call)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            pass_fds=passed,
        )
        for fd in passed:
            os.close(fd)
        waiting.append(Waiting(process, channel))
        return waiting[-1]

    yield launch_one
    for one in waiting:
        one.process.kill()
        one.process.communicate()
        one.channel.close()


@pytest.fixture(params=[0, 1], ids=["listening", "connected"])
def kind(request):
    return request.param
