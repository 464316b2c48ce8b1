"""podman: rarer options that change what it sends to the runtime."""

from __future__ import annotations

import pytest

from integration.engines.podman import IMAGE


def test_disabled_cgroups_are_asked_for_by_name(podman):
    # The drop-in lists aisbx as a runtime that can do without cgroups.
    result = podman.run("--cgroups", "disabled", IMAGE, "echo", "hi", runtime="aisbx")
    if "flag provided but not defined" in result.err:
        pytest.skip("documented difference of runc: it has no --cgroup-manager")

    assert result.ok().out == "hi\n"


def test_split_cgroups(podman):
    # <own cgroup>/libpod-payload-<id>
    result = podman.run("--cgroups", "split", IMAGE, "echo", "hi")
    if "could not find cgroup mount" in result.err:
        pytest.skip("podman splits cgroups only on a unified host")

    assert result.ok().out == "hi\n"


def test_a_systemd_container(podman):
    # On a hybrid host this binds the systemd hierarchy, on v2 the cgroup is writable.
    script = "grep -c cgroup /proc/self/mountinfo; stat -f -c %T /run"
    result = podman.run("--systemd", "always", IMAGE, "sh", "-c", script).ok()

    assert result.lines[1] == "tmpfs"


def test_an_overlay_volume(podman, tmp_path):
    (tmp_path / "file").write_text("text")
    script = "cat /mnt/file; echo new >/mnt/file; cat /mnt/file"
    result = podman.run("-v", f"{tmp_path}:/mnt:O", IMAGE, "sh", "-c", script)

    assert result.ok().out == "textnew\n"
    assert (tmp_path / "file").read_text() == "text"


def test_a_volume_with_many_options(podman, tmp_path):
    words = ["-v", f"{tmp_path}:/mnt:ro,nosuid,nodev,noexec,rprivate"]
    line = podman.run(*words, IMAGE, "grep", " /mnt ", "/proc/self/mountinfo").ok().out

    assert {"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))


def test_a_read_only_container_has_writable_temporary_directories(podman):
    assert podman.run("--read-only", IMAGE, "touch", "/tmp/x", "/run/x", "/dev/shm/x").code == 0


def test_masks_are_lifted(podman):
    words = ["--security-opt", "unmask=/proc/keys"]
    line = podman.run(*words, IMAGE, "grep", "-c", " /proc/keys ", "/proc/self/mountinfo").out

    assert line == "0\n"


def test_masks_are_added(podman):
    words = ["--security-opt", "mask=/etc/passwd"]

    assert podman.run(*words, IMAGE, "cat", "/etc/passwd").out == ""


def test_a_filter_of_the_user(podman, tmp_path):
    (tmp_path / "filter.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":'
        ' [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}',
    )
    words = ["--security-opt", f"seccomp={tmp_path}/filter.json"]
    result = podman.run(*words, IMAGE, "mkdir", "/tmp/x")

    assert result.code != 0
    assert "No space left on device" in result.err


def test_oom_score_adj(podman):
    result = podman.run("--oom-score-adj", "700", IMAGE, "cat", "/proc/self/oom_score_adj")

    assert result.ok().out == "700\n"


def test_a_flag_of_the_runtime_is_passed(podman):
    assert podman.run(IMAGE, "echo", "hi").ok().out == "hi\n"
    result = podman("--runtime-flag", "debug=false", "run", "--network", "none", IMAGE, "true")

    assert result.code == 0


def test_a_checkpoint_that_is_not_possible_leaves_the_container_running(podman):
    container = podman.up()
    if podman("container", "checkpoint", "--help").code == 0:
        result = podman("container", "checkpoint", "--leave-running", container)

        assert result.code in {0, 125}
    assert podman.inspect(container, "{{.State.Status}}") == "running"


def test_exec_in_a_paused_container_is_refused(podman):
    container = podman.up()
    podman("pause", container).ok()

    assert podman("exec", container, "true").code != 0


def test_two_hundred_lines_of_output_come_in_order(podman):
    result = podman.run(IMAGE, "seq", "20000").ok()

    assert result.lines == [str(number) for number in range(1, 20001)]


def test_passthrough_of_the_log_driver(podman):
    # The container gets podman's own descriptors.
    assert podman.run("--log-driver", "passthrough", IMAGE, "echo", "hi").ok().out == "hi\n"


def test_a_container_is_renamed_copied_and_exported(podman, tmp_path):
    container = podman.up(command=("sh", "-c", "echo text >/made; exec sleep 1000"))
    podman("exec", container, "sh", "-c", "while ! test -s /made; do usleep 10000; done").ok()
    podman("export", "-o", str(tmp_path / "tar"), container).ok()

    assert (tmp_path / "tar").stat().st_size > 100_000


def test_a_mount_of_an_image(podman):
    words = ["--mount", f"type=image,source={IMAGE},destination=/mnt"]

    assert "busybox" in podman.run(*words, IMAGE, "ls", "/mnt/bin").ok().lines


def test_a_tmpfs_mount_with_options(podman):
    words = ["--mount", "type=tmpfs,destination=/fresh,tmpfs-size=1m,tmpfs-mode=1777"]
    result = podman.run(*words, IMAGE, "stat", "-c", "%a", "/fresh").ok()

    assert result.out == "1777\n"


def test_a_time_zone_and_labels(podman):
    container = podman.up("--tz", "UTC", "--label", "a=b", "--annotation", "c=d")

    assert podman.inspect(container, '{{index .Config.Labels "a"}}') == "b"
    assert podman.inspect(container, '{{index .Config.Annotations "c"}}') == "d"
