"""`list` and `ps`."""

from __future__ import annotations

import json
import os
import pwd

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.runtime import call


def listed(runtime):
    return {
        entry["id"]: entry for entry in json.loads(runtime("list", "--format", "json").out) or ()
    }


def test_an_empty_list_is_json(runtime):
    assert not json.loads(runtime("list", "--format", "json").ok().out)


def test_list_has_every_container_with_its_status(runtime, new_bundle):
    created = runtime.create(new_bundle())
    running = runtime.started(new_bundle())
    stopped = runtime.create(new_bundle()).start()
    stopped.wait()
    found = {key: entry["status"] for key, entry in listed(runtime).items()}

    assert found == {created.id: "created", running.id: "running", stopped.id: "stopped"}


def test_an_entry_of_the_list_is_a_state(runtime, bundle):
    bundle.config["annotations"] = {"a": "b"}
    container = runtime.started(bundle)
    entry = listed(runtime)[bundle.id]

    assert entry["pid"] == container.pid
    assert entry["bundle"] == bundle.path
    assert entry["annotations"] == {"a": "b"}
    assert entry["created"] == container.state()["created"]


def test_the_list_names_the_owner(runtime, bundle):
    runtime.create(bundle)

    assert listed(runtime)[bundle.id]["owner"] == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_list_has_ids_only(runtime, bundle, flag):
    runtime.create(bundle)

    assert runtime("list", flag).lines == [bundle.id]


def test_the_table_names_the_container(runtime, bundle):
    container = runtime.create(bundle)
    head, line = runtime("list").ok().lines

    assert head.split()[:3] == ["ID", "PID", "STATUS"]
    assert line.split()[:3] == [bundle.id, str(container.pid), "created"]


def test_list_is_not_shaken_by_a_stray_directory(runtime, bundle, state_root):
    import os

    runtime.create(bundle)
    os.mkdir(f"{state_root}/stray")
    try:
        result = runtime("list", "-q")
    finally:
        os.rmdir(f"{state_root}/stray")

    assert bundle.id in result.lines


@needs.cgroups
@pytest.mark.parametrize("flags", [["--format", "json"], ["-f", "json"], ["--format=json"]])
def test_ps_lists_host_pids(runtime, bundle, flags):
    container = runtime.ready(bundle, "sleep 1000 & echo ready; wait")
    result = runtime("ps", *flags, bundle.id).ok()
    pids = json.loads(result.out)

    assert result.err == ""
    assert len(pids) == 2
    assert container.pid in pids


@needs.cgroups
def test_ps_lists_exec_processes(runtime, bundle):
    container = runtime.started(bundle)
    path = f"{bundle.path}/exec.pid"
    container.exec("/bin/sleep", "1000", flags=["-d", "--pid-file", path]).ok()
    with open(path) as text:
        pid = int(text.read())

    assert sorted(json.loads(runtime("ps", "-f", "json", bundle.id).out)) == sorted(
        [container.pid, pid],
    )


@pytest.fixture
def of_host():
    """The host's ps(1), where it works: under User-Mode Linux that of Debian 12 does not."""
    if call(["ps", "-ef"]).code:
        pytest.skip("ps -ef does not work on this host")


@pytest.mark.usefixtures("of_host")
def test_the_table_of_ps_has_the_command(runtime, bundle):
    container = runtime.started(bundle)
    head, line = runtime("ps", bundle.id).ok().lines

    assert "PID" in head
    assert str(container.pid) in line.split()
    assert line.endswith("sleep 1000")


def test_ps_lists_pids_where_there_is_no_ps(runtime, bundle):
    container = runtime.started(bundle)
    result = runtime("ps", bundle.id, env={"PATH": "/nonexistent"})
    known_of_runc(runtime, "it needs ps(1)", seen=result.code != 0)

    assert result.ok().lines == ["PID", str(container.pid)]


def test_ps_of_a_stopped_container_lists_nothing(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert not json.loads(runtime("ps", "--format", "json", bundle.id).ok().out)


@pytest.mark.usefixtures("of_host")
def test_the_table_of_a_stopped_container_is_its_head(runtime, bundle):
    runtime.create(bundle).start().wait()

    assert len(runtime("ps", bundle.id).ok().lines) == 1


@needs.cgroups
def test_ps_of_a_stopped_container_lists_who_has_outlived_init(runtime, bundle):
    bundle.without_namespace("pid")
    container = runtime.ready(bundle, "sleep 1000 & echo ready")
    container.wait()

    assert len(json.loads(runtime("ps", "-f", "json", bundle.id).ok().out)) == 1
