"""The stub on a real kernel: the start, the filter, the report, signals, memory, misuse."""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import struct
import sys

import pytest

START_FD = 10  # where `launch` puts what the start comes through


# ---- the program ---------------------------------------------------------------------------------


def test_the_program_runs_when_the_start_comes(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind)

    assert (b"", b"ran\n", 0) == waiting.finish()


def test_the_end_of_the_stream_comes_while_the_program_runs(launch, kind):
    gate, ours = socket.socketpair()
    waiting = launch("/bin/sh", "-c", "read line <&3; exit 7", kind=kind, kept=[gate.fileno()])
    with gate, ours:
        with waiting.channel.start() as connection:
            assert b"" == connection.recv(1)

        assert waiting.process.poll() is None
        ours.send(b"go on\n")

        assert 7 == waiting.status()


@pytest.mark.parametrize("environment", [{}, {"A": "1", "EMPTY": "", "SPACED": "a b\nc=d"}])
def test_argv_and_environment_are_passed_unchanged(launch, environment):
    show = "cat /proc/$$/cmdline; echo; cat /proc/$$/environ; exit 0"
    argv = ["odd name", "-c", show, "", "-x", "a b\nc", "\u00e4"]
    environment = {**environment, "PATH": "/usr/bin:/bin"}
    waiting = launch(*argv, path="/bin/sh", environment=environment)
    expected = "".join(f"{word}\0" for word in argv) + "\n"
    expected += "".join(f"{name}={value}\0" for name, value in environment.items())

    assert (b"", expected.encode(), 0) == waiting.finish()


def test_the_exit_status_is_the_program_s(launch):
    assert 42 == launch("/bin/sh", "-c", "exit 42").finish()[2]


def test_the_program_starts_with_default_signals_and_an_empty_mask(launch):
    _, output, _ = launch("/bin/cat", "/proc/self/status").finish()
    fields = dict(line.split(":\t", 1) for line in output.decode().splitlines())

    assert ["0" * 16] * 3 == [fields[name] for name in ("SigBlk", "SigIgn", "SigCgt")]


OPEN_FDS = """
import os
def is_open(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
print(*[fd for fd in range(1024) if is_open(fd)])
"""


def test_every_descriptor_is_closed(launch, kind):
    waiting = launch(sys.executable, "-ISc", OPEN_FDS, kind=kind, bpf=allowing())

    assert b"0 1 2\n" == waiting.finish()[1]


def test_only_the_descriptors_to_keep_are_kept(launch, kind, tmp_path):
    with open(tmp_path / "kept", "w+", encoding="ascii") as file:
        program = (sys.executable, "-ISc", OPEN_FDS + "os.write(4, b'here')")
        given = [file.fileno()] * 3
        waiting = launch(*program, kind=kind, bpf=allowing(), kept=given, keep=2)

        assert (b"", b"0 1 2 3 4\n", 0) == waiting.finish()

        file.seek(0)

        assert "here" == file.read()


def test_the_connection_is_closed_even_in_the_place_of_a_kept_descriptor(launch):
    argv = [
        "aisbx-stub",
        f"0,{START_FD},-1,0,1,0,-1",
        sys.executable,
        "",
        "python",
        "-ISc",
        OPEN_FDS,
    ]

    assert (b"", b"0 1 2\n", 0) == launch(argv=argv, kind=0).finish()


# ---- the filter ----------------------------------------------------------------------------------

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
FILTER_FLAG_LOG, FILTER_FLAG_NEW_LISTENER = 2, 8
REFUSED = 42  # an errno that nothing else here gives
NUMBERS = {
    "x86_64": {"getcwd": 79, "execve": 59, "exit_group": 231, "close_range": 436},
    "aarch64": {"getcwd": 17, "execve": 221, "exit_group": 94, "close_range": 436},
}
WHERE = """
import os
try: os.getcwd()
except OSError as error: print(error.errno)
else: print("allowed")
"""


def bpf_of(*instructions):
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def refusing(*names):
    refuse = (RETURN, 0, 0, ERRNO | REFUSED)
    numbers = [NUMBERS[platform.machine()][name] for name in names]
    tests = [((EQUAL, 0, 1, number), refuse) for number in numbers]
    return bpf_of((LOAD, 0, 0, 0), *sum(tests, ()), (RETURN, 0, 0, ALLOW))


def allowing(length=1):
    return bpf_of(*[(LOAD, 0, 0, 0)] * (length - 1), (RETURN, 0, 0, ALLOW))


