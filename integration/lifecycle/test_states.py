"""The life of a container as `state` tells it, and what each verb says in the wrong state."""

from __future__ import annotations

import datetime
import json
import os
import signal

import jsonschema
import pytest

from integration import host, needs


def test_a_created_container_waits_and_has_not_run_its_program(runtime, bundle):
    container = runtime.create(bundle.script("echo started >/ran"))

    assert container.status == "created"
    assert not os.path.exists(f"{bundle.rootfs}/ran")


def test_start_runs_the_program(runtime, bundle):
    container = runtime.create(bundle.script("echo started >/ran")).start()

    assert container.wait() == 0
    assert os.path.exists(f"{bundle.rootfs}/ran")


def test_state_is_never_created_again_once_start_has_returned(runtime, new_bundle):
    # buildah 1.28 refuses every status but running and stopped after start.
    seen = set()
    for _ in range(5):
        container = runtime.create(new_bundle().script("exec sleep 1000"))
        container.start()
        seen.add(container.status)

    assert seen == {"running"}


def test_a_container_whose_program_ended_is_stopped(runtime, bundle):
    container = runtime.create(bundle.script("true")).start()
    container.wait()

    assert container.status == "stopped"


def test_a_zombie_init_is_stopped(runtime, bundle):
    container = runtime.create(bundle.script("true")).start()
    container.wait_ended()

    assert container.status == "stopped"


def test_a_zombie_init_can_be_deleted(runtime, bundle):
    container = runtime.create(bundle.script("true")).start()
    container.wait_ended()
    container.delete().ok()

    assert container.verb("state").code == 1


def test_state_has_what_engines_decode(runtime, bundle):
    bundle.config["annotations"] = {"org.example.key": "value", "empty": ""}
    container = runtime.started(bundle)
    state = container.state()
    created = datetime.datetime.fromisoformat(state["created"][:19] + "+00:00")
    age = datetime.datetime.now(datetime.UTC) - created

    assert state["id"] == bundle.id
    assert state["pid"] == container.pid
    assert state["bundle"] == bundle.path
    assert state["annotations"] == {"org.example.key": "value", "empty": ""}
    assert isinstance(state["ociVersion"], str)
    assert state["created"].endswith("Z")
    assert abs(age) < datetime.timedelta(minutes=2)


def test_the_pid_of_a_stopped_container_is_zero(runtime, bundle):
    container = runtime.create(bundle.script("true")).start()
    container.wait()

    assert container.state().get("pid", 0) == 0


def test_state_writes_one_json_document_and_nothing_to_stderr(runtime, bundle):
    result = runtime.started(bundle).verb("state")

    assert result.err == ""
    assert result.out.lstrip().startswith("{")


def test_a_relative_bundle_is_reported_absolute(runtime, bundle):
    bundle.save()
    runtime.made.append(bundle.id)
    runtime("create", "--bundle", ".", bundle.id, cwd=bundle.path).ok()
    runtime("state", bundle.id)

    assert f'"{bundle.path}"' in runtime("state", bundle.id).out


def test_the_working_directory_is_the_default_bundle(runtime, bundle):
    bundle.save()
    runtime.made.append(bundle.id)

    assert runtime("create", bundle.id, cwd=bundle.path).code == 0


EXIT_7_ON_TERM = "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait; done"


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15", "sigterm", "term"])
def test_kill_takes_a_signal_by_name_and_number(runtime, bundle, name):
    container = runtime.ready(bundle, EXIT_7_ON_TERM)
    container.kill(name).ok()

    assert container.wait() == 7


def test_kill_without_a_signal_sends_term(runtime, bundle):
    container = runtime.ready(bundle, EXIT_7_ON_TERM)
    container.verb("kill").ok()

    assert container.wait() == 7


@pytest.mark.parametrize("name", ["KILL", "9", "TERM"])
def test_a_created_container_can_be_killed(runtime, bundle, name):
    container = runtime.create(bundle)
    container.kill(name).ok()

    assert container.wait() != 0
    assert container.status == "stopped"


def test_killed_by_a_signal_is_seen_as_such_by_the_waiting_parent(runtime, bundle):
    container = runtime.started(bundle)
    container.kill("KILL").ok()

    assert container.wait() == 128 + signal.SIGKILL


def test_an_unknown_signal_is_refused(runtime, bundle):
    container = runtime.started(bundle)

    assert container.kill("NOSUCH").code != 0
    assert container.status == "running"


