"""The root: the rootfs or what covers it, and whether it can be written to."""

from __future__ import annotations

import os

import pytest

from integration.mountinfo import last_at

READ = "cat /proc/self/mountinfo"


def test_the_root_is_the_rootfs(runtime, bundle):
    bundle.file("marker", "here")

    assert runtime.run(bundle, "cat /marker; ls -ia / | head -1").out.startswith("here")


def test_the_parent_of_the_root_is_the_root(runtime, bundle):
    bundle.file("marker", "here")

    assert runtime.run(bundle, "cat /../../../marker").out == "here"


def test_an_absolute_root_path_is_taken(runtime, bundle):
    bundle.config["root"]["path"] = bundle.rootfs

    assert runtime.run(bundle, "echo hi").out == "hi\n"


def overlay_on_the_root(bundle, tmp_path, upper="upper"):
    """Cover the rootfs with an overlay on it; return the upper directory."""
    for name in (upper, f"{upper}.work"):
        (tmp_path / name).mkdir()
    bundle.config["mounts"].insert(
        0,
        {
            "destination": "/",
            "type": "overlay",
            "source": "overlay",
            "options": [
                f"lowerdir={bundle.rootfs}",
                f"upperdir={tmp_path / upper}",
                f"workdir={tmp_path / upper}.work",
                "nodev",
            ],
        },
    )
    return tmp_path / upper


@pytest.mark.parametrize("upper", ["upper", "x" * 250])
def test_what_is_mounted_on_the_rootfs_is_the_root(runtime, bundle, tmp_path, upper):
    """Sandboxes and engines put an overlay there: nothing of it is left on the host."""
    changed = overlay_on_the_root(bundle, tmp_path, upper)
    said = runtime.run(bundle, f"echo new > /made; {READ}").ok()

    root = last_at("/", said.out)
    assert (root.fstype, "nodev" in root.options) == ("overlay", True)
    assert [line.split()[4] for line in said.lines].count("/") == 1
    assert (changed / "made").read_text() == "new\n"
    assert not os.path.exists(f"{bundle.rootfs}/made")


def test_a_root_that_covers_the_rootfs_can_be_read_only(runtime, bundle, tmp_path):
    overlay_on_the_root(bundle, tmp_path)
    bundle.config["root"]["readonly"] = True
    said = runtime.run(bundle, "touch /made || echo refused; cat /proc/uptime >/dev/null").ok()

    assert said.out == "refused\n"


def test_a_read_only_root_refuses_writes(runtime, bundle):
    bundle.config["root"]["readonly"] = True

    assert runtime.run(bundle, "touch /x").code != 0
    assert runtime.run(bundle, "touch /dev/shm/x").code == 0


def test_a_read_only_root_leaves_the_host_writable(runtime, bundle):
    bundle.config["root"]["readonly"] = True
    runtime.run(bundle, "true").ok()
    bundle.file("x", "")


def test_a_writable_root_takes_writes(runtime, bundle):
    runtime.run(bundle, "echo text >/x").ok()

    with open(f"{bundle.rootfs}/x") as text:
        assert text.read() == "text\n"
