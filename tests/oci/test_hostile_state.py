"""What is read back from disk or from the other end of the channel may be anything at all."""

from __future__ import annotations

import _socket
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aisbx_runtime.oci import channel
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.channel import InitDied
from aisbx_runtime.oci.container import FACTS, HANDLES
from aisbx_runtime.oci.errors import Failure
from tests.strategies import json_values

# Never a pid that there is: a state may end the process that it is of.
MAX_PID = 2**22
not_numbers = st.none() | st.text(max_size=3) | st.lists(st.none(), max_size=1) | st.floats(0, 1)
numbers = st.integers(-(2**70), 0) | st.integers(MAX_PID + 1, 2**70) | not_numbers
facts_documents = st.fixed_dictionaries(
    {},
    optional={
        "pid": numbers,
        "start_time": numbers,
        "complete": json_values,
        "cgroups": json_values,
        "hooks": json_values,
        "annotations": json_values,
        "created": json_values,
        "bundle": json_values,
    },
)
STATUSES = {"creating", "created", "running", "paused", "stopped"}


def written(name, content):
    """Return a function that reserves a container with such a file, once a test."""

    def make(root):
        container = containers.reserve(root, "one")
        container.replace(name, content)
        return container

    return make


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | facts_documents.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"\xff")
@example(b"[" * 100_000)
@example(b'{"pid": 9223372036854775808, "start_time": 1, "complete": true}')
@example(b'{"pid": true, "start_time": -1, "complete": true}')
def test_whatever_the_facts_say_there_is_a_state_or_one_failure(tmp_path, content):
    container = written(FACTS, content)(f"{tmp_path}/root")
    try:
        facts = container.facts()
        found = containers.state_of(container, facts)["status"], containers.open_init(facts)
    except Failure as failure:
        found = "damaged" if "is damaged" in failure.what else failure.what, -1
    finally:
        container.remove()
        container.close()

    assert found in {(status, -1) for status in (*STATUSES, "damaged")}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
@example(b"cgroup /a\ncgroup /b")
@example(b"\xff\n\n cgroup")
def test_whatever_the_journal_says_only_whole_kinds_are_read(tmp_path, content):
    container = written(HANDLES, content)(f"{tmp_path}/root")
    owned = container.owned("cgroup")
    container.remove()
    container.close()
    lines = content.split(b"\n")

    assert len([line for line in lines if line.startswith(b"cgroup ")]) == len(owned)


messages = json_values | st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["born", "ready", "failed", 1, None]), "pid": json_values,
                  "failure": json_values},
)  # fmt: skip


@given(st.binary(min_size=1, max_size=200) | messages.map(lambda value: json.dumps(value).encode()))
@example(b"{}")
@example(b'{"type": "failed"}')
@example(b'{"type": "failed", "failure": {"what": 1, "type": []}}')
@example(b'{"pid": 1}')
@example(b"\xff")
@example(b"[" * 100_000)
def test_whatever_comes_by_the_channel_is_a_message_a_death_or_a_failure(packet):
    for hear in (
        lambda side: side.expect("ready", "born"),
        lambda side: side.wait_for_end(),
        lambda side: side.take_fd(),
    ):
        near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        side = channel.CreateSide(near)
        far.send(packet)
        far.close()
        try:
            message = hear(side)
        except (Failure, InitDied):
            continue
        finally:
            side.close()

        assert message is None or message["type"] in {"ready", "born"}
