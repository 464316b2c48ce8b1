"""A mount of type `cgroup`, as a process in the container's namespaces sees it."""

from __future__ import annotations

import os
import traceback

import pytest

from aisbx_runtime.oci.kernel import mount, namespaces
from aisbx_runtime.oci.plan import cgroup_mount
from aisbx_runtime.oci.spec.model import Linux, Mount, Namespace, Root, Spec
from tests.oci.cgroups import HOST, PARENT, World

pytestmark = pytest.mark.root

RO = ("nosuid", "noexec", "nodev", "relatime", "ro")


def seen(one, root: str, options: tuple[str, ...], *, private: bool, probe, user=False) -> None:
    """Call `probe` with the path of the mount, in a child as container init is one."""
    spec = Spec(
        "1.2.0",
        Root("r"),
        linux=Linux(
            cgroups_path=f"{PARENT}/c", namespaces=(Namespace("cgroup"),) if private else ()
        ),
    )
    entry = Mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
    steps = cgroup_mount.steps(0, entry, spec, HOST, one.plan)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            one.world.pid = os.getpid()
            one.join()
            flags = namespaces.CLONE_NEWNS | (namespaces.CLONE_NEWUSER if user else 0)
            namespaces.unshare(flags | (namespaces.CLONE_NEWCGROUP if private else 0))
            if user:
                become_root_of_a_user_namespace()
            slash_fd = os.open("/", os.O_PATH)
            mount.mount_setattr(slash_fd, propagation=mount.MS_PRIVATE, recursive=True)
            world = World()
            world.trees = {}
            # As container init has it: the root is a mount of its own.
            context_fd = mount.fsopen("tmpfs")
            mount.fsconfig_create(context_fd)
            tree_fd = mount.fsmount(context_fd, 0)
            root_fd = os.open(root, os.O_PATH)
            mount.move_mount(tree_fd, root_fd)
            world.root_fd = os.open(root, os.O_PATH)
            for step in steps:
                step.apply(world)
            probe(f"{root}/sys/fs/cgroup")
        except BaseException:  # noqa: BLE001  (told to the parent, which fails)
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        failed = file.read()
    os.waitpid(pid, 0)
    assert failed == ""


def become_root_of_a_user_namespace() -> None:
    for file, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        with open(f"/proc/self/{file}", "w") as stream:
            stream.write(text)


def mounts_below(path: str) -> dict[str, tuple[str, str, set[str]]]:
    """Return, by name, (file system type, root, options) of what is mounted at and below `path`."""
    found = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            fields = before.split(" ")
            if fields[4] == path or fields[4].startswith(f"{path}/"):
                name = fields[4].removeprefix(path).strip("/")
                found[name] = (after.split(" ")[0], fields[3], set(fields[5].split(",")))
    return found


@pytest.mark.parametrize("private", [False, True])
def test_every_hierarchy_is_there_with_the_options(container, tmp_path, private):
    def probe(path: str) -> None:
        found = mounts_below(path)
        names = {os.path.basename(one.mount_point) for one in HOST.hierarchies}
        wanted = {""} if HOST.unified else {"", *names}
        assert wanted == set(found)
        for _, _, options in found.values():
            assert {"ro", "nosuid", "nodev", "noexec"} <= options
        for name in wanted - {""}:
            assert "cgroup.procs" in os.listdir(f"{path}/{name}")

    seen(container(), str(tmp_path), RO, private=private, probe=probe)


@pytest.mark.parametrize("private", [False, True])
def test_the_own_cgroup_is_what_is_seen(container, tmp_path, private):
    def probe(path: str) -> None:
        with open("/proc/self/cgroup") as file:
            shown = [line.strip().split(":", 2)[2] for line in file]
        if private:
            assert "/" in shown
        if HOST.unified and not private:
            # The whole tree of the host's namespace: that is what no namespace means on v2.
            assert os.path.isdir(f"{path}{PARENT}/c")
            return
        for name in mounts_below(path):
            if name or HOST.unified:
                with open(f"{path}/{name}/cgroup.procs") as file:
                    assert str(os.getpid()) in file.read().split()

    seen(container(), str(tmp_path), RO, private=private, probe=probe)


@pytest.mark.parametrize("private", [False, True])
def test_a_writable_mount_takes_a_child_cgroup(container, tmp_path, private):
    def probe(path: str) -> None:
        for name in mounts_below(path):
            if name or HOST.unified:
                below = f"{path}/{name}" if private or not HOST.unified else f"{path}{PARENT}/c"
                os.mkdir(f"{below}/child")

    one = container()
    seen(one, str(tmp_path), ("nosuid",), private=private, probe=probe)

    assert all(os.path.isdir(f"{path}/child") for path in one.paths)


def test_read_only_means_that_no_limit_can_be_changed(container, tmp_path):
    def probe(path: str) -> None:
        for name in mounts_below(path):
            with pytest.raises(OSError, match="Read-only"):
                os.mkdir(f"{path}/{name}/child")

    seen(container(), str(tmp_path), RO, private=True, probe=probe)


def test_controllers_that_share_a_hierarchy_are_found_by_name(container, tmp_path):
    shared = [one for one in HOST.hierarchies if len(one.controllers) > 1]
    if not shared:
        pytest.skip("no two controllers are mounted together here")

    def probe(path: str) -> None:
        for one in shared:
            for name in one.controllers:
                assert "cgroup.procs" in os.listdir(f"{path}/{name}")

    seen(container(), str(tmp_path), RO, private=True, probe=probe)


@pytest.mark.parametrize("private", [False, True])
def test_in_a_user_namespace_the_own_cgroup_is_there_too(container, tmp_path, private):
    def probe(path: str) -> None:
        for name, (_, _, options) in mounts_below(path).items():
            assert {"ro", "nosuid", "nodev", "noexec"} <= options
            if name or HOST.unified:
                # Without a namespace of its own a new mount of cgroup v2 is refused (EPERM).
                with open(f"{path}/{name}/cgroup.procs") as file:
                    assert str(os.getpid()) in file.read().split()

    seen(container(), str(tmp_path), RO, private=private, probe=probe, user=True)
