"""What create and exec share: phases, fds, sockets of a service manager, pid files, deaths."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aisbx_runtime.oci import channel, cli
from aisbx_runtime.oci.errors import Failure, SpecError, StepError, kernel_error
from aisbx_runtime.oci.flags import Values
from aisbx_runtime.oci.lifecycle import attempt
from aisbx_runtime.oci.plan.step import Phase, Plan, World
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.model import Process
from tests.oci.forked import forked

AT = World("one", "/bundle")
CALL = cli.Call(Values(), Values(), "create")


@record
class Step:
    done: list[str]
    name: str
    error: BaseException | None = None
    origin: str = "mounts[1]"

    def describe(self) -> str:
        return f"do {self.name}"

    def apply(self, at: World) -> None:
        del at
        if self.error is not None:
            raise self.error
        self.done.append(self.name)


def plan_of(*steps: Step) -> Plan:
    phases = (Phase("host", "runtime", steps[:1]), Phase("adopt", "runtime", steps[1:]))
    return Plan(phases, (), ())


def test_the_steps_of_one_phase_are_carried_out_in_order():
    done: list[str] = []
    plan = plan_of(Step(done, "a"), Step(done, "b"), Step(done, "c"))
    attempt.apply_phase(plan, "adopt", AT, CALL)

    assert ["b", "c"] == done


def test_a_step_can_be_carried_out_by_somebody_else():
    seen: list[object] = []
    plan = plan_of(Step([], "a"))
    attempt.apply_phase(plan, "host", AT, CALL, act=seen.append)

    assert list(plan.phase("host")) == seen


def test_an_error_of_the_system_names_the_step_and_ends_the_phase():
    done: list[str] = []
    error = kernel_error(1, "mount_setattr", "/x")
    plan = plan_of(Step(done, "a"), Step(done, "b", error), Step(done, "c"))
    with pytest.raises(StepError) as caught:
        attempt.apply_phase(plan, "adopt", AT, CALL)

    assert ("cannot do b", "mount_setattr: EPERM /x", "step 2 of 3 adopt, mounts[1]") == (
        caught.value.what,
        caught.value.why,
        caught.value.where,
    )
    assert [] == done


@pytest.mark.parametrize(
    ("where", "shown"),
    [("", "step 1 of 1 host, mounts[1]"), ("config.json", "step 1 of 1 host, config.json")],
)
def test_a_failure_keeps_its_type_and_learns_its_step(where, shown):
    with pytest.raises(SpecError) as caught:
        attempt.apply_phase(plan_of(Step([], "a", SpecError("x", where=where))), "host", AT, CALL)

    assert shown == caught.value.where


# ---- fds -----------------------------------------------------------------------------------------
@pytest.mark.root
@forked
def test_what_leaked_in_ends_at_execve_and_gaps_are_filled():
    os.close(0)
    leaked = os.dup2(1, 20)
    os.closerange(3, 6)
    attempt.settle(3)

    # 0 and 3 to 5 are taken, by what disappears; nothing of ours can land there.
    assert {False} == {os.get_inheritable(fd) for fd in (0, 3, 4, 5, leaked)}
    assert os.get_inheritable(1)
    assert os.open("/dev/null", os.O_RDONLY) > 5


@pytest.mark.root
@forked
def test_fds_to_be_passed_on_stay_open():
    kept = os.dup2(1, 3)
    other = os.dup2(1, 4)
    attempt.settle(1)

    assert (True, False) == (os.get_inheritable(kept), os.get_inheritable(other))


@pytest.mark.parametrize(
    ("count", "pid", "found"),
    [("2", "own", 2), ("2", "1", 0), ("", "own", 0), ("x", "own", 0), ("-1", "own", 0),
     ("99999", "own", 0), ("\u0663", "own", 0)],
)  # fmt: skip
def test_sockets_are_taken_only_when_they_are_for_this_process(count, pid, found):
    code = (
        "import os, sys; sys.path.insert(0, '.')\n"
        f"env = {{'LISTEN_FDS': {count!r}, 'LISTEN_PID': str(os.getpid()) if {pid == 'own'}"
        f" else {pid!r}}}\n"
        "import posix\n"
        "posix.environ.clear()\n"
        "posix.environ.update({key.encode(): value.encode() for key, value in env.items()})\n"
        "from aisbx_runtime.oci.lifecycle import attempt\n"
        f"sys.exit(0 if attempt.listen_fds() == {found} else attempt.listen_fds() + 1)"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_the_process_is_told_of_its_sockets():
    process = Process(("x",), "/", env=("A=1", "LISTEN_PID=77", "LISTEN_FDS=9"))

    assert ("A=1", "LISTEN_FDS=2", "LISTEN_PID=1") == attempt.with_listen_fds(process, 2).env
    assert process is attempt.with_listen_fds(process, 0)


def test_the_stub_is_in_a_file_that_nobody_can_change():
    fd = attempt.stub_file()
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)

    assert os.get_inheritable(fd) is False
    os.close(fd)


def test_letting_go_says_so_and_hears_of_failure():
    near, far = attempt.socket_pair()
    os.write(far, b"execve 8")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if os.read(far, 1) == b"g" else 1)
    os.close(far)
    with pytest.raises(Failure, match="cannot execute"):
        attempt.let_go(near, 0, "")

    assert 0 == os.waitpid(pid, 0)[1]


def test_silence_is_success():
    near, far = attempt.socket_pair()
    pid = os.fork()
    if pid == 0:
        os.read(far, 1)
        os._exit(0)
    os.close(far)

    assert attempt.let_go(near, 0, "") is None
    os.waitpid(pid, 0)


def forking(*said: bytes, ends: bool = True) -> tuple[World, int]:
    """Return the world of a stub that says this and ends, and our end of its connection.

    `ends` False: a process of its own lives on, with the other end of the connection.
    """
    near, far = attempt.socket_pair()
    pid = os.fork()
    if pid == 0:
        os.close(near)
        os.read(far, 1)
        if not ends and os.fork() == 0:
            os.read(far, 1)
            os._exit(0)
        for one in said:
            os.write(far, one)
        os._exit(0)
    os.close(far)
    at = World("one", "/bundle")
    at.pid, at.pidfd = pid, os.pidfd_open(pid)
    return at, near


def test_what_the_stub_forks_is_taken_over():
    child = os.fork()
    if child == 0:
        os._exit(5)
    at, near = forking(f"pid {child}".encode())
    attempt.fork_stub(at, near)
    os.close(near)

    assert at.pid == child
    assert os.waitid(os.P_PIDFD, at.pidfd, os.WEXITED).si_status == 5
    os.close(at.pidfd)


@pytest.mark.parametrize(
    ("said", "ends", "why", "hint"),
    [
        ([b"clone 11"], True, "clone: EAGAIN", ""),
        ([b"clone 12"], True, "clone: ENOMEM", "the container has ended meanwhile"),
        ([], True, "exit status 0", ""),
        ([], False, "exit status 0", ""),
    ],
    ids=["refused", "ended", "silent", "killed on the way"],
)
def test_a_fork_that_fails_is_told(said, ends, why, hint):
    at, near = forking(*said, ends=ends)
    with pytest.raises(StepError) as caught:
        attempt.fork_stub(at, near)
    os.close(near)

    assert (caught.value.why, caught.value.hint, at.pidfd) == (why, hint, -1)


# ---- pid files -----------------------------------------------------------------------------------
def test_a_pid_file_has_digits_only(tmp_path):
    attempt.write_pid_file(f"{tmp_path}/pid", 77)

    assert "77" == (tmp_path / "pid").read_text()
    assert ["pid"] == os.listdir(tmp_path)


def test_a_pid_file_is_replaced(tmp_path):
    (tmp_path / "pid").write_text("99999999")
    attempt.write_pid_file(f"{tmp_path}/pid", 7)

    assert "7" == (tmp_path / "pid").read_text()


def test_a_pid_file_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempt.write_pid_file("pid", 7)

    assert "7" == (tmp_path / "pid").read_text()


@pytest.mark.parametrize("name", ["none/pid", "taken"])
def test_a_pid_file_that_cannot_be_written_leaves_nothing(tmp_path, name):
    (tmp_path / "taken").mkdir()
    with pytest.raises(Failure, match="cannot write the pid file"):
        attempt.write_pid_file(f"{tmp_path}/{name}", 7)

    assert ["taken"] == os.listdir(tmp_path)


# ---- deaths --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "what", "why"),
    [
        (-31, "container init was killed by its own seccomp filter", ""),
        (-9, "container init died before it was ready", "signal 9"),
        (3, "container init died before it was ready", "exit status 3"),
    ],
)
def test_a_death_is_told_by_its_status(status, what, why):
    failure = attempt.why_it_died(status, ())

    assert (what, why) == (failure.what, failure.why)


def test_a_death_when_it_is_executed_points_at_its_limits():
    failure = attempt.why_it_died(-11, (), channel.StubDied())

    assert "process.rlimits" in failure.what
    assert failure.why == "signal 11"


def test_an_out_of_memory_kill_is_told_first(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (tmp_path / "cgroup.procs").write_text("")
    failure = attempt.why_it_died(-9, (f"{tmp_path}",))

    assert "linux.resources.memory.limit" == failure.where


def test_what_could_not_be_undone_is_a_note_on_the_first_error():
    error = Failure("first")
    attempt.note_leftover(error, "/x", kernel_error(16, "rmdir", "/x/y"))
    attempt.note_leftover(error, "/x", Failure("second", why="w"))

    assert ["and could not remove /x: rmdir: EBUSY /x/y", "and could not remove /x: second: w"] == (
        error.__notes__
    )


@forked
def test_the_next_fd_of_our_own_is_not_taken_for_a_leak():
    leaked = attempt.settle(0)
    own = os.open("/", os.O_PATH)
    attempt.drop(leaked)

    os.fstat(own)


def test_what_a_killed_writer_of_the_pid_file_left_is_removed(tmp_path):
    gone, alive = 2**22 + 1, 1
    for name in (f".pid.{gone}", f".pid.{alive}", f".other.{gone}", ".pid.x", ".pid."):
        (tmp_path / name).touch()
    attempt.write_pid_file(f"{tmp_path}/pid", 7)

    assert ["." + name for name in ("other.4194305", "pid.", "pid.1", "pid.x")] + ["pid"] == sorted(
        path.name for path in tmp_path.iterdir()
    )
