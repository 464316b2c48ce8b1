"""What else happens on a host: a full disk below the state, a cgroup that goes, two runtimes."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.leaks import cgroups
from integration.runtime import Runtime

PAGE = os.sysconf("SC_PAGE_SIZE")
RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin")


# ---- a full disk ---------------------------------------------------------------------------------
@pytest.fixture
def small(runtime, bundle, scratch, expected_processes):
    """Return a function that gives the runtime a state root of so many pages and inodes."""
    path = f"{scratch}/small-{bundle.id}"
    os.mkdir(path)
    mounted = []

    def give(pages, inodes):
        for _ in range(len(mounted)):
            host.umount(mounted.pop())
        host.mount("tmpfs", path, "tmpfs", data=f"size={pages * PAGE},nr_inodes={inodes},mode=0711")
        mounted.append(path)
        return Runtime(runtime.program, path)

    yield give
    for one in mounted:
        host.umount(one)
    os.rmdir(path)


def files_below(path):
    return [f"{parent}/{name}" for parent, _, names in os.walk(path) for name in names]


@pytest.mark.parametrize(
    "sizes",
    [[(pages, 100) for pages in range(1, 9)], [(100, inodes) for inodes in range(2, 14)]],
    ids=["pages", "inodes"],
)
def test_a_create_on_a_full_disk_is_done_or_undone(runtime, bundle, small, sizes):
    bundle.script("exec sleep 1000")
    codes = []
    for pages, inodes in sizes:
        on_small = small(pages, inodes)
        result = on_small.try_create(bundle)
        codes.append(result.code)
        if result.code:
            known_of_runc(runtime, "it gives no reason", seen="ENOSPC" not in result.err.upper())

            assert "ENOSPC" in result.err
            assert not os.path.exists(f"{on_small.root}/{bundle.id}")
            assert cgroups() == set()
        else:
            on_small("delete", "--force", bundle.id).ok()

        assert [path for path in files_below(on_small.root) if bundle.id in path] == []

    assert codes[0] != 0
    assert codes[-1] == 0


def test_a_container_lives_and_ends_on_a_disk_that_became_full(runtime, bundle, small):
    on_small = small(64, 100)
    container = on_small.create(bundle.script("exec sleep 1000"))
    with open(f"{on_small.root}/filler", "wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(PAGE))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    started = on_small("start", bundle.id)
    status = on_small("state", bundle.id)
    executed = on_small("exec", bundle.id, "/bin/echo", "hi")
    listed = on_small("list", "--quiet")
    killed = on_small("kill", bundle.id, "KILL")
    if not killed.code:
        container.wait()
    deleted = on_small("delete", "--force", bundle.id)
    known_of_runc(runtime, "start writes its state anew", seen=bool(started.code))

    assert (started.code, '"running"' in status.out, executed.out) == (0, True, "hi\n")
    assert (listed.out, killed.code, deleted.code) == (f"{bundle.id}\n", 0, 0)


# ---- a cgroup that goes --------------------------------------------------------------------------
def own(bundle):
    """Return the container's directories in all hierarchies."""
    return {path for path in cgroups() if os.path.basename(path) == bundle.id}


@needs.cgroups
def test_a_stopped_container_is_deleted_without_its_cgroup(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()
    for path in own(bundle):
        os.rmdir(path)

    assert container.status == "stopped"
    assert container.delete().ok().err == ""


@pytest.fixture
def moved(runtime, bundle, expected_processes):
    """A running container whose processes somebody has moved, and whose cgroups are removed."""
    container = runtime.started(bundle)
    for path in own(bundle):
        with open(f"{os.path.dirname(path)}/cgroup.procs", "w") as file:
            file.write(str(container.pid))
        os.rmdir(path)
    return container


@needs.cgroups
def test_the_verbs_do_what_they_can_without_the_cgroup(runtime, moved):
    status = moved.status
    frozen = moved.verb("pause")
    limited = moved.verb("update", "--pids-limit", "40")
    killed = moved.kill("KILL")
    moved.wait()
    deleted = moved.delete("--force")

    assert (status, killed.code, deleted.code) == ("running", 0, 0)
    assert 0 not in {frozen.code, limited.code}
    assert frozen.err
    assert limited.err


@needs.cgroups
def test_a_forced_delete_kills_what_is_no_longer_in_the_cgroup(moved):
    moved.delete("--force").ok()

    assert moved.wait() == 137


# ---- two runtimes on one id ----------------------------------------------------------------------
@pytest.mark.parametrize("make", [RUNC, shutil.which("crun", path="/usr/bin:/bin")])
def test_the_container_of_another_runtime_is_left_alone(runtime, bundle, new_bundle, make):
    if make is None or ("crun" in make and not host.unified()):
        pytest.skip("the other runtime is not installed, or not for this host's cgroups")
    other = Runtime(make, runtime.root)
    read_fd, write_fd = os.pipe()  # crun 1.8 gives its stdin to the container's user
    theirs = other.create(bundle.script("exec sleep 1000"), stdin=read_fd).start()
    mine = new_bundle()
    mine.id = bundle.id
    created = runtime.try_create(mine)
    runtime.made.clear()
    verbs = {
        "state": [bundle.id],
        "start": [bundle.id],
        "kill": [bundle.id, "KILL"],
        "delete": [bundle.id],
        "pause": [bundle.id],
        "exec": [bundle.id, "/bin/true"],
    }
    codes = {verb: runtime(verb, *words).code for verb, words in verbs.items()}
    forced = runtime("delete", "--force", bundle.id)
    listed = runtime("list", "--quiet")
    status = other("state", bundle.id)
    other("delete", "--force", bundle.id)
    shutil.rmtree(f"{other.root}/{bundle.id}", ignore_errors=True)
    shutil.rmtree(f"{other.root}/.empty-directory", ignore_errors=True)
    gone = theirs.wait()
    os.close(read_fd)
    os.close(write_fd)
    known_of_runc(runtime, "it removes a state that it cannot read", seen=bool(status.code))

    assert created.code != 0
    assert 0 not in codes.values(), codes
    assert "another runtime" in forced.err or runtime.program == make
    assert (listed.code, gone) == (0, 137)
    assert '"running"' in status.out
