"""Any config.json: plan, explain and create agree, it runs or is refused, nothing is left."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from integration.fuzz import strategies
from integration.fuzz.documents import rich_config, text_of, user_config
from integration.fuzz.effort import effort


def with_value(value, *path):
    """Return the text of the rich config.json with one value changed."""
    config = rich_config()
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return text_of(config)


def limited(name, number):
    config = rich_config()
    config["process"]["rlimits"] = [{"type": name, "soft": number, "hard": number}]
    return text_of(config)


@effort(60)
@given(text=strategies.configs, foretell=st.sampled_from(["plan", "explain"]))
@example(text=text_of(rich_config()), foretell="plan")
@example(text=text_of(user_config()), foretell="explain")
@example(text=limited("RLIMIT_AS", 1), foretell="plan")  # nothing can be executed
@example(text=limited("RLIMIT_CPU", 0), foretell="plan")  # killed when the kernel looks
@example(text=limited("RLIMIT_STACK", 0), foretell="plan")  # killed where it needs another page
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

    assert status in {"", "created"} or (status == "stopped" and may_end_as_it_waits(text))
    if foretold.code:
        assert (created.code, created.message) == (1, foretold.message)
    elif created.code:
        assert created.code == 1
        assert created.in_a_step or beyond_the_plan(created), created
    ground.check()


def may_end_as_it_waits(text):
    """Tell whether the kernel may kill it: no time left (RLIMIT_CPU), or no room for its stack."""
    limits = json.loads(text)["process"].get("rlimits") or ()
    least = {"RLIMIT_CPU": 1, "RLIMIT_STACK": 1 << 17}
    return any(one["soft"] <= least.get(one["type"], -1) for one in limits)


def beyond_the_plan(created):
    """Tell whether create refuses what a plan does not look at.

    The rootfs, the console socket, and whether anything can be executed below the limits.
    """
    return created.message.startswith(
        (
            "root.path: there is no directory",
            "process.terminal",
            "container init died as it was executed",
        )
    )
