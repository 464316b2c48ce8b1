"""Ways out by cgroups: CVE-2023-25809, CVE-2022-0492, and paths with `..`."""

from __future__ import annotations

import os

import pytest

from integration import host
from integration.differences import known_of_runc
from integration.runtime import call


def outside(marked):
    """Return the directories of that name in any hierarchy, and beside them, deepest first."""
    walked = os.walk("/sys/fs/cgroup", topdown=False)
    return [parent for parent, _, _ in walked if marked in parent]


@pytest.mark.parametrize(
    "shape", ["/../{id}/up", "../../{id}/up", "/a/../../{id}", "/{id}/../../{id}x"]
)
def test_a_path_with_dots_is_refused_or_stays_below(runtime, bundle, shape):
    # crun 1.28: annotations and paths led out of the tree that the engine had given.
    bundle.config["linux"]["cgroupsPath"] = shape.format(id=bundle.id)
    made = runtime.try_create(bundle.script("exec sleep 1000")).code == 0
    found = outside(bundle.id)
    runtime("delete", "--force", bundle.id)

    assert [path for path in found if not path.startswith(tops())] == []
    assert made == (found != [])
    assert outside(bundle.id) == []


@pytest.mark.parametrize("path", ["../..", "/", "../", "x/../../.."])
def test_exec_joins_no_cgroup_outside(runtime, bundle, path):
    # crun 1.29: `exec --cgroup` with dots.
    container = runtime.started(bundle)
    words = ["/bin/cat", "/proc/self/cgroup"]
    own = container.exec(*words).ok().out
    result = container.exec(*words, flags=["--cgroup", path])

    assert result.code != 0 or result.out == own


def tops():
    """Return the beginnings of all that lies in a hierarchy."""
    return tuple(f"{top}/" for top in set(host.hierarchies().values()))


def rootless(argv, **options):
    """Call as root of a user namespace whose root is the host's: it may write what root owns."""
    return call(["unshare", "--user", "--map-root-user", "--mount", *argv], **options)


@pytest.mark.parametrize("options", [["rbind", "ro"], ["rbind", "nosuid", "noexec", "nodev", "ro"]])
def test_the_cgroups_of_the_host_are_not_writable_through_sys(runtime, bundle, options):
    # CVE-2023-25809: without cgroup namespace, rootless, /sys bound: `ro` meant the top mount only.
    reason = host.lacks_namespace("-Ur")
    if reason:
        pytest.skip(reason)
    kept = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/sys")]
    bundle.config["mounts"] = kept
    bundle.mount("/sys", "none", "/sys", *options)
    for one in bundle.config["mounts"]:
        # One id is mapped: 0.
        one["options"] = [word for word in one.get("options", []) if word != "gid=5"]
    bundle.without_namespace("network")
    bundle.config["linux"].pop("resources")
    # What the kernel does not refuse by itself: making a cgroup in the tree of the host.
    name = f"{bundle.id}-made"
    script = (
        "for top in $(find /sys/fs/cgroup -maxdepth 1 -type d); do"
        f" mkdir $top/{name} 2>/dev/null && echo made $top; done; echo END"
    )
    bundle.script(script).save()
    runtime.made.append(bundle.id)
    result = rootless(runtime.argv("run", "--bundle", bundle.path, bundle.id))
    made = outside(name)
    for path in made:
        os.rmdir(path)
    known_of_runc(runtime, "cannot be run so here", seen="END" not in result.out)

    assert "END" in result.out, result
    assert made == []
    assert result.out.split() == ["END"]


def test_a_container_changes_no_release_agent(runtime, bundle):
    # CVE-2022-0492: a release agent of cgroup v1 runs on the host.
    bundle.all_capabilities("CAP_DAC_OVERRIDE", "CAP_KILL")
    script = (
        "for file in $(find /sys/fs/cgroup -name release_agent 2>/dev/null); do"
        " echo /x >$file && echo wrote $file; done 2>/dev/null; echo END"
    )

    assert runtime.run(bundle, script).out == "END\n"
