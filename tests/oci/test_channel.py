"""The channel: who may say what, and what its end means."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import channel
from aisbx_runtime.oci.channel import InitDied, StubDied
from aisbx_runtime.oci.errors import CommandError, Failure, SpecError


@pytest.fixture
def sides():
    create, init = channel.pair()
    yield create, init
    create.close()
    init.close()


def test_both_ends_are_close_on_exec(sides):
    for side in sides:
        assert os.get_inheritable(side._socket.fileno()) is False


def test_messages_arrive_one_by_one(sides):
    create, init = sides
    init.born(7)
    init.ready()

    assert {"type": "born", "pid": 7} == create.expect("born")
    assert {"type": "ready"} == create.expect("prepared", "ready")


def test_init_waits_for_go(sides):
    create, init = sides
    create.go()
    init.wait_for_go()


def test_init_tells_that_it_is_prepared_and_waits(sides):
    create, init = sides
    create.go()
    init.prepared()

    assert {"type": "prepared"} == create.expect("prepared")


def test_a_failure_is_raised_as_it_was(sides):
    create, init = sides
    init.failed(CommandError("exec: no", where="w", why="y", hint="h"))
    with pytest.raises(CommandError) as caught:
        create.expect("ready")

    assert ("exec: no", "w", "y", "h") == (
        caught.value.what,
        caught.value.where,
        caught.value.why,
        caught.value.hint,
    )


def test_a_failure_after_ready_is_raised(sides):
    create, init = sides
    init.failed(SpecError("late"))
    with pytest.raises(SpecError):
        create.wait_for_end()


def test_the_end_before_ready_is_a_death(sides):
    create, init = sides
    init.close()
    with pytest.raises(InitDied):
        create.expect("ready")


def test_the_end_after_ready_is_another_program(sides):
    create, init = sides
    init.ready()
    init.close()
    create.expect("ready")

    assert create.wait_for_end() is None


def dead_child():
    """Return the pidfd of a child that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    return pid, pidfd


def test_the_stub_says_that_it_runs(sides):
    create, init = sides
    os.write(init.fileno(), b'{"type": "stub"}')

    assert create.wait_for_stub(-1) is None


def test_the_end_before_the_stub_is_a_death_when_it_is_one(sides):
    create, init = sides
    init.close()
    pid, pidfd = dead_child()
    with pytest.raises(StubDied):
        create.wait_for_stub(pidfd)
    os.close(pidfd)
    os.waitpid(pid, 0)


def test_a_stub_that_may_not_write_is_none_that_is_dead(sides):
    create, init = sides
    init.close()
    own = os.pidfd_open(os.getpid())

    assert create.wait_for_stub(own) is None
    os.close(own)


def test_a_failure_to_become_the_stub_is_raised(sides):
    create, init = sides
    init.failed(SpecError("late"))
    with pytest.raises(SpecError):
        create.wait_for_stub(-1)


def test_a_message_out_of_turn_is_a_failure_that_names_it(sides):
    create, init = sides
    init.ready()
    with pytest.raises(Failure, match="did not keep to the protocol"):
        create.expect("prepared")


def test_go_to_a_dead_init_is_noticed_later(sides):
    create, init = sides
    init.close()
    create.go()
    with pytest.raises(InitDied):
        create.expect("ready")


def test_a_failure_that_nobody_hears_is_no_second_failure(sides):
    create, init = sides
    create.close()
    init.failed(Failure("x"))


def test_without_create_init_ends():
    create, init = channel.pair()
    pid = os.fork()
    if pid == 0:
        create.close()
        init.wait_for_go()
        os._exit(0)
    init.close()
    create.close()
    _, status = os.waitpid(pid, 0)

    assert 1 == os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("packet", [b"[]", b"3", b'"x"'])
def test_what_is_no_object_is_as_good_as_nothing(sides, packet):
    create, init = sides
    init._socket.send(packet)
    with pytest.raises(InitDied):
        create.expect("ready")


@pytest.mark.parametrize("size", [1000, 50_000, 140_000, 1_000_000])
def test_a_failure_of_any_length_arrives(sides, size):
    # An args[0] may be 128 KiB long, and is quoted in "executable file not found".
    create, init = sides
    init.failed(CommandError("\U0001f600" * size, hint="h"))
    init.close()
    with pytest.raises(CommandError) as caught:
        create.expect("ready")

    assert caught.value.what.startswith("\U0001f600")
    assert "h" == caught.value.hint


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_arrives(what, why):
    create, init = channel.pair()
    init.failed(Failure(what, why=why))
    with pytest.raises(Failure) as caught:
        create.expect()
    create.close()
    init.close()

    assert (what, why) == (caught.value.what, caught.value.why)


def test_a_listener_arrives_as_a_descriptor(sides):
    create, init = sides
    read_fd, write_fd = os.pipe()
    init.hand_over(write_fd)
    init.ready()
    os.close(write_fd)
    received = create.take_fd()
    os.write(received, b"x")

    assert os.get_inheritable(received) is False
    assert (os.read(read_fd, 2), create.expect("ready")) == (b"x", {"type": "ready"})
    os.close(received)
    os.close(read_fd)


def test_a_failure_comes_in_place_of_a_listener(sides):
    create, init = sides
    init.failed(SpecError("no filter"))
    with pytest.raises(SpecError, match="no filter"):
        create.take_fd()


def test_the_end_in_place_of_a_listener_is_a_death(sides):
    create, init = sides
    init.close()
    with pytest.raises(InitDied):
        create.take_fd()
