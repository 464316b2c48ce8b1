"""A container that lies in wait for the runtime: CVE-2016-9962, CVE-2019-5736, CVE-2024-9676.

A flawed runtime enters it as a process that can be looked into through /proc or traced, whose
executable is a file of the host, or that reads or executes what the container put in its way.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time

import pytest

from integration.host import text_of
from integration.security.canary import hashes

EXECS = 100
CREATES = 10
USUAL = ["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD"]


@pytest.fixture
def watched(runtime, bundle, tool):
    """A container whose init looks at every process that comes into sight."""
    shutil.copy(tool("watch"), f"{bundle.rootfs}/opt/watch")

    def start(*words, capabilities=USUAL):
        bundle.all_capabilities(*capabilities)
        bundle.config["process"]["noNewPrivileges"] = False
        return runtime.ready(bundle, f"exec /opt/watch {' '.join(words)}")

    return start


def findings(container):
    """Return what was seen; the watcher must still be alive to have seen anything."""
    assert container.status == "running"
    return text_of(f"{container.bundle.rootfs}/findings").splitlines()


@pytest.mark.parametrize("words", [(), ("ptrace",)], ids=["proc", "ptrace"])
def test_an_exec_cannot_be_looked_into(watched, words):
    # CVE-2016-9962: descriptors and root of the entering process were the way out.
    container = watched(*words)
    for _ in range(EXECS):
        container.exec("/bin/true")

    assert findings(container) == []


def test_the_watcher_sees_what_there_is_to_see(watched, beside):
    """Guard of the tests here: a process that does hold the host open is reported."""
    container = watched(capabilities=[*USUAL, "CAP_SYS_PTRACE"])
    argv = ["nsenter", f"--pid=/proc/{container.pid}/ns/pid", "sleep", "1000"]
    path = f"{container.bundle.rootfs}/findings"
    wanted = {"root /", "fd /etc/passwd"}
    with open("/etc/passwd") as held:
        beside(*argv, pass_fds=(held.fileno(),))
    deadline = time.monotonic() + 20
    while not wanted <= set(text_of(path).splitlines()) and time.monotonic() < deadline:
        time.sleep(0.01)
    seen = findings(container)
    container.delete("--force").ok()

    assert wanted <= set(seen)


def test_a_create_in_its_pid_namespace_cannot_be_looked_into(watched, runtime, new_bundle):
    container = watched()
    second = new_bundle().namespace("pid", f"/proc/{container.pid}/ns/pid")
    for _ in range(CREATES):
        runtime.run(second, "true").ok()

    assert findings(container) == []


def mapped_files(program):
    """Return the files that run as the runtime: program, interpreter, libraries, own modules."""
    with open(program, "rb") as text:
        first = text.readline()
    found = {os.path.realpath(program)}
    if first.startswith(b"#!"):
        interpreter = first[2:].split()[0].decode()
        code = "import _ctypes, _socket, _json, select; print(open('/proc/self/maps').read())"
        argv = [interpreter, "-IS", "-c", code]
        maps = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        found |= {line.split(None, 5)[5] for line in maps.splitlines() if " /" in line}
        library = f"{os.path.dirname(os.path.dirname(os.path.realpath(program)))}/aisbx_runtime"
        for parent, _, names in os.walk(library):
            found |= {f"{parent}/{name}" for name in names if not name.endswith(".pyc")}
    return sorted(path for path in found if os.path.isfile(path))


def test_the_runtime_cannot_be_opened_for_writing(watched, runtime):
    # CVE-2019-5736: `#!/proc/self/exe` made the runtime execute itself inside the container, where
    # its file could be held open and was overwritten once it had ended.
    files = mapped_files(runtime.program)
    before = hashes(files)
    container = watched()
    container.bundle.file("opt/evil", "#!/proc/self/exe\n", 0o755)
    for _ in range(EXECS // 4):
        container.exec("/opt/evil")
    found = findings(container)

    assert found == []
    assert hashes(files) == before


def test_what_waits_in_the_container_is_a_sealed_copy(runtime, bundle):
    # CVE-2019-5736: its /proc/PID/exe can be opened by the container.
    container = runtime.create(bundle)
    fd = os.open(f"/proc/{container.pid}/exe", os.O_RDONLY)
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:  # EINVAL: no memfd, but a file
        seals = 0
    os.close(fd)

    assert seals & fcntl.F_SEAL_WRITE


def test_an_entrypoint_that_is_the_runtime_itself_is_no_way_out(runtime, bundle, canary):
    # CVE-2019-5736: what it executes must be nothing of the host.
    files = mapped_files(runtime.program)
    before = hashes(files)
    for program in ("/proc/self/exe", "/opt/evil"):
        bundle.file("opt/evil", "#!/proc/self/exe\n", 0o755)
        result = runtime.run(bundle.args(program, "--version"))

        assert result.code != 0
        assert "aisbx" not in result.out
    assert hashes(files) == before


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_fifo_in_place_of_the_user_database_stops_nobody(runtime, bundle, name):
    # CVE-2024-9676: who opens it without a look waits for ever.
    os.unlink(f"{bundle.rootfs}/etc/{name}")
    os.mkfifo(f"{bundle.rootfs}/etc/{name}")
    container = runtime.started(bundle, timeout=20)
    result = container.exec("/bin/true", flags=["--user", "1000:1000"], timeout=20)

    assert result.code == 0


def test_a_huge_user_database_costs_nothing(runtime, bundle):
    # CVE-2026-53492: 200 MB of /etc/group were parsed.
    for name in ("passwd", "group"):
        os.truncate(f"{bundle.rootfs}/etc/{name}", 200_000_000)
    bundle.resources(memory={"limit": 32 << 20})
    container = runtime.started(bundle)

    assert container.exec("/bin/true", flags=["--user", "1000:1000"]).code == 0


def test_the_shell_of_the_container_is_nobody_s_but_its_own(runtime, bundle, canary):
    # The program asked for is executed, and no shell, linker or interpreter to prepare it.
    os.unlink(f"{bundle.rootfs}/bin/sh")
    bundle.file("bin/sh", "#!/bin/busybox sh\necho ran >>/ran\n", 0o755)
    container = runtime.create(bundle.args("/bin/sleep", "1000")).start()
    for words in (["/bin/true"], ["/nosuch"], ["/etc/passwd"]):
        container.exec(*words)

    assert not os.path.exists(f"{bundle.rootfs}/ran")


def test_an_exec_shows_a_tracer_no_directory_of_the_host(watched):
    # CVE-2016-9962: not dumpable does not stop who has CAP_SYS_PTRACE in the host's user namespace.
    container = watched(capabilities=[*USUAL, "CAP_SYS_PTRACE"])
    for _ in range(EXECS):
        container.exec("/bin/true")

    assert [one for one in findings(container) if not one.startswith("exe ")] == []


def test_an_exec_cannot_be_looked_into_by_a_tracer(watched):
    # CVE-2019-5736: the interpreter that becomes the stub can still be seen as exe, and traced.
    container = watched(capabilities=[*USUAL, "CAP_SYS_PTRACE"])
    for _ in range(EXECS):
        container.exec("/bin/true")

    assert findings(container) == []
