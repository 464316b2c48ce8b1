"""The bindings of libseccomp: each alone, either gives the same program, none is a clear error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.seccomp import compiler
from tests.oci.seccomp.bindings import BINDINGS
from tests.oci.seccomp.profiles import profile, rule

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(compiler.__file__.rpartition("/")[0])))


@pytest.mark.parametrize(
    "seccomp",
    [
        profile(),
        profile(rule("getppid", "kill", "socket", errno_ret=9)),
        profile(
            rule(
                "personality", action="SCMP_ACT_KILL_PROCESS", args=[(0, 1 << 63, 7, "SCMP_CMP_GT")]
            ),
            rule("socket", "socketcall", "ipc", "shmget", action="SCMP_ACT_TRAP"),
            default="SCMP_ACT_LOG",
            architectures=("SCMP_ARCH_X86", "SCMP_ARCH_X32"),
        ),
    ],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_both_bindings_give_the_same_program(monkeypatch, seccomp):
    programs = []
    for load in BINDINGS.values():
        try:
            loaded = load()
        except ImportError as error:
            pytest.skip(str(error))
        monkeypatch.setattr(compiler, "load_binding", lambda loaded=loaded: loaded)
        programs.append(compiler.program_of(seccomp))

    assert programs[0] == programs[1]


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules[sys.argv[2]] = None
programs = []
sys.addaudithook(lambda name, args: name in ("subprocess.Popen", "os.posix_spawn", "os.fork",
    "os.exec", "os.system") and programs.append(name))
from aisbx_runtime.oci.seccomp import compiler
from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg, SyscallRule
before = list(sys.path)
program = compiler.program_of(Seccomp("SCMP_ACT_ALLOW", syscalls=(SyscallRule(("getppid",),
    "SCMP_ACT_ERRNO"),)))
import os
print(len(program) > 0, programs, sys.path == before, "subprocess" in sys.modules,
    "ctypes.util" in sys.modules, os.path.exists(compiler.library_path()))
"""


def alone(unwanted):
    return subprocess.run(
        [sys.executable, "-IS", "-c", ALONE, ROOT, unwanted],
        check=False, capture_output=True, text=True, env={}, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("loaded", "unwanted"), [("seccomp", "pyseccomp"), ("pyseccomp", "seccomp")]
)
def test_a_binding_is_loaded_without_site_and_without_environment(loaded, unwanted):
    try:
        BINDINGS[loaded]()
    except ImportError as error:
        pytest.skip(str(error))
    done = alone(unwanted)

    assert (done.stdout, done.stderr) == ("True [] True False False True\n", "")


def test_loading_pyseccomp_leaves_ctypes_as_it_was(monkeypatch):
    import ctypes.util

    found = ctypes.util.find_library
    monkeypatch.delitem(sys.modules, "pyseccomp", raising=False)
    try:
        compiler._load_pyseccomp()
    except ImportError as error:
        pytest.skip(str(error))

    assert (found, ctypes.util) == (ctypes.util.find_library, sys.modules["ctypes.util"])


def test_without_a_binding_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "seccomp", None)
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(HostError) as refused:
        compiler.program_of(profile())

    assert "python3-seccomp" in refused.value.hint


def test_another_package_called_seccomp_is_not_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "seccomp", type(sys)("seccomp"))
    with pytest.raises(ImportError):
        compiler._load_seccomp()
