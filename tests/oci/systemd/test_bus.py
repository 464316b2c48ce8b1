"""Talking to systemd, over a real socket to a listener that says what a test wants."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import HostError, StepError
from aisbx_runtime.oci.systemd import scope
from aisbx_runtime.oci.systemd.bus import Bus, CallError
from tests.oci.systemd import fake
from tests.oci.systemd.fake import Fake, answer, error, job_removed, systemd

UNIT = "a.scope"
PROPERTIES = (("Description", "s", "D"), ("PIDs", "au", (7,)))
EXISTS = f"{fake.SYSTEMD}.UnitExists"
GONE = f"{fake.SYSTEMD}.NoSuchUnit"
SHORT_S = 0.3


@pytest.fixture
def listener(tmp_path):
    """Make a listener; `direct` is one at systemd's own socket, without a bus."""
    made = []

    def make(*, direct=False, login=fake.OK, in_pieces=False, **special) -> Fake:
        path = tmp_path / ("systemd" if direct else "") / ("private" if direct else "bus")
        path.parent.mkdir(exist_ok=True)

        def answers(call):
            return systemd(call, **special)

        made.append(Fake(path, answers, login, in_pieces=in_pieces))
        return made[-1]

    yield make
    for one in made:
        one.close()


def start(listener, timeout_s=5.0):
    with Bus(listener.address, timeout_s) as bus:
        scope.start(bus, UNIT, PROPERTIES)


def test_a_scope_is_started_over_a_bus(listener):
    one = listener()
    start(one)

    assert ["Hello", "AddMatch", "StartTransientUnit"] == one.methods
    assert f"arg2='{UNIT}'" in one.calls[1].body[0]
    assert (
        UNIT,
        "replace",
        (("Description", ("s", "D")), ("PIDs", ("au", (7,)))),
        (),
    ) == one.calls[2].body


def test_systemds_own_socket_is_not_greeted(listener):
    one = listener(direct=True)
    start(one)

    assert ["StartTransientUnit"] == one.methods


def test_no_identity_is_claimed(listener):
    one = listener()
    start(one)

    assert b"\0AUTH EXTERNAL\r\nDATA\r\n" == one.login


def test_bytes_may_come_one_by_one(listener):
    start(listener(in_pieces=True))


def test_a_signal_may_come_before_the_answer(listener):
    def early(call):
        return job_removed() + answer(call.serial, "o", (fake.JOB,))

    start(listener(StartTransientUnit=early))


def test_other_jobs_and_forged_signals_do_not_count(listener):
    def noisy(call):
        return (
            answer(call.serial, "o", (fake.JOB,))
            + job_removed("failed", job="/other")
            + job_removed("failed", sender=":1.66")
            + job_removed("failed", member="JobNew")
            + job_removed()
        )

    start(listener(StartTransientUnit=noisy))


@pytest.mark.parametrize("result", ["failed", "timeout", "canceled", "dependency", "skipped"])
def test_a_job_that_is_not_done_is_an_error_that_says_how_it_ended(listener, result):
    def ended(call):
        return answer(call.serial, "o", (fake.JOB,)) + job_removed(result)

    one = listener(StartTransientUnit=ended)
    with pytest.raises(StepError) as failed:
        start(one)

    assert f"job: {result}" == failed.value.why
    assert "ResetFailedUnit" == one.methods[-1]


def test_a_leftover_of_the_name_is_reset_and_replaced(listener):
    asked = []

    def once(call):
        asked.append(call)
        if len(asked) == 1:
            return error(call.serial, EXISTS)
        return answer(call.serial, "o", (fake.JOB,)) + job_removed()

    one = listener(direct=True, StartTransientUnit=once)
    start(one)

    assert ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"] == one.methods


def test_a_name_that_is_in_use_is_an_error(listener):
    one = listener(StartTransientUnit=lambda call: error(call.serial, EXISTS))
    with pytest.raises(CallError) as failed:
        start(one)

    assert EXISTS == failed.value.name
    assert "UnitExists: said why" == failed.value.why()


def test_a_unit_that_is_gone_is_stopped_already(listener):
    one = listener(direct=True, StopUnit=lambda call: error(call.serial, GONE))
    with Bus(one.address) as bus:
        scope.stop(bus, UNIT)

    assert ["StopUnit"] == one.methods


def test_a_unit_is_stopped_and_forgotten(listener):
    one = listener(direct=True)
    with Bus(one.address) as bus:
        scope.stop(bus, UNIT)

    assert ["StopUnit", "ResetFailedUnit"] == one.methods


def test_a_unit_that_has_not_failed_need_not_be_forgotten(listener):
    one = listener(direct=True, ResetFailedUnit=lambda call: error(call.serial, GONE))
    with Bus(one.address) as bus:
        scope.stop(bus, UNIT)


