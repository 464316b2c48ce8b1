"""`mounts add` and `mounts remove`, as crun's manual describes them; runc has no such verb."""

from __future__ import annotations

import json
import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.mountinfo import last_at

READ = "cat /proc/self/mountinfo"
SLEEP = "exec sleep 1000"


@pytest.fixture
def source(scratch):
    path = f"{scratch}/added"
    os.mkdir(path)
    with open(f"{path}/file", "w") as text:
        text.write("content\n")
    yield path
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    os.rmdir(path)


@pytest.fixture
def change(runtime, tmp_path):
    """Call `mounts VERB ID FILE` with these mounts."""
    known_of_runc(runtime, "it cannot change the mounts of a container", seen=True)
    if host.lacks_rights():
        pytest.skip("it is root's: see test_a_plain_user_is_told")

    def call(verb, container, *entries, text=None):
        path = tmp_path / "mounts.json"
        path.write_text(json.dumps(entries) if text is None else text)
        return runtime("mounts", verb, container.id, str(path))

    return call


def entry(destination, source, *options, fstype="bind", **more):
    return {
        "destination": destination,
        "type": fstype,
        "source": source,
        "options": list(options),
        **more,
    }


def targets(container):
    """What is mounted, as init sees it, which needs nothing inside."""
    with open(f"/proc/{container.pid}/mountinfo") as text:
        return [line.split()[4] for line in text]


def test_a_directory_is_bound_into_a_running_container(runtime, bundle, change, source):
    container = runtime.started(bundle)
    result = change("add", container, entry("/mnt/new", source, "bind", "ro")).ok()

    assert (result.out, result.err) == ("", "")
    assert container.sh("cat /mnt/new/file; touch /mnt/new/x || true") == "content\n"
    assert "ro" in last_at("/mnt/new", container.sh(READ)).options
    assert not os.path.exists(f"{source}/x")


def test_it_is_seen_by_processes_that_run(runtime, bundle, change, source):
    container = runtime.started(bundle, "while ! [ -e /mnt/file ]; do sleep 0.1; done")
    change("add", container, entry("/mnt", source, "bind")).ok()

    assert container.wait() == 0


def test_nothing_is_mounted_outside(runtime, bundle, change, source):
    container = runtime.started(bundle)
    with open("/proc/self/mountinfo") as text:
        before = text.read()
    change("add", container, entry("/mnt", source, "rbind")).ok()
    with open("/proc/self/mountinfo") as text:
        after = text.read()

    assert before == after


def test_a_container_that_waits_for_start_can_be_given_mounts(runtime, bundle, change, source):
    container = runtime.create(bundle.args("/bin/cat", "/mnt/file"))
    change("add", container, entry("/mnt", source, "bind")).ok()
    container.start()

    assert container.wait() == 0


def test_what_was_added_is_removed(runtime, bundle, change, source):
    container = runtime.started(bundle)
    change(
        "add", container, entry("/mnt", source, "bind"), entry("/etc/f", f"{source}/file", "bind")
    )
    assert {"/mnt", "/etc/f"} <= set(targets(container))
    # crun's manual: only the destination is used.
    change("remove", container, {"destination": "/mnt"}, {"destination": "/etc/f"}).ok()

    assert not {"/mnt", "/etc/f"} & set(targets(container))
    assert container.sh("ls /mnt") == ""


@pytest.mark.parametrize("fstype", ["tmpfs", "proc", "mqueue"])
def test_a_file_system_is_added(runtime, bundle, change, fstype):
    container = runtime.started(bundle)
    change("add", container, entry("/mnt", fstype, "nosuid", fstype=fstype)).ok()
    found = last_at("/mnt", container.sh(READ))

    assert (found.fstype, "nosuid" in found.options) == (fstype, True)


def test_a_procfs_shows_the_processes_of_the_container(runtime, bundle, change):
    container = runtime.started(bundle)
    change("add", container, entry("/mnt", "proc", fstype="proc")).ok()

    assert container.sh("cat /mnt/1/comm") == "sleep\n"


def test_a_remount_makes_a_mount_read_only(runtime, bundle, change):
    container = runtime.started(bundle.mount("/mnt", "tmpfs", "tmpfs"))
    change("add", container, entry("/mnt", "none", "bind", "remount", "ro")).ok()

    assert "ro" in last_at("/mnt", container.sh(READ)).options


def test_of_several_all_or_none_are_added(runtime, bundle, change, source):
    container = runtime.started(bundle)
    result = change(
        "add",
        container,
        entry("/mnt/a", source, "bind"),
        entry("/mnt/b", source, "bind"),
        entry("/mnt/c", "tmpfs", "nosuchoption", fstype="tmpfs"),
    )

    assert result.code != 0
    assert "mounts[2]" in result.message
    assert not [one for one in targets(container) if one.startswith("/mnt")]


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_an_image_cannot_lead_out_by_a_symlink(runtime, bundle, change, source, tmp_path, verb):
    os.makedirs(f"{tmp_path}/out")
    os.symlink(f"{tmp_path}/out", f"{bundle.rootfs}/mnt/link")
    container = runtime.started(bundle)
    result = change(verb, container, entry("/mnt/link", source, "bind"))

    # Added is it where the link leads inside; a removal follows none.
    assert (result.code == 0) is (verb == "add")
    assert os.listdir(f"{tmp_path}/out") == []


