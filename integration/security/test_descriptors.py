"""CVE-2024-21626: descriptors of the host as working directory, as program, and leaked ones.

A flawed runtime holds a directory of the host open when the container chooses where to go: with
cwd /proc/self/fd/N the process then works outside of its root.
"""

from __future__ import annotations

import os

import pytest

from integration.differences import known_of_runc

NUMBERS = range(3, 14)


@pytest.fixture
def leaked(canary):
    """Descriptors of the host's root that the caller forgot to close."""
    made = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(2)]
    low = [os.open(canary.path, os.O_PATH)]
    yield tuple(made + low)
    for fd in (*made, *low):
        os.close(fd)


def shows(canary, result):
    """Tell whether the process that ran has reached the canary."""
    return "untouched" in result.out


def way_out(canary, start="."):
    climb = "../" * 12
    return f"cat {start}/{climb}{canary.readable} {start}/readable 2>/dev/null; true"


@pytest.mark.parametrize("caller", ["clean", "leaking"])
def test_no_number_as_working_directory_of_init_leads_out(request, runtime, bundle, canary, caller):
    fds = request.getfixturevalue("leaked") if caller == "leaking" else ()
    reached = []
    for number in (*NUMBERS, *fds):
        bundle.config["process"]["cwd"] = f"/proc/self/fd/{number}"
        if shows(canary, runtime.run(bundle, way_out(canary), pass_fds=fds)):
            reached.append(number)
    known_of_runc(runtime, "1.1.5 has CVE-2024-21626", seen=reached != [])

    assert reached == []


@pytest.mark.parametrize("caller", ["clean", "leaking"])
def test_no_number_as_working_directory_of_exec_leads_out(request, runtime, bundle, canary, caller):
    fds = request.getfixturevalue("leaked") if caller == "leaking" else ()
    container = runtime.started(bundle)
    reached = []
    for number in (*NUMBERS, *fds):
        flags = ["--cwd", f"/proc/self/fd/{number}"]
        words = ["/bin/sh", "-c", way_out(canary)]
        if shows(canary, container.exec(*words, flags=flags, pass_fds=fds)):
            reached.append(number)
    known_of_runc(runtime, "1.1.5 has CVE-2024-21626", seen=reached != [])

    assert reached == []


def test_no_number_in_the_path_of_the_program_leads_out(runtime, bundle, canary, leaked):
    # The host's own busybox would run with the host's root in sight.
    reached = []
    container = runtime.started(bundle)
    for number in (*NUMBERS, *leaked):
        for start in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
            words = [f"{start}/bin/sh", "-c", way_out(canary)]
            if shows(canary, container.exec(*words, pass_fds=leaked)):
                reached.append(start)

    assert reached == []


def test_a_symlink_to_a_descriptor_leads_nowhere_either(runtime, bundle, canary, leaked):
    # The image's way to the same hole: WORKDIR is a symlink.
    reached = []
    for number in (*NUMBERS, *leaked):
        link = f"{bundle.rootfs}/work"
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(f"/proc/self/fd/{number}", link)
        bundle.config["process"]["cwd"] = "/work"
        if shows(canary, runtime.run(bundle, way_out(canary), pass_fds=leaked)):
            reached.append(number)
    known_of_runc(runtime, "1.1.5 has CVE-2024-21626", seen=reached != [])

    assert reached == []


def test_a_mount_cannot_go_through_a_descriptor(runtime, bundle, canary, leaked):
    for number in (*NUMBERS, *leaked):
        bundle.config["mounts"] = bundle.config["mounts"][:7]
        bundle.mount(f"/proc/self/fd/{number}/made", "tmpfs", "tmpfs")
        runtime.run(bundle, "true", pass_fds=leaked)

    assert canary.changes() == []
    assert not os.path.exists("/made")