@pytest.mark.parametrize(
    ("bpf", "seen"), [(None, b"allowed\n"), (refusing("getcwd"), b"42\n")], ids=["none", "refusing"]
)
def test_the_program_runs_under_its_filter(launch, kind, bpf, seen):
    waiting = launch(sys.executable, "-ISc", WHERE, kind=kind, bpf=bpf)

    assert (b"", seen, 0) == waiting.finish()


def test_the_filter_holds_before_the_program_is_executed(launch):
    assert (b"execve 42", b"", 1) == launch("/bin/echo", bpf=refusing("execve")).finish()


def test_the_filter_may_refuse_what_the_stub_does_before(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind, bpf=refusing("close_range"))

    assert (b"", b"ran\n", 0) == waiting.finish()


def test_it_ends_under_a_filter_that_refuses_to_end(launch):
    report, output, status = launch("/bin/echo", bpf=refusing("execve", "exit_group")).finish()

    assert (b"execve 42", b"") == (report, output)
    assert status in {-signal.SIGILL, -signal.SIGTRAP}


def test_the_longest_filter_is_installed_whole(launch):
    assert (b"", b"ran\n", 0) == launch("/bin/echo", "ran", bpf=allowing(4096)).finish()


@pytest.mark.parametrize(
    "bpf",
    [
        pytest.param(bpf_of((LOAD, 0, 0, 0)), id="does not return"),
        pytest.param(b"", id="empty"),
        pytest.param(allowing() + b"torn", id="torn"),
        pytest.param(allowing(4097), id="too long"),
        pytest.param(allowing(4096) + allowing(4096), id="much too long"),
    ],
)
def test_an_invalid_filter_is_reported(launch, kind, bpf):
    report = b"seccomp %d" % errno.EINVAL

    assert (report, b"", 1) == launch("/bin/echo", "ran", kind=kind, bpf=bpf).finish()


def test_an_unreadable_filter_is_reported(launch):
    argv = ["aisbx-stub", f"1,{START_FD},99,0,0,0,-1", "/bin/echo", "", "echo", "ran"]

    assert (b"pread64 %d" % errno.EBADF, b"", 1) == launch(argv=argv).finish()


@pytest.mark.parametrize(
    ("flags", "report"),
    [
        (FILTER_FLAG_LOG, b""),
        (1 << 28, b"seccomp %d" % errno.EINVAL),
        (FILTER_FLAG_NEW_LISTENER, b"seccomp %d" % errno.ESRCH),
    ],
    ids=["known", "unknown", "positive result"],
)
def test_the_flags_of_the_filter_reach_the_kernel(launch, flags, report):
    assert report == launch("/bin/echo", "ran", bpf=allowing(), flags=flags).finish()[0]


# ---- what cannot be executed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mode", "number"),
    [
        pytest.param(None, 0, errno.ENOENT, id="missing"),
        pytest.param(b"no program", 0o755, errno.ENOEXEC, id="no program"),
        pytest.param(b"#!/no/such/interpreter\n", 0o755, errno.ENOENT, id="no interpreter"),
        pytest.param(b"#!/bin/sh\n", 0o644, errno.EACCES, id="not executable"),
    ],
)
def test_a_program_that_cannot_be_executed_is_reported(launch, tmp_path, content, mode, number):
    path = tmp_path / "program"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)

    assert (b"execve %d" % number, b"", 1) == launch(str(path)).finish()


# ---- while it waits ------------------------------------------------------------------------------


def test_it_ends_when_the_runtime_ends_before_the_start(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind)
    waiting.until("S")
    waiting.channel.start(b"").close()

    assert (b"", 1) == (waiting.process.stdout.read(), waiting.status())


def test_it_ends_when_the_start_is_a_wrong_byte(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind)
    with waiting.channel.start(b"x"):
        assert (b"", 1) == (waiting.process.stdout.read(), waiting.status())


STAYING = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
UNCATCHABLE = {"SIGKILL", "SIGSTOP"}
# valid_signals() is without 32 and 33: glibc lets nobody block them, so the launcher cannot.
ENDING = [
    int(number)
    for number in sorted(signal.valid_signals())
    if number not in {signal.Signals[name] for name in STAYING | UNCATCHABLE}
]


def test_a_terminating_signal_ends_it(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind)
    waiting.until("S")
    waiting.process.terminate()

    assert 143 == waiting.status()


def test_a_signal_that_was_blocked_by_init_ends_it(launch):
    assert 143 == launch("/bin/echo", "ran", send=[signal.SIGTERM]).status()


def test_every_terminating_signal_ends_it_with_its_number(launch):
    waiting = {number: launch("/bin/echo", "ran", send=[number]) for number in ENDING}

    assert {n: 128 + n for n in ENDING} == {n: one.status() for n, one in waiting.items()}


