"""A mount namespace that is joined by path, with mounts: it becomes the container's."""

from __future__ import annotations

import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.mount_namespace import MountNamespace
from integration.runtime import call

pytestmark = needs.rights


@pytest.fixture
def holder(_no_leaks):
    with MountNamespace() as found:
        yield found


def mounts():
    with open("/proc/self/mountinfo") as text:
        return text.read()


def test_the_mounts_of_the_container_are_made_there(runtime, bundle, holder, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind")
    listed = [one["destination"] for one in bundle.config["mounts"]]
    before = mounts()
    container = runtime.started(bundle.namespace("mount", holder.path))
    joined, here = container.namespace("mnt"), mounts()
    inside = [line.split()[4] for line in container.sh("cat /proc/self/mountinfo").splitlines()]

    assert joined == holder.name
    assert here == before
    assert "text" == container.sh("cat /mnt/file")
    assert ["/", *listed] == [path for path in inside if path in {"/", *listed}]
    assert [] == [path for path in inside if not path.startswith(("/proc", "/dev", "/sys", "/mnt"))
                  and path != "/"]  # fmt: skip


def test_whoever_is_there_already_gets_the_root_of_the_container(runtime, bundle, holder):
    bundle.file("marker", "here")
    container = runtime.started(bundle.namespace("mount", holder.path))
    container.delete("--force").ok()

    assert os.path.exists(f"/proc/{holder.pid}/root/marker")
    assert ("/proc", "proc") in holder.mounts()


def test_masked_and_read_only_paths_hold_there(runtime, bundle, holder):
    bundle.config["root"]["readonly"] = True
    bundle.namespace("mount", holder.path)
    script = "touch /file; wc -c </proc/keys; echo 1 >/proc/sys/kernel/pid_max"
    result = runtime.run(bundle, script)

    assert ["0"] == result.lines, result
    assert 2 == result.err.count("Read-only file system"), result
    assert not os.path.exists(f"{bundle.rootfs}/file")


def test_who_leaves_a_chroot_finds_the_root_of_the_container(runtime, bundle, holder):
    bundle.namespace("mount", holder.path).all_capabilities("CAP_SYS_CHROOT")
    bundle.file("marker", "here")
    bundle.mount("/deep/proc", "proc", "proc")
    bundle.mount("/deep/bin", "bind", f"{bundle.rootfs}/bin", "bind")
    leave = "cd -P /proc/self/fd/3; cd -P ../../../../../../../../../..; ls -d marker bin/bash"
    result = runtime.run(bundle, f"exec 3</; exec chroot /deep /bin/sh -c '{leave}'")

    assert ["marker"] == result.lines, result


def test_what_it_shares_with_the_host_stays_mounted_there(runtime, bundle, shared):
    # umount2(2) of a peer would take it away from the host.
    os.mkdir(f"{shared}/below")
    host.mount("tmpfs", f"{shared}/below", "tmpfs")
    with MountNamespace("--propagation", "unchanged") as holder:
        before = mounts()
        container = runtime.started(bundle.namespace("mount", holder.path))
        during = mounts()
        container.delete("--force").ok()
        after = mounts()
    host.umount(f"{shared}/below")

    assert before == during == after


@pytest.mark.parametrize("what", ["source", "program"])
def test_a_failed_create_takes_its_mounts_away(runtime, bundle, holder, what):
    before = holder.mounts()
    bundle.mount("/opt", "tmpfs", "tmpfs").namespace("mount", holder.path)
    if what == "source":
        bundle.mount("/mnt", "bind", f"{bundle.path}/none", "bind")
    else:
        bundle.args("/no/such/program")
    failed = runtime.try_create(bundle).code
    after = holder.mounts()
    known_of_runc(runtime, "it leaves its mounts there", seen=after != before)

    assert (True, before) == (failed != 0, after)


def refused(runtime, bundle, path, *words):
    """Return what create says; where it is not refused only mounts below `words` change."""
    known_of_runc(runtime, "it changes the root of itself, and fails over that", seen=True)
    bundle.namespace("mount", path)
    bundle.save()
    runtime.made.append(bundle.id)
    result = call([*words, *runtime.argv("create", "--bundle", bundle.path, bundle.id)])

    assert result.code != 0
    return result.message


def test_the_namespace_of_the_runtime_is_refused(runtime, bundle):
    said = refused(runtime, bundle, "/proc/self/ns/mnt", "unshare", "--mount")

    assert "cannot join the mount namespace /proc/self/ns/mnt: it is the runtime's own" in said


def test_the_namespace_of_pid_1_is_refused(runtime, bundle):
    # Of a pid namespace of its own: a runtime that does it must not change this machine.
    words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    script = 'unshare --mount -- "$@"; exit $?'
    said = refused(runtime, bundle, "/proc/1/ns/mnt", *words, script, "sh")

    assert "cannot join the mount namespace /proc/1/ns/mnt: it is that of pid 1" in said