def test_kill_of_a_stopped_container_says_container_not_running(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()
    result = container.kill("KILL")

    assert result.code == 1
    assert "container not running" in result.err


def test_kill_of_a_zombie_says_container_not_running(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait_ended()
    result = container.kill("KILL")

    assert result.code == 1
    assert "container not running" in result.err


@pytest.mark.parametrize("flag", ["--all", "-a"])
def test_kill_all_of_a_stopped_container_succeeds(runtime, bundle, flag):
    container = runtime.create(bundle).start()
    container.wait()

    assert container.kill("KILL", flag).code == 0


@needs.cgroups
def test_kill_all_reaches_every_process(runtime, bundle):
    bundle.without_namespace("pid")
    container = runtime.started(bundle, "sleep 1000 & exec sleep 1001")
    container.kill("KILL", "--all").ok()

    assert container.wait() == 128 + signal.SIGKILL  # the leak check sees to the other


@needs.cgroups
def test_kill_all_of_a_stopped_container_kills_what_is_left_in_the_cgroup(runtime, bundle):
    # The shim does this when the container has no pid namespace of its own.
    bundle.without_namespace("pid")
    container = runtime.create(bundle.script("sleep 1000 & exit 0")).start()
    container.wait()
    container.kill("KILL", "--all").ok()
    container.delete().ok()


@pytest.mark.parametrize("verb", ["start", "state", "kill", "pause", "resume", "ps", "delete"])
def test_verbs_on_an_unknown_container_fail(runtime, verb):
    result = runtime(verb, "nosuch")

    assert result.code == 1
    assert "container does not exist" in result.err


def test_starting_a_running_container_is_refused(runtime, bundle):
    container = runtime.started(bundle)

    assert container.verb("start").code == 1
    assert container.status == "running"


def test_starting_a_stopped_container_is_refused(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert container.verb("start").code == 1


def test_an_id_is_free_again_after_delete(runtime, bundle):
    for _ in range(2):
        container = runtime.create(bundle.script("true")).start()
        container.wait()
        container.delete().ok()
        os.unlink(f"{bundle.path}/pid")


def schema():
    directory = os.path.join(os.path.dirname(__file__), "../../spec/runtime-spec/schema")
    with open(f"{directory}/state-schema.json", encoding="utf-8") as text:
        found = json.load(text)
    with open(f"{directory}/defs.json", encoding="utf-8") as text:
        found["definitions"] = json.load(text)["definitions"]
    plain = json.dumps(found).replace('"defs.json#', '"#')
    return jsonschema.Draft4Validator(json.loads(plain))


def test_every_state_is_what_the_schema_of_the_specification_says(runtime, bundle):
    bundle.config["annotations"] = {"org.example.key": "value"}
    container = runtime.create(bundle.script("exec sleep 1000"))
    states = [container.state(), container.start().state()]
    container.kill().ok()
    container.wait()
    states.append(container.state())

    assert [state["status"] for state in states] == ["created", "running", "stopped"]
    assert [bool(state.get("pid")) for state in states] == [True, True, False]
    for state in states:
        schema().validate(state)


@pytest.mark.parametrize("change", ["written", "removed"])
def test_what_happens_to_config_json_after_create_does_not_matter(runtime, bundle, change):
    bundle.hook("poststop", "/bin/sh", "-c", f"echo old >>{bundle.path}/note")
    bundle.hook("poststart", "/bin/sh", "-c", f"echo old >>{bundle.path}/note")
    container = runtime.create(bundle.script("echo old >/ran"))
    if change == "written":
        bundle.config["annotations"] = {"new": "1"}
        for kind in ("poststart", "poststop"):
            bundle.config["hooks"][kind][0]["path"] = "/no/such/hook"
        bundle.script("echo new >/ran").save()
    else:
        os.unlink(f"{bundle.path}/config.json")
    container.start().wait()
    state = container.state()
    container.delete().ok()

    assert "annotations" not in state
    assert host.text_of(f"{bundle.rootfs}/ran") == "old\n"
    assert host.text_of(f"{bundle.path}/note") == "old\n" * 2


@needs.cgroups
def test_what_delete_did_not_make_is_left(runtime, bundle, scratch):
    os.mkdir(f"{scratch}/volume")
    bundle.mount("/mnt", "bind", f"{scratch}/volume", "rbind")
    bundle.mount("/srv", "tmpfs", "tmpfs")
    tops = {top for top in host.hierarchies().values() if os.path.isdir(top)}
    parents = [f"{top}{bundle.cgroup}" for top in tops]
    for parent in parents:
        os.mkdir(parent)
        if os.path.exists(f"{parent}/cpuset.cpus"):
            for name in ("cpus", "mems"):  # cpuset(7): empty at first, and nobody can enter
                with open(f"{parent}/cpuset.{name}", "w") as file:
                    file.write(host.text_of(f"{parent}/../cpuset.{name}").strip() or "\n")
    bundle.config["linux"]["cgroupsPath"] = f"{bundle.cgroup}/below"
    container = runtime.create(bundle.script("echo x >/mnt/file; echo x >/root/file")).start()
    container.wait()
    container.delete().ok()
    left = [os.path.isdir(parent) and not os.path.isdir(f"{parent}/below") for parent in parents]
    for parent in parents:
        os.rmdir(parent)

    assert left == [True] * len(parents)
    assert os.listdir(f"{scratch}/volume") == ["file"]
    assert os.path.exists(f"{bundle.rootfs}/root/file")
    assert os.path.exists(f"{bundle.path}/config.json")


@pytest.mark.parametrize("status", ["running", "stopped"])
def test_a_start_that_is_refused_has_no_effect(runtime, bundle, status):
    bundle.hook("poststart", "/bin/sh", "-c", f"echo started >>{bundle.path}/note")
    container = runtime.ready(bundle, "echo ran >>/note; echo ready; exec sleep 1000")
    if status == "stopped":
        container.kill().ok()
        container.wait()
    before = container.state()
    result = container.verb("start")

    assert result.code == 1
    assert container.state() == before
    assert host.text_of(f"{bundle.rootfs}/note") == "ran\n"
    assert host.text_of(f"{bundle.path}/note") == "started\n"