def test_signals_that_do_not_terminate_leave_it_waiting(launch):
    harmless = [signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT]
    waiting = launch("/bin/echo", "ran", send=harmless)
    waiting.until("S")

    assert (b"", b"ran\n", 0) == waiting.finish()


def test_it_waits_on_after_stop_and_continue(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind)
    waiting.until("S")
    waiting.process.send_signal(signal.SIGSTOP)
    waiting.until("T")
    waiting.process.send_signal(signal.SIGCONT)
    waiting.until("S")

    assert (b"", b"ran\n", 0) == waiting.finish()


def test_a_signal_ends_it_as_first_process_of_a_pid_namespace(launch, kind):
    waiting = launch("/bin/echo", "ran", kind=kind, pid_namespace=True)
    outer = waiting.pid
    children = ""
    while not children and waiting.process.poll() is None:
        with open(f"/proc/{outer}/task/{outer}/children", encoding="ascii") as file:
            children = file.read()
    if waiting.process.poll() == 77:
        pytest.skip("needs unshare(CLONE_NEWUSER | CLONE_NEWPID)")
    waiting.pid = int(children)
    waiting.until("S")
    os.kill(waiting.pid, signal.SIGTERM)

    assert 143 == waiting.status()


def test_nobody_can_trace_it_or_open_its_descriptors(launch):
    user = os.geteuid() or 65534
    waiting = launch("/bin/echo", "ran", user=user)
    waiting.until("S")

    # proc(5): the files of a process that is not dumpable belong to root.
    assert 0 == os.stat(f"/proc/{waiting.pid}/environ").st_uid


def test_it_costs_less_than_300_kb_of_private_memory(launch):
    waiting = launch("/bin/echo", "ran", bpf=allowing(4096))
    waiting.until("S")
    try:
        with open(f"/proc/{waiting.pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file.readlines()[1:]]
    except PermissionError:
        pytest.skip("needs CAP_SYS_PTRACE: the waiting stub is not dumpable")
    kilobytes = {name: int(value) for name, value, _ in lines}

    assert kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"] < 300


# ---- misuse --------------------------------------------------------------------------------------

GOOD = f"1,{START_FD},-1,0,0,0,-1"


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["stub", GOOD, "/bin/echo", "", "echo"], id="other name"),
        pytest.param(["aisbx-stu", GOOD, "/bin/echo", "", "echo"], id="shorter name"),
        pytest.param(["aisbx-stub2", GOOD, "/bin/echo", "", "echo"], id="longer name"),
        pytest.param(["aisbx-stub"], id="no arguments"),
        pytest.param(["aisbx-stub", GOOD, "/bin/echo", ""], id="no argv"),
        pytest.param(["aisbx-stub", "", "/bin/echo", "", "echo"], id="no numbers"),
        pytest.param(
            ["aisbx-stub", "1,10,-1,0,0,-1", "/bin/echo", "", "echo"], id="too few numbers"
        ),
        pytest.param(["aisbx-stub", GOOD + ",0", "/bin/echo", "", "echo"], id="too many numbers"),
        pytest.param(["aisbx-stub", "1,10,-1,,0,0,-1", "/bin/echo", "", "echo"], id="empty number"),
        pytest.param(["aisbx-stub", "1,10,-1,x,0,0,-1", "/bin/echo", "", "echo"], id="no number"),
        pytest.param(
            ["aisbx-stub", "1,10,-1,9999999999,0,0,-1", "/bin/echo", "", "echo"], id="too large"
        ),
        *[
            pytest.param(
                ["aisbx-stub", f"{kind},10,-1,0,0,0,-1", "/bin/echo", "", "echo"], id=f"kind {kind}"
            )
            for kind in (-1, 2, 4, 5, 6, 10, 12, 16)
        ],
        pytest.param(
            ["aisbx-stub", "1,10,-1,0,-1,0,-1", "/bin/echo", "", "echo"], id="negative keep"
        ),
        pytest.param(
            ["aisbx-stub", "1,10,-1,0,8,0,-1", "/bin/echo", "", "echo"], id="start would leak"
        ),
        pytest.param(
            ["aisbx-stub", "1,10,9,0,7,0,-1", "/bin/echo", "", "echo"], id="filter would leak"
        ),
        pytest.param(
            ["aisbx-stub", "1,10,-2,0,0,0,-1", "/bin/echo", "", "echo"], id="no filter descriptor"
        ),
        pytest.param(
            ["aisbx-stub", "1,10,-1,0,7,0,9", "/bin/echo", "", "echo"], id="channel would leak"
        ),
    ],
)
def test_called_in_another_way_it_exits_at_once(launch, argv):
    assert 125 == launch(argv=argv).status()
