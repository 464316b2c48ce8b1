"""A rootfs full of traps: whatever of it runs outside of a container leaves a marker.

CVE-2019-14271, CVE-2026-41567 and the traps of Python (docs/security.md 2.3): a flawed runtime
imports, loads or executes what lies in the container at the place of its own parts.
tests/oci/test_init.py makes the traps for Python's modules; here are all others, and all verbs.
"""

from __future__ import annotations

import os
import sysconfig

import pytest

from tests.oci.test_init import set_traps

PROGRAMS = (
    "xz", "unxz", "gzip", "gunzip", "zstd", "unpigz", "pigz", "bzip2", "tar", "newuidmap",
    "newgidmap", "getent", "modprobe", "apparmor_parser", "ip", "iptables", "nft", "mount",
    "umount", "systemctl", "dbus-daemon", "criu", "ldconfig", "python3", "fusermount3",
)  # fmt: skip
LIBRARIES = (
    "libnss_systemd.so.2", "libnss_compat.so.2", "libpthread.so.0", "libdl.so.2", "libm.so.6",
    "libexpat.so.1", "libselinux.so.1", "libapparmor.so.1", "libsystemd.so.0",
    "libpython3.11.so.1.0",
)  # fmt: skip
LINKERS = ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1", "lib/ld-linux.so.2")


def link(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.lexists(target):
        os.link(source, target)


def markers(rootfs):
    """Return the markers of both roots, and remove those of the host's."""
    found = [f"{root}/{name}" for root in ("", rootfs) for name in os.listdir(root or "/")]
    found = [path for path in found if os.path.basename(path).startswith("marker")]
    for path in found:
        os.unlink(path)
    return found


@pytest.fixture
def trapped(bundle, tool, scratch):
    """The bundle, with a trap at every path that code is loaded from."""
    program = tool("trap", "-static", '-DNAME="program"')
    library = tool("trap", "-shared", "-fPIC", "-DLIBRARY", '-DNAME="library"')
    place = f"{bundle.path}/place"
    os.mkdir(place)
    set_traps(bundle.rootfs, place)
    for directory in ("usr/bin", "usr/sbin", "sbin", "usr/local/bin", "usr/local/sbin"):
        for name in PROGRAMS:
            link(program, f"{bundle.rootfs}/{directory}/{name}")
    machine = f"{os.uname().machine}-linux-gnu"
    for directory in ("lib", "usr/lib", f"lib/{machine}", f"usr/lib/{machine}", "lib64"):
        for name in LIBRARIES:
            link(library, f"{bundle.rootfs}/{directory}/{name}")
    for name in LINKERS:
        link(program, f"{bundle.rootfs}/{name}")
    extensions = f"{sysconfig.get_path('stdlib')}/lib-dynload"
    for name in os.listdir(extensions) if os.path.isdir(extensions) else ():
        link(library, f"{bundle.rootfs}{extensions}/{name}")
    bundle.file("etc/ld.so.preload", "/usr/lib/libm.so.6\n")
    bundle.file("etc/nsswitch.conf", "passwd: systemd files\ngroup: systemd files\n")
    os.mkdir(f"{bundle.rootfs}/usr/lib/{machine}/gconv")
    for name in ("gconv-modules", "gconv-modules.cache", "UTF-16.so"):
        link(library, f"{bundle.rootfs}/usr/lib/{machine}/gconv/{name}")
    for name in ("encodings", "site", "linecache"):
        path = f"{bundle.rootfs}/usr/lib/python3/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkfifo(path)  # who reads it waits for ever
    assert markers(bundle.rootfs) == []
    return bundle


def demanding(bundle):
    """Ask for what makes a runtime use every part of itself."""
    bundle.config["hostname"] = "h"
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 7]}
    bundle.config["process"]["cwd"] = "/made/by/it"
    bundle.config["linux"]["sysctl"] = {"net.core.somaxconn": "100"}
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getcpu"], "action": "SCMP_ACT_ERRNO"}],
    }
    bundle.mount("/copied", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.hook("createRuntime", "/bin/true")
    bundle.hook("createContainer", "/bin/true")
    bundle.hook("startContainer", "/bin/true")
    bundle.hook("poststop", "/bin/true")


@pytest.mark.parametrize("shape", ["plain", "demanding", "mapped"])
def test_no_verb_runs_anything_of_the_rootfs(runtime, trapped, shape):
    if shape == "demanding":
        demanding(trapped)
    if shape == "mapped":
        trapped.user_namespace()
        kept = [one for one in trapped.config["mounts"] if one["type"] not in {"cgroup", "sysfs"}]
        trapped.config["mounts"] = kept
    container = runtime.started(trapped)
    container.exec("/bin/true").ok()
    container.exec("/bin/true", flags=["--user", "7:8", "--cwd", "/tmp"]).ok()
    for words in (["/nosuch"], ["nosuch"], ["/etc/passwd"], ["\udcff"]):
        container.exec(*words)
    for verb in ("state", "ps", "pause", "resume"):
        container.verb(verb)
    container.kill("TERM")
    container.delete("--force").ok()

    assert markers(trapped.rootfs) == []


FAILURES = {
    "program": lambda config: config["process"].update(args=["nosuch\u00e9"]),
    "directory": lambda config: config["process"].update(cwd="/etc/passwd"),
    "sysctl": lambda config: config["linux"].update(sysctl={"net.core.somaxconn": "x"}),
    "option": lambda config: config["mounts"].append(
        {"destination": "/t", "type": "tmpfs", "source": "t", "options": ["nosuch=\u00e9"]}
    ),
    "type": lambda config: config["mounts"].append({"destination": "/t", "type": "nosuchfs"}),
    "hook": lambda config: config.update(hooks={"createContainer": [{"path": "/nosuch"}]}),
    "start hook": lambda config: config.update(hooks={"startContainer": [{"path": "/nosuch"}]}),
    "rlimit": lambda config: config["process"].update(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]
    ),
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_no_failure_runs_anything_of_the_rootfs(runtime, trapped, name):
    # A traceback reads sources by their path, an error message may load a codec.
    FAILURES[name](trapped.config)
    result = runtime.run(trapped)

    assert result.code != 0
    assert "Traceback" not in result.err
    assert markers(trapped.rootfs) == []
