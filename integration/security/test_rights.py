"""Rights that must not leak: capabilities, users, keys, the terminal, environments.

CVE-2022-24769, CVE-2022-29162, CVE-2025-27612, CVE-2026-30892, CVE-2017-5226, CVE-2025-23266.
"""

from __future__ import annotations

import os
import shutil

import pytest

from integration.differences import known_of_runc
from integration.runtime import call
from integration.terminal import OnPty

SETS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
STATUS = "grep -E '^Cap' /proc/self/status"


def sets(text):
    """Return name -> mask of a /proc/PID/status."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0].rstrip(":"): int(pair[1], 16) for pair in pairs if pair}


@pytest.mark.parametrize("user", [0, 1000])
def test_nothing_is_inheritable_unless_the_specification_says_so(runtime, bundle, user):
    # CVE-2022-24769: file capabilities of the image would take what is inheritable.
    bundle.all_capabilities("CAP_KILL", "CAP_CHOWN")
    bundle.config["process"]["user"] = {"uid": user, "gid": user}

    assert sets(runtime.run(bundle, STATUS).ok().out)["CapInh"] == 0


@pytest.mark.parametrize("name", ["CAP_KILL", "CAP_NET_RAW"])
def test_a_capability_for_one_exec_is_not_inheritable(runtime, bundle, name):
    # CVE-2022-29162
    bundle.all_capabilities("CAP_KILL", "CAP_CHOWN")
    container = runtime.started(bundle)
    words = ["/bin/sh", "-c", STATUS]
    found = sets(container.exec(*words, flags=["--cap", name]).ok().out)

    assert (found["CapInh"], found["CapAmb"]) == (0, 0)


@pytest.mark.parametrize("user", ["0", "1000", "1000:1000"])
def test_an_exec_never_has_more_than_init(runtime, bundle, user):
    # CVE-2025-27612: tenant processes had capabilities nobody had given them.
    bundle.all_capabilities("CAP_KILL")
    container = runtime.started(bundle)
    init = sets(container.sh("grep -E '^Cap' /proc/1/status"))
    words = ["/bin/sh", "-c", STATUS]
    found = sets(container.exec(*words, flags=["--user", user]).ok().out)

    assert {name: found[name] & ~init[name] for name in SETS} == dict.fromkeys(SETS, 0)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("1", "1"), ("1:0", "1"), ("01", None), ("+1", None), (" 1", None), ("1 ", None),
        ("1:", None), (":1", None), ("-1", None), ("0x1", None), ("1e1", None), ("1_0", None),
        ("\u0661", None), ("4294967295", None), ("4294967296", None), ("a", None), (":", None),
        ("1:1:1", None), ("1:+1", None), ("root", None), ("\n1", None),
    ],
)  # fmt: skip
def test_a_user_is_read_whole_or_not_at_all(runtime, bundle, user, expected):
    # CVE-2026-30892: crun took `-u 1` and the like for uid 0.
    container = runtime.started(bundle)
    result = container.exec("/bin/id", "-u", flags=[f"--user={user}"])
    known_of_runc(
        runtime, "its own table of user words", seen=expected is None and result.code == 0
    )

    if expected is None:
        assert result.code != 0
        assert result.out == ""
    else:
        assert result.ok().out == f"{expected}\n"


# ---- the terminal of the caller
@pytest.fixture
def typing(bundle, tool):
    shutil.copy(tool("tty"), f"{bundle.rootfs}/opt/typing")
    return bundle


def test_a_container_types_nothing_at_its_caller_s_terminal(runtime, typing):
    # CVE-2017-5226: TIOCSTI on an inherited stdin is a shell command for the person outside.
    typing.args("/opt/typing").save()
    runtime.made.append(typing.id)
    with OnPty(runtime.argv("run", "--bundle", typing.path, typing.id)) as person:
        said = person.expect("END")

    assert "sti 1 " in said or "sti 5 " in said, said
    assert "tty 0" not in said


def test_an_exec_types_nothing_at_its_caller_s_terminal(runtime, typing):
    container = runtime.started(typing)
    with OnPty(runtime.argv("exec", container.id, "/opt/typing")) as person:
        said = person.expect("END")

    assert "sti 1 " in said or "sti 5 " in said, said
    assert "tty 0" not in said


# ---- keys
def test_the_keys_of_the_caller_are_not_found(runtime, bundle, tool):
    # The session keyring is inherited: without a new one secrets of the caller can be read.
    shutil.copy(tool("keys"), f"{bundle.rootfs}/opt/keys")
    bundle.args("/opt/keys", "find").save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, bundle.id)

    assert call([tool("keys"), "hold", tool("keys"), "find"]).out == "0\n"
    assert call([tool("keys"), "hold", *argv]).ok().out != "0\n"


def test_the_keys_of_the_caller_are_not_found_by_exec(runtime, bundle, tool):
    shutil.copy(tool("keys"), f"{bundle.rootfs}/opt/keys")
    container = runtime.started(bundle)
    argv = runtime.argv("exec", container.id, "/opt/keys", "find")

    assert call([tool("keys"), "hold", *argv]).ok().out != "0\n"


# ---- environments
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststop"])
def test_a_hook_loads_nothing_that_the_image_names(runtime, bundle, tool, kind):
    # CVE-2025-23266: ENV LD_PRELOAD of the image, in a hook that runs on the host.
    library = tool("trap", "-shared", "-fPIC", "-DLIBRARY", '-DNAME="hook"')
    shutil.copy(library, f"{bundle.path}/evil.so")
    shutil.copy(library, f"{bundle.rootfs}/evil.so")
    bundle.config["process"]["env"] += [
        "LD_PRELOAD=/proc/self/cwd/evil.so", "LD_LIBRARY_PATH=/proc/self/cwd"
    ]  # fmt: skip
    bundle.hook(kind, "/bin/true", env=["PATH=/bin"])
    runtime.run(bundle, "true")
    left = [
        path for path in ("/marker-hook", f"{bundle.rootfs}/marker-hook") if os.path.exists(path)
    ]
    for path in left:
        os.unlink(path)

    assert left == []


ANNOTATIONS = {
    "run.oci.handler": "krun",
    "run.oci.hooks.stdout": "CANARY/file",
    "run.oci.hooks.stderr": "CANARY/new",
    "run.oci.pidfd_receiver": "CANARY/socket",
    "run.oci.seccomp.receiver": "CANARY/socket",
    "run.oci.seccomp_bpf_data": "AAAA",
    "run.oci.seccomp_fail_unknown_syscall": "0",
    "run.oci.systemd.subgroup": "../../..",
    "run.oci.delegate-cgroup": "../../..",
    "run.oci.mount_context_type": "context",
    "run.oci.timens_offset": "boottime 1 1",
    "org.systemd.property.ExecStart": "'CANARY/file'",
    "dev.aisbx.profile": "none",
    "dev.aisbx.mounts": "/:/host",
    "io.kubernetes.cri-o.Devices": "/dev/mem",
}


def test_annotations_from_an_image_order_nothing(runtime, bundle, canary):
    # CVE-2026-53488: what came as a LABEL became an option of a program on the host.
    bundle.config["annotations"] = {
        name: value.replace("CANARY", canary.path) for name, value in ANNOTATIONS.items()
    }
    bundle.hook("createRuntime", "/bin/echo", "said")
    result = runtime.run(bundle, "ls /host 2>/dev/null; ls /; grep Seccomp: /proc/self/status")
    bare = runtime.run(bundle, "ls /")

    assert result.out == bare.out + "Seccomp:\t0\n"
    assert canary.changes() == []


@pytest.mark.parametrize(
    "name", ["aisbx.json", "config.json", "runtime.nspawn", ".krun_config.json"]
)
def test_options_beside_or_in_an_image_are_not_read(runtime, bundle, name):
    # CVE-2026-40226: an optional file beside the image gave rights.
    text = '{"process": {"capabilities": {"effective": ["CAP_SYS_ADMIN"]}}, "privileged": true}'
    bundle.file(name, text)
    if name != "config.json":
        with open(f"{bundle.path}/{name}", "w") as out:
            out.write(text)
    before = runtime.run(bundle, STATUS).out
    os.unlink(f"{bundle.rootfs}/{name}")

    assert before == runtime.run(bundle, STATUS).out


@pytest.mark.parametrize("word", ["size=4k\n", "size=4k\0nosuid", "mode=755\nuid=0", "a" * 70000])
def test_an_option_of_a_mount_injects_nothing(runtime, bundle, word):
    # CVE-2021-43784: homemade framing of what the caller sends.
    bundle.mount("/mnt", "tmpfs", "tmpfs", word)
    result = runtime.run(bundle, "grep ' /mnt ' /proc/self/mountinfo")

    assert result.code != 0 or "uid=0" not in result.out


def test_an_environment_of_megabytes_is_passed_or_refused(runtime, bundle):
    # CVE-2021-43784: 16-bit lengths. execve(2) takes 128 KiB a string: beyond it E2BIG.
    bundle.config["process"]["env"] += ["BIG=" + "x" * (1 << 24)]
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert "Traceback" not in result.err
