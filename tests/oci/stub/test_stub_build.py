"""The file of the stub: what the build makes, for both machines, and how it is read."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import subprocess
import sys

import pytest

from aisbx_runtime.oci import stub
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.stub.build import SOURCE, BuildError, build

BUILD_PROGRAM = os.path.join(os.path.dirname(SOURCE), "build.py")
PT_LOAD, PT_GNU_STACK = 1, 0x6474E551
PF_X, PF_W = 1, 2


def segments_of(path):
    """Return type and flags of each segment: elf(5)."""
    with open(path, "rb") as file:
        content = file.read()
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    return [struct.unpack_from("<II", content, offset + n * size) for n in range(count)]


def check_file(path):
    segments = segments_of(path)

    assert os.path.getsize(path) < 16 * 1024
    assert {PT_LOAD, PT_GNU_STACK} == {kind for kind, _ in segments}, "not static"
    assert not [kind for kind, flags in segments if flags & PF_X and flags & PF_W]
    assert [PF_X] == [flags & (PF_X | PF_W) for kind, flags in segments if kind == PT_LOAD]
    assert not [kind for kind, flags in segments if kind == PT_GNU_STACK and flags & PF_X]


def test_the_file_is_small_static_and_has_nothing_writable_and_executable(built):
    check_file(built)


def test_the_same_source_gives_the_same_bytes(built, tmp_path, monkeypatch):
    header = tmp_path / "headers" / "asm" / "errno.h"
    header.parent.mkdir(parents=True)
    header.write_text("#error the environment reached the compiler")
    monkeypatch.setenv("CPATH", str(tmp_path / "headers"))
    monkeypatch.chdir(tmp_path)
    build("another")
    with open(built, "rb") as one, open("another", "rb") as other:
        assert one.read() == other.read()
    assert {"another", "headers"} == set(os.listdir())


def test_the_aarch64_stub_runs(tmp_path):
    cc, qemu = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")
    if cc is None or qemu is None:
        pytest.skip("needs aarch64-linux-gnu-gcc and qemu-aarch64-static")
    path = str(tmp_path / "stub")
    build(path, cc)
    check_file(path)
    reports = []
    for program in ("/bin/echo", "/no/such/program"):
        runtime, container = socket.socketpair()
        with runtime:
            runtime.send(b"g")
            with container:
                fd = container.fileno()
                command = [
                    qemu,
                    "-0",
                    "aisbx-stub",
                    path,
                    f"1,{fd},-1,0,0,0,-1",
                    program,
                    "",
                    "echo",
                    "ran",
                ]
                result = subprocess.run(
                    command, pass_fds=[fd], stdout=subprocess.PIPE, timeout=20, check=False
                )
            reports.append((runtime.recv(4096), result.stdout, result.returncode))

    assert [(b"", b"ran\n", 0), (b"execve %d" % errno.ENOENT, b"", 1)] == reports


# ---- building and reading it ---------------------------------------------------------------------


def test_a_missing_compiler_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(BuildError) as caught:
        build(str(tmp_path / "stub"), "no-such-cc")

    assert ('there is no C compiler "no-such-cc"', "apt install gcc linux-libc-dev") == (
        caught.value.what,
        caught.value.hint,
    )


def test_a_failing_compiler_leaves_no_file(tmp_path):
    with pytest.raises(BuildError):
        build(str(tmp_path / "stub"), "false")

    assert [] == os.listdir(tmp_path)


def test_the_program_builds_it(built, tmp_path):
    output = tmp_path / "stub"
    subprocess.run([sys.executable, BUILD_PROGRAM, "--cc", "cc", output], check=True)
    with open(built, "rb") as file:
        assert file.read() == output.read_bytes()


def test_the_program_reports_what_is_missing(tmp_path):
    command = [sys.executable, BUILD_PROGRAM, "--cc", "no-such-cc", tmp_path / "stub"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)

    assert 1 == result.returncode
    assert result.stderr.endswith("\nhint: apt install gcc linux-libc-dev\n")


def test_binary_returns_the_built_file(built, monkeypatch):
    monkeypatch.setattr(stub, "PATH", built)
    with open(built, "rb") as file:
        assert file.read() == stub.binary()


def test_binary_says_that_the_stub_is_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(stub, "PATH", str(tmp_path / "stub"))
    with pytest.raises(Failure) as caught:
        stub.binary()

    assert "make build" in caught.value.hint
