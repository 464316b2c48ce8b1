"""The table of mount options, each read back from /proc/self/mountinfo inside."""

from __future__ import annotations

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.mountinfo import last_at

READ = "cat /proc/self/mountinfo"


def inside(runtime, bundle):
    return last_at("/mnt", runtime.run(bundle, READ).ok().out)


@pytest.mark.parametrize(
    "option",
    ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"],
)
@pytest.mark.parametrize("fstype", ["tmpfs", "bind"])
def test_a_flag_is_set_on_the_mount(runtime, bundle, tmp_path, fstype, option):
    if fstype == "bind":
        if option in {"noatime", "nodiratime"} and host.lacks_flags_of(str(tmp_path)):
            pytest.skip(host.lacks_flags_of(str(tmp_path)))
        bundle.mount("/mnt", "bind", str(tmp_path), "bind", option)
    else:
        bundle.mount("/mnt", "tmpfs", "tmpfs", option)

    assert option in inside(runtime, bundle).options


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        (["ro", "rw"], "ro"),
        (["nosuid", "suid"], "nosuid"),
        (["nodev", "dev"], "nodev"),
        (["noexec", "exec"], "noexec"),
        (["noatime", "atime"], "noatime"),
        (["nodiratime", "diratime"], "nodiratime"),
        (["nosymfollow", "symfollow"], "nosymfollow"),
        (["strictatime"], "relatime"),
        ([], "ro"),
    ],
)
def test_a_flag_is_cleared_by_its_opposite(runtime, bundle, options, absent):
    bundle.mount("/mnt", "tmpfs", "tmpfs", *options)

    assert absent not in inside(runtime, bundle).options


@pytest.mark.parametrize(
    ("options", "present"),
    [(["rw", "ro"], "ro"), (["suid", "nosuid"], "nosuid"), (["exec", "noexec"], "noexec")],
)
def test_the_last_of_two_opposites_holds(runtime, bundle, options, present):
    bundle.mount("/mnt", "tmpfs", "tmpfs", *options)

    assert present in inside(runtime, bundle).options


@pytest.mark.parametrize("option", ["size=64k", "mode=700", "nr_inodes=77", "uid=5", "gid=6"])
def test_data_reaches_the_filesystem(runtime, bundle, option):
    bundle.mount("/mnt", "tmpfs", "tmpfs", option)
    name, _, value = option.partition("=")
    if name in {"uid", "gid"} and host.lacks_ids():
        pytest.skip(host.lacks_ids())
    # proc_pid_mountinfo(5) shows ids as the initial user namespace knows them.
    shown = f"{name}={host.outside_id(int(value))}" if name in {"uid", "gid"} else option

    assert shown in inside(runtime, bundle).super_options


@needs.ids
def test_the_mode_of_a_tmpfs_is_that_of_the_option(runtime, bundle):
    bundle.mount("/fresh", "tmpfs", "tmpfs", "mode=1750", "uid=5", "gid=6")

    assert runtime.run(bundle, "stat -c %a:%u:%g /fresh").out == "1750:5:6\n"


def test_the_mode_of_a_tmpfs_without_one_is_that_of_the_directory_below(runtime, bundle):
    import os

    os.chmod(f"{bundle.rootfs}/mnt", 0o2751)
    bundle.mount("/mnt", "tmpfs", "tmpfs")

    assert runtime.run(bundle, "stat -c %a /mnt").out == "2751\n"


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime"])
def test_a_flag_of_the_superblock_is_set(runtime, bundle, option):
    bundle.mount("/mnt", "tmpfs", "tmpfs", option)
    name, _, value = option.partition("=")
    # proc_pid_mountinfo(5) shows ids as the initial user namespace knows them.
    shown = f"{name}={host.outside_id(int(value))}" if name in {"uid", "gid"} else option

    assert shown in inside(runtime, bundle).super_options


def test_the_empty_option_is_ignored(runtime, bundle):
    # podman 5.8 sends it for the tmpfs of --systemd.
    bundle.mount("/mnt", "tmpfs", "tmpfs", "", "nosuid")

    assert "nosuid" in inside(runtime, bundle).options