def test_no_mask_is_removed_through_a_symlink(runtime, bundle, change):
    bundle.config["linux"]["maskedPaths"] = ["/proc/version"]
    container = runtime.started(bundle)
    container.sh("ln -s /proc/version /mnt/trap")
    result = change("remove", container, {"destination": "/mnt/trap"})

    assert result.code != 0
    assert "/proc/version" in targets(container)


def test_removing_what_is_not_there_is_an_error(runtime, bundle, change):
    container = runtime.started(bundle)
    result = change("remove", container, {"destination": "/mnt"})

    assert result.code != 0
    assert "cannot unmount /mnt: umount2: EINVAL" in result.message


@pytest.mark.skipif(host.lacks_namespace("--user") != "", reason="no user namespaces here")
@pytest.mark.parametrize("option", ["", "idmap"])
def test_a_container_with_a_user_namespace(runtime, bundle, change, source, option):
    container = runtime.started(bundle.user_namespace())
    change("add", container, entry("/mnt/new", source, "bind", option)).ok()
    change("add", container, entry("/tmp", "tmpfs", fstype="tmpfs")).ok()

    owner = "0" if option else "65534"
    assert container.sh("stat -c %u /mnt/new/file /tmp") == f"{owner}\n0\n"
    change("remove", container, {"destination": "/mnt/new"}, {"destination": "/tmp"}).ok()
    assert not {"/mnt/new", "/tmp"} & set(targets(container))


@needs.ids
def test_a_mapping_of_its_own(runtime, bundle, change, source):
    container = runtime.started(bundle)
    mapping = [{"containerID": 0, "hostID": 5000, "size": 100}]
    more = {"uidMappings": mapping, "gidMappings": mapping}
    change("add", container, entry("/mnt", source, "bind", **more)).ok()

    assert container.sh("stat -c %u:%g /mnt/file") == "5000:5000\n"


def test_a_container_without_pivot(runtime, bundle, change, source):
    container = runtime.create(bundle.script(SLEEP), "--no-pivot").start()
    change("add", container, entry("/mnt", source, "bind")).ok()

    assert container.sh("cat /mnt/file") == "content\n"
    change("remove", container, {"destination": "/mnt"}).ok()
    assert container.sh("ls /mnt") == ""


# ---- refused -------------------------------------------------------------------------------------
def test_the_source_must_be_there(runtime, bundle, change):
    container = runtime.started(bundle)
    result = change("add", container, entry("/mnt", "/nowhere", "bind"))

    assert result.code != 0
    assert "cannot take /nowhere: open_tree: ENOENT" in result.message


def test_a_stopped_container_is_refused(runtime, bundle, change, source):
    container = runtime.started(bundle, "true")
    container.wait_ended()
    result = change("add", container, entry("/mnt", source, "bind"))

    assert result.code != 0
    assert "cannot change the mounts of a stopped container" in result.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "expected an array of mounts"),
        ("[1]", "mounts[0]: expected an object"),
        ('[{"type": "bind"}]', "mounts[0].destination: required"),
        ("[", "invalid JSON"),
        ('[{"destination": "/x", "type": "cgroup"}]', "mounts[0].type: cgroup"),
        ('[{"destination": "/", "type": "tmpfs"}]', "mounts[0].destination: the root"),
        ('[{"destination": "/x", "type": "bind"}]', "mounts[0].source: empty"),
        ('[{"destination": "/x", "source": "/", "options": ["bind", "idmap"]}]', "idmap needs"),
    ],
)
def test_a_file_that_is_wrong_is_told(runtime, bundle, change, text, said):
    container = runtime.started(bundle)
    before = targets(container)
    result = change("add", container, text=text)

    assert result.code != 0
    assert said in result.message
    assert before == targets(container)


@needs.ids
def test_a_plain_user_is_told(runtime, bundle, change):
    container = runtime.started(bundle)
    result = runtime("mounts", "add", container.id, "/dev/null", user=65534)

    assert result.code != 0
    assert "only root can change the mounts of a container that lives" in result.message


def test_another_word_is_refused(runtime, bundle, change):
    container = runtime.started(bundle)
    result = change("list", container)

    assert result.code != 0
    assert "mounts list: no such verb" in result.message


@needs.devices
def test_a_container_in_the_mounts_of_the_host_is_refused(runtime, bundle, change, source):
    bundle.without_namespace("mount")
    bundle.config["mounts"] = []
    bundle.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    container = runtime.started(bundle)
    result = change("add", container, entry("/mnt", source, "bind"))

    assert result.code != 0
    assert "mounts needs a new mount namespace" in result.message
