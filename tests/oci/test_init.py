"""Container init: who hears of its failures, what it leaves behind, what it never imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from aisbx_runtime.oci import init
from aisbx_runtime.oci.errors import CommandError, Failure, StepError, kernel_error
from aisbx_runtime.oci.plan.step import Phase
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.model import Process
from tests.oci.runtime import ROOT, runtime

root = pytest.mark.root


@record
class Step:
    origin: str = "mounts[1]"

    def describe(self) -> str:
        return "do it"


def job(**fields) -> init.Job:
    every = {
        "steps": (), "total": 9, "process": Process(("true",), "/"), "prepares": False,
        "start_fd": -1, "start_kind": 0, "start_hooks": (), "stub_fd": -1, "label": "",
        "filter_flags": 0, "keep_fds": 0,
    }  # fmt: skip
    return init.Job(**{**every, **fields})


PLACE = (7, Phase("rootfs", "container init", ()), Step())


def test_an_error_of_the_system_names_the_step():
    failure = init._failure(kernel_error(2, "open_tree", "/x"), job(), PLACE)

    assert isinstance(failure, StepError)
    assert ("cannot do it", "open_tree: ENOENT /x") == (failure.what, failure.why)
    assert failure.where.startswith("step 7 of 9 rootfs, mounts[1]")
    assert failure.hint


def test_a_failure_stays_itself_and_learns_its_place():
    raised = CommandError("exec: no")

    assert raised is init._failure(raised, job(), PLACE)
    assert raised.where.startswith("step 7 of 9 rootfs")


def test_a_defect_is_told_as_one():
    failure = init._failure(ZeroDivisionError("oops"), job(), PLACE)

    assert ("ZeroDivisionError: oops", True) == (failure.why, "defect" in failure.hint)


def test_after_the_last_step_it_is_the_stub_that_failed():
    assert "cannot become the stub" == init._failure(OSError(7, "x"), job(), None).what
    assert isinstance(init._failure(Failure("x"), job(), None), Failure)


# ---- containers ----------------------------------------------------------------------------------
@pytest.fixture
def made(tmp_path):
    with runtime(tmp_path) as one:
        yield one


HOOK = {"path": "/busybox", "args": ["busybox", "true"]}


@root
def test_a_hook_that_cannot_be_forked_fails_start(made):
    # pids.max 1: container init itself, and nobody else.
    made.config["hooks"] = {"startContainer": [HOOK]}
    made.config["linux"]["resources"] = {"pids": {"limit": 1}}

    assert (0, "") == made.create()
    code, said = made("start", "c")

    assert 1 == code
    assert "startContainer hooks: clone3: EAGAIN" in said


@root
def test_a_hook_that_fails_fails_start_with_its_reason(made):
    made.config["hooks"] = {"startContainer": [{**HOOK, "args": ["busybox", "false"]}]}

    assert (0, "") == made.create()
    code, said = made("start", "c")

    assert 1 == code
    assert "error running hook: startContainer /busybox: exit status 1" in said


@root
def test_hooks_that_pass_let_the_program_run(made):
    made.config["hooks"] = {"startContainer": [HOOK]}

    assert (0, "") == made.create()
    assert (0, "") == made("start", "c")
    assert '"status":"running"' in made("state", "c")[1]


@root
def test_what_waits_is_the_stub_and_holds_nothing_of_the_host(made):
    assert (0, "") == made.create()
    pid = made.pid()
    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]

    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:aisbx-stub")
    assert [] == [path for path in files[3:] if path.startswith("/")]
    with open(f"/proc/{pid}/maps") as file:
        assert "python" not in file.read()


@root
def test_init_leads_a_session_of_its_own(made):
    made.create()

    assert made.pid() == os.getsid(made.pid())


# ---- the trap rootfs -----------------------------------------------------------------------------
TRAP = """
import posix
posix.close(posix.open("/marker", posix.O_WRONLY | posix.O_CREAT, 0o666))
raise SystemExit(77)
"""
TRAP_LIBRARY = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void trap(void) { close(open("/marker-so", O_CREAT, 0666)); }
"""
LIBRARIES = (
    "libnss_files.so.2", "libnss_dns.so.2", "libnss_compat.so.2", "libgcc_s.so.1", "libffi.so.8",
    "libseccomp.so.2", "libc.so.6", "libcrypt.so.1", "libz.so.1",
)  # fmt: skip


def python_paths() -> list[str]:
    """Return where the runtime's interpreter looks for modules."""
    with open(f"{ROOT}/bin/aisbx-runtime") as launcher:
        interpreter = launcher.readline().removeprefix("#!").split()[0]
    code = "import sys, site; print('\\n'.join([*sys.path, *site.getsitepackages()]))"
    done = subprocess.run(
        [interpreter, "-IS", "-c", code], capture_output=True, text=True, check=True
    )
    return [*done.stdout.split(), ROOT]