def test_properties_are_set_until_the_unit_ends_and_waited_for(listener):
    one = listener(direct=True)
    with Bus(one.address) as bus:
        scope.set_properties(bus, UNIT, (("TasksMax", "t", 5),))

    assert ["SetUnitProperties", "Ping"] == one.methods
    assert (UNIT, True, (("TasksMax", ("t", 5)),)) == one.calls[0].body


def test_what_comes_behind_properties_is_answered_before_they_count_as_set(listener):
    with pytest.raises(HostError), Bus(listener(direct=True, Ping=b"").address, SHORT_S) as bus:
        scope.set_properties(bus, UNIT, (("TasksMax", "t", 5),))


@pytest.mark.parametrize(
    ("version", "told"), [("251.4-1", []), ("252.39-1~deb12u1", ["CPUWeight"]), ("v245", [])]
)
def test_a_systemd_that_does_not_know_idle_is_not_told(listener, version, told):
    one = listener(direct=True, Get=lambda call: answer(call.serial, "v", (("s", version),)))
    with Bus(one.address) as bus:
        scope.set_properties(bus, UNIT, (scope.IDLE, ("TasksMax", "t", 5)))

    assert [*told, "TasksMax"] == [name for name, _ in one.calls[1].body[2]]


# ---- what goes wrong -----------------------------------------------------------------------------
def failure(one, **options) -> HostError:
    with pytest.raises(HostError) as failed:
        start(one, **options)
    assert "--cgroup-manager=cgroupfs" in failed.value.what
    assert one.address in failed.value.what
    return failed.value


def test_one_that_never_answers_is_given_up(listener):
    one = listener(StartTransientUnit=b"")

    assert f"no answer for {SHORT_S} s" == failure(one, timeout_s=SHORT_S).why


def test_one_that_never_ends_its_job_is_given_up(listener):
    one = listener(StartTransientUnit=lambda call: answer(call.serial, "o", (fake.JOB,)))

    assert f"no answer for {SHORT_S} s" == failure(one, timeout_s=SHORT_S).why


def test_the_time_is_that_of_all_together(listener):
    def chatty(call):
        return job_removed("failed", job="/other") * 3

    failure(listener(StartTransientUnit=chatty, in_pieces=True), timeout_s=SHORT_S)


def test_one_that_hangs_up_is_told(listener):
    assert "ECONNRESET" == failure(listener(StartTransientUnit=lambda _: None)).why


@pytest.mark.parametrize("login", [b"REJECTED EXTERNAL\r\n", b"ERROR\r\n"])
def test_a_login_that_is_rejected_is_told(listener, login):
    assert "rejected" in failure(listener(login=login)).why


@pytest.mark.parametrize("login", [b"x" * 20000, b"HTTP/1.1 400 Bad Request\r\n" * 3])
def test_one_that_does_not_speak_dbus_is_told(listener, login):
    failure(listener(login=login), timeout_s=SHORT_S)


def test_one_that_speaks_nonsense_after_the_login_is_told(listener):
    assert "begin a message" in failure(listener(login=fake.OK + b"nonsense and more")).why


def test_a_bus_that_takes_no_more_connections_is_told(listener):
    name = "org.freedesktop.DBus.Error.LimitsExceeded"

    assert f"{name}: said why" == failure(listener(Hello=lambda call: error(call.serial, name))).why


def test_an_error_of_the_bus_itself_is_raised(listener):
    name = "org.freedesktop.DBus.Error.AccessDenied"
    one = listener(AddMatch=lambda call: error(call.serial, name), StartTransientUnit=lambda call: (
        error(call.serial, name, "policy")
    ))  # fmt: skip
    with pytest.raises(CallError, match="policy") as failed:
        start(one)

    assert "AccessDenied: policy" == failed.value.why()


@pytest.mark.parametrize(
    "address", ["", "tcp:host=a,port=1", "unix:runtime=yes", "unixexec:path=/bin/true", "nonsense"]
)
def test_other_transports_are_refused(address):
    with pytest.raises(OSError, match="EPROTONOSUPPORT"):
        Bus(address)


def test_an_address_is_unescaped_and_the_first_usable_is_taken(tmp_path):
    one = Fake(tmp_path / "a b;c", systemd)
    try:
        escaped = one.path.replace(" ", "%20").replace(";", "%3b")
        with Bus(f"tcp:host=a;unix:path={escaped},guid=00ff", 5.0) as bus:
            scope.start(bus, UNIT, PROPERTIES)
    finally:
        one.close()


def test_the_listener_is_known_by_its_pid(listener):
    import os

    with Bus(listener().address) as bus:
        assert os.getpid() == bus.peer_pid()
