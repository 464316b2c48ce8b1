"""aisbx run: a first start, a second one, what it isolates, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from integration import host, needs
from integration.host import text_of
from integration.leaks import PATIENCE_S


def facts(aisbx, name):
    with open(aisbx.store.place("containers", name, "aisbx.json")) as file:
        return json.load(file)


@pytest.mark.parametrize("start", ["first", "second"])
def test_the_exit_code_and_the_output_are_the_programs(aisbx, start):
    (key,) = {os.path.basename(os.readlink(aisbx.store.place("refs", name)))
              for name in os.listdir(aisbx.store.place("refs"))
              if "library%2Fbusybox" in name}  # fmt: skip
    kept = aisbx.store.place("rootfs", key, "start")
    if start == "first" and os.path.exists(kept):
        os.unlink(kept)
    done = aisbx.sh("echo out; echo err >&2; exit 7")

    assert os.path.exists(kept)
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")


def test_an_image_runs_what_it_names(aisbx):
    assert aisbx("run", "busybox").ok().out == "default\n"


def test_an_image_that_names_no_program_runs_a_shell(aisbx, images):
    images.add("bare")

    assert aisbx("run", "bare", text="echo from the shell\n").ok().out == ("from the shell\n")


def test_what_a_sandbox_changes_goes_with_it(aisbx):
    aisbx.sh("echo changed >/etc/passwd; rm -r /home; touch /new").ok()

    assert aisbx.sh("head -1 /etc/passwd; ls -d /home /new 2>/dev/null").out == (
        "root:x:0:0:root:/root:/bin/sh\n/home\n"
    )
    assert aisbx.sandboxes() == []
    aisbx.wait_clean()


def test_nothing_is_left_mounted_on_the_host(aisbx):
    before = text_of("/proc/self/mountinfo")
    aisbx("run", "--keep", "--name", "n", "busybox").ok()
    aisbx("run", "--detach", "--name", "d", "busybox", "sleep", "1000").ok()

    assert before == text_of("/proc/self/mountinfo")


def test_a_kept_sandbox_shows_what_it_changed(aisbx):
    aisbx("run", "--keep", "--name", "n", "busybox", "sh", "-c", "echo x >/new; rm /etc/group").ok()
    upper = facts(aisbx, "n")["upper"]

    assert text_of(f"{upper}/new") == "x\n"
    assert os.stat(f"{upper}/etc/group").st_rdev == 0


def test_a_name_is_there_once(aisbx):
    aisbx("run", "--keep", "--name", "n", "busybox").ok()
    done = aisbx("run", "--name", "n", "busybox")

    assert done.code == 1
    assert "there is a sandbox of this name" in done.err
    assert aisbx.sandboxes() == ["n"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a" * 65, "ä"])
def test_a_name_that_cannot_be_is_refused(aisbx, name):
    done = aisbx("run", f"--name={name}", "busybox")

    assert done.code == 1
    assert "cannot be the name" in done.err


def test_an_image_that_is_nowhere_is_an_error_and_leaves_nothing(aisbx):
    done = aisbx("run", "oci:/nowhere:x", "true")

    assert done.code == 1
    assert done.err.count("aisbx: run: ") == 1
    assert aisbx.sandboxes() == []


def test_a_program_that_is_not_there_is_told_by_the_runtime(aisbx):
    done = aisbx("run", "busybox", "nosuch")

    assert done.code != 0
    assert "nosuch" in done.err
    assert aisbx.sandboxes() == []


def test_input_and_output_are_passed_through(aisbx):
    data = "x" * 300000

    assert aisbx("run", "busybox", "cat", text=data).ok().out == data


# ---- what is isolated ----------------------------------------------------------------------------
def test_the_sandbox_holds_little(aisbx):
    lines = dict(
        line.split(":\t") for line in aisbx.sh("cat /proc/self/status").ok().lines if ":\t" in line
    )

    assert lines["NoNewPrivs"] == "1"
    assert lines["Seccomp"] == "2"
    # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE
    assert lines["CapBnd"] == lines["CapEff"] == f"{0b10011111011:016x}"


def test_every_namespace_is_its_own(aisbx):
    kinds = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
    inside = aisbx.sh(f"for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done").ok().lines

    assert set() == set(inside) & {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def test_the_network_is_loopback_alone(aisbx):
    assert aisbx.sh("ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1'").ok().lines == [
        "lo", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    ["unshare -m true", "mount -t tmpfs x /tmp", "chroot / true", "mknod /x b 8 0",
     "hostname x", "echo x >/proc/sys/kernel/hostname", "dmesg"],
)  # fmt: skip
def test_what_is_dangerous_fails(aisbx, script):
    assert aisbx.sh(script).code != 0


@needs.cgroups
def test_forks_end_somewhere(aisbx):
    done = aisbx.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait", "--pids", "5")

    assert done.code != 0
    assert "fork" in done.err


def test_devices_and_setuid_programs_of_an_image_are_dead(aisbx):
    def prepare(rootfs):
        os.mknod(f"{rootfs}/bin/null", 0o20666, os.makedev(1, 3))
        os.chmod(f"{rootfs}/bin/null", 0o666)
        os.chmod(f"{rootfs}/bin/busybox", 0o4755)

    aisbx.images.add("dead", prepare)

    assert "ermission denied" in aisbx.sh("echo x >/bin/null", image="dead").err
    assert aisbx.sh("id -u", "--user", "guest", image="dead").out == "1000\n"


# ---- options -------------------------------------------------------------------------------------
def test_the_user_has_the_groups_of_the_image(aisbx):
    assert aisbx.sh("id", "--user", "guest").ok().out == (
        "uid=1000(guest) gid=1001(guests) groups=29(audio),50(staff)\n"
    )


def test_variables_directory_and_host_name_are_as_asked(aisbx):
    done = aisbx(
        "run", "-e", "A=1", "--env", "FROM_HERE", "-e", "NOT_HERE", "-w", "/home",
        "--hostname", "h", "busybox", "sh", "-c",
        "echo $A $FROM_HERE ${NOT_HERE-unset} $(pwd) $(hostname)",
        more_env={"FROM_HERE": "two words"},
    )  # fmt: skip

    assert done.ok().out == "1 two words unset /home h\n"


def test_a_directory_of_this_machine_is_shown_inside(aisbx, tmp_path):
    (tmp_path / "file").write_text("seen\n")
    read = aisbx.sh("cat /mnt/in/file; touch /mnt/in/new", "-v", f"{tmp_path}:/mnt/in:ro")
    written = aisbx.sh("touch /mnt/in/new", "-v", f"{tmp_path}:/mnt/in")

    assert read.out == "seen\n"
    assert "ead-only" in read.err
    assert written.code == 0
    assert (tmp_path / "new").exists()


def test_what_is_mounted_below_such_a_directory_is_read_only_too(aisbx, tmp_path):
    (tmp_path / "below").mkdir()
    host.mount("tmpfs", f"{tmp_path}/below", "tmpfs")
    try:
        done = aisbx.sh("touch /mnt/in/below/new", "-v", f"{tmp_path}:/mnt/in:ro")
        made = os.listdir(tmp_path / "below")
    finally:
        host.umount(f"{tmp_path}/below")

    assert "ead-only" in done.err
    assert made == []


@needs.controllers("memory")
def test_memory_is_limited(aisbx):
    done = aisbx.sh("head -c 100m /dev/zero | tail -c 90m | wc -c", "--memory", "20M")

    assert "94371840" not in done.out


@pytest.mark.parametrize(
    "option",
    ["--memory=x", "--memory=0", "--cpus=x", "--cpus=0", "--pids=0", "--user=nosuch",
     "--workdir=x", "--env==x", "--volume=/nosuch:/x", "--volume=x", "--detach --tty"],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused_and_leaves_nothing(aisbx, option):
    done = aisbx("run", *option.split(), "busybox", "true")

    assert done.code == 1
    assert done.err.startswith("aisbx: run: ")
    assert aisbx.sandboxes() == []


def test_a_volume_keeps_what_the_image_has_there_and_stays_out_of_what_changed(aisbx):
    def prepare(rootfs):
        os.mkdir(f"{rootfs}/data")
        os.chmod(f"{rootfs}/data", 0o700)
        with open(f"{rootfs}/data/seed", "w") as file:
            file.write("seed\n")

    aisbx.images.add("volumes", prepare, Volumes={"/data": {}, "/made": {}})
    done = aisbx(
        "run", "--keep", "--name", "n", "volumes", "sh", "-c",
        "cat /data/seed; stat -c %a /data; touch /data/new /made/new",
    )  # fmt: skip

    assert done.ok().out == "seed\n700\n"
    upper = facts(aisbx, "n")["upper"]
    assert not os.path.lexists(f"{upper}/data/new")
    assert not os.path.lexists(f"{upper}/made/new")


def test_a_label_that_runtimes_obey_is_told_once(aisbx):
    aisbx.images.add("labels", Cmd=["true"], Labels={"run.oci.keep_original_groups": "1"})

    assert "run.oci.keep_original_groups" in aisbx("run", "labels").ok().err
    assert aisbx("run", "labels").ok().err == ""


@pytest.mark.parametrize("config", [{"User": "nosuch"}, {"Volumes": {"/etc/passwd": {}}}])
def test_a_config_that_cannot_be_is_told(aisbx, config):
    aisbx.images.add("wrong", **config)
    done = aisbx("run", "wrong")

    assert done.code == 1
    assert "aisbx: run: " in done.err
    assert "Traceback" not in done.err


# ---- signals, kills, many at once ----------------------------------------------------------------
def started(aisbx, *words):
    argv = [aisbx.program, "run", "busybox", "sh", "-c", *words]
    process = subprocess.Popen(argv, env=aisbx.environment, stdin=-3, stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_signal_reaches_the_program(aisbx):
    with started(aisbx, "trap 'echo got; exit 9' TERM; echo ready; sleep 1000 & wait") as process:
        process.terminate()

        assert process.stdout.read() == b"got\n"
    assert process.returncode == 9
    aisbx.wait_clean()


def test_after_a_kill_the_sandbox_can_be_destroyed_and_the_store_is_whole(aisbx):
    process = started(aisbx, "echo ready; sleep 1000")
    process.kill()
    process.wait()
    process.stdout.close()
    (name,) = aisbx.sandboxes()
    aisbx("destroy", name).ok()

    assert aisbx.sandboxes() == []
    assert aisbx("run", "busybox").ok().out == "default\n"


def test_kills_at_any_moment_leave_what_the_next_can_use(aisbx):
    for step in range(30):
        argv = [aisbx.program, "run", "--name", "n", "busybox", "true"]
        process = subprocess.Popen(argv, env=aisbx.environment, stdin=-3, stdout=-3, stderr=-3)
        time.sleep(step * 0.004)
        process.kill()
        process.wait()
        # Where it came to a container, somebody removes it already.
        done = aisbx("destroy", "n")
        assert done.code == 0 or "there is no sandbox" in done.err

        assert aisbx("run", "--name", "n", "busybox").ok().out == "default\n"
    aisbx.store.sweep()
    aisbx.wait_clean()


def test_a_runtime_that_is_killed_takes_its_container_along(aisbx):
    with started(aisbx, "echo ready; sleep 1000") as process:
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        with open(children) as file:
            runtime_pid = int(file.read().split()[0])
        os.kill(runtime_pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    assert process.returncode == 128 + signal.SIGKILL
    assert aisbx.sandboxes() == []


def test_many_at_once_do_not_meet(aisbx):
    argv = [aisbx.program, "run", "busybox", "sh", "-c", "echo x >/own; sleep 0.2; cat /own*"]
    many = [subprocess.Popen(argv, env=aisbx.environment, stdin=-3, stdout=-1) for _ in range(12)]
    outputs = [process.communicate()[0] for process in many]

    assert outputs == [b"x\n"] * 12
    assert aisbx.sandboxes() == []


def test_the_pipe_of_a_reader_ends_with_the_program(aisbx):
    # Whoever removes the bundle afterwards must not hold it.
    begin = time.monotonic()
    script = f"{aisbx.program} run busybox echo x | cat"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env=aisbx.environment,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == b"x\n"
    assert time.monotonic() - begin < 60


def test_variables_of_the_caller_stay_outside(aisbx):
    assert "SECRET" not in aisbx("run", "busybox", "env", more_env={"SECRET": "x"}).ok().out