def test_the_option_defaults_changes_nothing(runtime, bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", "defaults")
    result = runtime.run(bundle, "true")
    known_of_runc(runtime, "1.1 hands defaults to the filesystem", seen=result.code != 0)

    assert result.code == 0


def test_an_option_the_filesystem_does_not_know_is_refused(runtime, bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", "nosuchoption=1")

    assert runtime.run(bundle, "true").code != 0


def test_the_source_of_a_tmpfs_is_shown(runtime, bundle):
    bundle.mount("/mnt", "tmpfs", "a-name")

    assert inside(runtime, bundle).source == "a-name"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("private", set()),
        ("rprivate", set()),
        ("shared", {"shared"}),
        ("rshared", {"shared"}),
        ("unbindable", {"unbindable"}),
        ("runbindable", {"unbindable"}),
    ],
)
def test_propagation_is_set(runtime, bundle, tmp_path, option, expected):
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind", option)
    found = {word.split(":")[0] for word in inside(runtime, bundle).propagation}

    assert expected == found


@pytest.mark.parametrize("option", ["slave", "rslave"])
def test_a_slave_of_a_shared_mount_of_the_host(runtime, bundle, shared, option):
    bundle.config["linux"]["rootfsPropagation"] = "rslave"
    bundle.mount("/mnt", "bind", shared, "rbind", option)
    found = {word.split(":")[0] for word in inside(runtime, bundle).propagation}

    assert found == {"master"}


@pytest.mark.parametrize("fstype", ["tmpfs", "proc", "cgroup", "mqueue"])
def test_propagation_may_be_given_for_every_type(runtime, bundle, fstype):
    bundle.mount("/mnt", fstype, fstype, "rprivate", "nosuid", "nodev", "noexec")

    assert inside(runtime, bundle).propagation == set()


def test_a_read_only_bind_leaves_its_source_writable(runtime, bundle, tmp_path):
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind", "ro")

    assert runtime.run(bundle, "touch /mnt/x").code != 0
    (tmp_path / "x").write_text("")


def test_ro_of_rbind_is_not_recursive(runtime, bundle, nested):
    bundle.mount("/mnt", "bind", nested, "rbind", "ro")
    text = runtime.run(bundle, READ).ok().out

    assert "ro" in last_at("/mnt", text).options
    assert "ro" not in last_at("/mnt/below", text).options


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
def test_an_r_option_is_recursive(runtime, bundle, nested, option, flag):
    bundle.mount("/mnt", "bind", nested, "rbind", option)
    text = runtime.run(bundle, READ).ok().out

    assert flag in last_at("/mnt", text).options
    assert flag in last_at("/mnt/below", text).options


def test_bind_does_not_bring_what_is_mounted_below(runtime, bundle, nested):
    bundle.mount("/mnt", "bind", nested, "bind")

    assert " /mnt/below " not in runtime.run(bundle, READ).ok().out


def test_flags_of_the_source_are_kept_by_a_bind(runtime, bundle, nested):
    from integration import host

    remount, bind, nosuid = 32, host.MS_BIND, host.MS_NOSUID
    host.mount("", f"{nested}/below", "", remount | bind | nosuid)
    bundle.mount("/mnt", "bind", f"{nested}/below", "rbind")

    assert "nosuid" in inside(runtime, bundle).options


# config.md: options that a runtime MUST know, and that nobody can read back from mountinfo.
@pytest.mark.parametrize(
    "option",
    [
        "async", "iversion", "loud", "noiversion", "nolazytime", "norelatime", "nostrictatime",
        "silent",
    ],
)  # fmt: skip
@pytest.mark.parametrize("fstype", ["tmpfs", "bind"])
def test_an_option_that_shows_nowhere_is_taken(runtime, bundle, tmp_path, fstype, option):
    source = str(tmp_path) if fstype == "bind" else "tmpfs"
    bundle.mount("/mnt", fstype, source, *["bind"] * (fstype == "bind"), option)
    result = runtime.run(bundle, READ)
    known_of_runc(runtime, f"1.1 hands {option} to the filesystem", seen=result.code != 0)

    assert last_at("/mnt", result.ok().out).options >= {"rw", "relatime"}


@pytest.mark.parametrize(
    ("options", "absent"),
    [(["sync", "async"], "sync"), (["lazytime", "nolazytime"], "lazytime"),
     (["strictatime", "nostrictatime"], "strictatime")],
)  # fmt: skip
def test_a_word_takes_back_the_one_before(runtime, bundle, options, absent):
    bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
    found = inside(runtime, bundle)

    assert absent not in found.options | found.super_options