def set_traps(rootfs: str, place: str) -> None:
    """Fill every path of Python and of the dynamic loader with what leaves a marker."""
    source = f"{place}/trap.py"
    with open(source, "w") as file:
        file.write(TRAP)
    ours = [
        os.path.relpath(os.path.join(directory, name), ROOT)
        for directory, _, names in os.walk(f"{ROOT}/aisbx_runtime")
        for name in names
        if name.endswith(".py")
    ]
    for path in python_paths():
        if path.endswith(".zip"):
            continue
        os.makedirs(f"{rootfs}{path}", exist_ok=True)
        for name in sys.stdlib_module_names:
            link(source, f"{rootfs}{path}/{name}.py")
        for name in ("site", "sitecustomize", "usercustomize", "seccomp", "pyseccomp"):
            link(source, f"{rootfs}{path}/{name}.py")
    for name in ours:
        os.makedirs(f"{rootfs}{ROOT}/{os.path.dirname(name)}", exist_ok=True)
        link(source, f"{rootfs}{ROOT}/{name}")
    with open(f"{place}/trap.c", "w") as file:
        file.write(TRAP_LIBRARY)
    if shutil.which("cc"):
        argv = ["cc", "-shared", "-fPIC", "-o", f"{place}/trap.so", f"{place}/trap.c"]
        subprocess.run(argv, check=True)
        for directory in ("/lib", "/usr/lib", "/lib64", f"/lib/{os.uname().machine}-linux-gnu"):
            os.makedirs(f"{rootfs}{directory}", exist_ok=True)
            for name in LIBRARIES:
                link(f"{place}/trap.so", f"{rootfs}{directory}/{name}")
    os.makedirs(f"{rootfs}/etc", exist_ok=True)
    with open(f"{rootfs}/etc/nsswitch.conf", "w") as file:
        file.write("passwd: files\ngroup: files\nhosts: files dns\n")


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return


def markers(rootfs: str) -> list[str]:
    return [name for name in os.listdir(rootfs) if name.startswith("marker")]


@pytest.fixture
def trapped(made):
    set_traps(made.rootfs, made.place)
    return made


def full(config) -> None:
    """Ask for whatever makes init take another way."""
    config["hostname"] = "h"
    config["root"]["readonly"] = False
    config["process"] |= {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [5]},
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "oomScoreAdj": 100,
        "cwd": "/made/by/init",
    }
    config["mounts"] += [
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/new", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        {"destination": "/etc", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
    ]
    config["linux"] |= {
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "sysctl": {"net.core.somaxconn": "100"},
        "rootfsPropagation": "shared",
    }
    # In place of the real /tmp, which the user may write to.
    config["hooks"] = {"createContainer": [HOST_HOOK], "startContainer": [HOOK]}


HOST_HOOK = {"path": "/bin/true"}


@root
def test_the_traps_work(trapped):
    """Guard of the tests below: an interpreter that looks there does leave a marker."""
    with open(f"{ROOT}/bin/aisbx-runtime") as launcher:
        interpreter = launcher.readline().removeprefix("#!").split()[0]
    inside = f"{trapped.rootfs}{ROOT}"
    code = f"import sys; sys.path.insert(0, {inside!r}); import aisbx_runtime"
    argv = [interpreter, "-IS", "-c", code]
    env = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(["unshare", "-m", *argv], env=env, check=False, capture_output=True)

    assert 77 == done.returncode
    os.unlink("/marker")


@root
@pytest.mark.parametrize("mutate", [lambda config: None, full], ids=["plain", "full"])  # noqa: ARG005
def test_nothing_of_a_hostile_rootfs_is_imported(trapped, mutate):
    mutate(trapped.config)

    assert (0, "") == trapped.create()
    assert (0, "") == trapped("start", "c")
    assert (0, "") == trapped("exec", "c", "/busybox", "true")
    trapped("exec", "c", "/nosuch")
    trapped("exec", "--cwd", "/proc/1/root", "--user", "7:8", "c", "/busybox", "true")

    assert [] == markers(trapped.rootfs)


def missing_program(config):
    config["process"]["args"] = ["nosuch"]


def bad_sysctl(config):
    config["linux"]["sysctl"] = {"net.core.somaxconn": "many"}


def bad_option(config):
    config["mounts"].append({"destination": "/t", "type": "tmpfs", "options": ["nosuch=\u00e9"]})


def bad_hook(config):
    config["hooks"] = {"createContainer": [{"path": "/nosuch"}]}


def bad_limit(config):
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]


def bad_directory(config):
    config["process"]["cwd"] = "/busybox"


@root
@pytest.mark.parametrize(
    "mutate", [missing_program, bad_sysctl, bad_option, bad_hook, bad_limit, bad_directory]
)
def test_nothing_of_it_is_imported_by_any_failure_either(trapped, mutate):
    mutate(trapped.config)
    code, said = trapped.create()

    assert 1 == code
    assert 1 == len(said.splitlines())
    assert "defect" not in said
    assert [] == markers(trapped.rootfs)
