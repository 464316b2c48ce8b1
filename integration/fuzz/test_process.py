"""Any process.json for exec, any resources.json for update, on a container that lives."""

from __future__ import annotations

import pytest
from hypothesis import example, given

from integration.fuzz import strategies
from integration.fuzz.documents import process_document, resources_document, text_of
from integration.fuzz.effort import effort


@pytest.fixture
def alive(ground):
    """The ground with a container that runs and can be made anew when an example has killed it."""
    ground.live()
    return ground


@effort(60)
@given(text=strategies.processes)
@example(text=text_of(process_document()))
def test_any_process_runs_or_is_refused_and_leaves_nothing(alive, text):
    path = alive.write("process.json", text)
    # Its own program may fail as it likes, and say so; whose word it is cannot be told apart.
    done = alive.call("exec", "--process", path, alive.id, silent=False)

    assert done.code in {*range(256)}
    assert [alive.init] == alive.processes()
    assert done.code != 255 or done.message, done


@effort(50)
@given(text=strategies.resources)
@example(text=text_of(resources_document()))
def test_any_limits_are_set_or_refused_and_the_container_lives_on(alive, text):
    path = alive.write("resources.json", text)
    alive.call("update", "--resources", path, alive.id)
    alive.live()
