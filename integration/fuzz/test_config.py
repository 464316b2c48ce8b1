"""Any config.json: plan, explain and create agree, it runs or is refused, nothing is left."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from integration.fuzz import strategies
from integration.fuzz.effort import effort
from integration.fuzz.strategies import rich_config, text_of


def with_value(value, *path):
    """Return the text of the rich config.json with one value changed."""
    config = rich_config()
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return text_of(config)


@effort(60)
@given(text=strategies.configs, foretell=st.sampled_from(["plan", "explain"]))
@example(text=text_of(rich_config()), foretell="plan")
@example(text=text_of(strategies.user_config()), foretell="explain")
def test_any_config_runs_or_is_refused_and_leaves_nothing(ground, text, foretell):
    ground.write("config.json", text)
    path = ground.bundle.path
    foretold = ground.call(foretell, path)
    created = ground.call("create", "--bundle", path, ground.id)
    status = ""
    if created.code == 0:
        status = json.loads(ground.call("state", ground.id).out)["status"]
        ground.call("start", ground.id)
        ground.call("kill", "--all", ground.id, "KILL")
    ground.delete()

    assert status in {"", "created"}
    if foretold.code:
        assert (created.code, created.message) == (1, foretold.message)
    elif created.code:
        assert created.code == 1
        assert created.in_a_step or beyond_the_plan(created), created
    ground.check()


def beyond_the_plan(created):
    """Tell whether create refuses what a plan does not look at: the rootfs, the console socket."""
    return created.message.startswith(("root.path: there is no directory", "process.terminal"))
