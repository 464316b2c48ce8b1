"""Start-up is architecture: what each verb imports is a list that is reviewed, line by line.

A verb is a new interpreter, and imports are most of what it costs. The lists hold what comes on top
of `python -IS -c pass`, for every supported Python. `--regenerate-golden` writes them anew.
The modules are imported one by one here,
as without the linked file that `aisbx_runtime/launch.py` reads.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SANDBOX = ("aisbx-run",)
WITHOUT_ROOT = ("checkpoint", "features", "list", "plan", "register", "restore", "version")
WITH_ROOT = (
    "create", "create-seccomp", "delete", "exec", "kill", "pause", "ps", "run", "start", "state",
)  # fmt: skip
# Never to be seen: each costs milliseconds of every start (docs: architecture.md 4).
EXPENSIVE = frozenset(
    (
        "argparse", "ctypes", "dataclasses", "datetime", "enum", "hashlib", "inspect", "json",
        "logging", "os", "pathlib", "re", "shutil", "signal", "site", "socket", "subprocess",
        "tempfile", "typing",
    )
)  # fmt: skip

# The runtime ends with _exit, which is where the modules are counted: in the verb's own process,
# and not in the children that it forks.
PROBE = """
import sys
bare = set(sys.modules)
import posix
end, own = posix._exit, posix.getpid()
def _exit(code):
    if posix.getpid() == own:
        names = sorted(set(sys.modules) - bare - {"posix"})
        fd = posix.open(REPORT, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC)
        posix.write(fd, "".join([name + "\\n" for name in names]).encode())
        posix.close(fd)
    end(code)
posix._exit = _exit
sys.path.insert(0, LIBRARY)
from aisbx_runtime import launch
launch._link = lambda library, verb: None
launch.main(LIBRARY, sys.argv[1:])
"""


def interpreter() -> str:
    """Return what the launcher of this checkout runs with, else what runs the tests."""
    try:
        with open(f"{ROOT}/bin/aisbx-runtime") as launcher:
            return launcher.readline().removeprefix("#!").split()[0]
    except FileNotFoundError:
        return os.path.realpath(sys.executable)


class Verbs:
    """Calls of the runtime, with what each imported."""

    def __init__(self, place):
        self.place = place
        self.modules: dict[str, list[str]] = {}

    def call(self, name, *words, codes=(0,), **options):
        """Run one verb for real; note its modules under `name`."""
        report = f"{self.place}/report"
        code = f"REPORT, LIBRARY = {report!r}, {ROOT!r}\n{PROBE}"
        argv = [interpreter(), "-ISB", "-c", code, "--root", f"{self.place}/state", *words]
        options = {"stdin": subprocess.DEVNULL, "env": {}, "check": False, **options}
        with open(f"{self.place}/said", "w+") as said:
            done = subprocess.run(argv, stdout=said, stderr=said, **options)  # noqa: PLW1510
            said.seek(0)

            assert done.returncode in codes, f"{name}: {said.read()}"
        with open(report) as file:
            self.modules[name] = file.read().split()


def check(name, modules, request) -> None:
    path = f"{HERE}/{name}.modules"
    if request.config.getoption("--regenerate-golden"):
        with open(path, "w") as file:
            file.write("".join([f"{module}\n" for module in modules]))
    with open(path) as file:
        expected = file.read().split()

    assert expected == modules


# ---- without root --------------------------------------------------------------------------------
@pytest.fixture
def verbs(tmp_path):
    return Verbs(tmp_path)


def config(*args):
    return {
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"args": list(args), "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [
                {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "resources": {"pids": {"limit": 100}, "devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    }


@pytest.mark.parametrize("name", WITHOUT_ROOT)
def test_a_verb_without_root_imports_these(name, verbs, tmp_path, request):
    words = [name]
    if name == "plan":
        (tmp_path / "config.json").write_text(json.dumps(config("true")))
        words.append(f"{tmp_path}")
    codes = (0,)
    if name in {"checkpoint", "restore"}:
        words.append("--help")
        # 1 where there is no criu: all is loaded by then.
        codes = (0, 1)
    if name == "register":
        words += ["podman", "--print"]
    words = ["--version"] if name == "version" else words
    verbs.call(name, *words, codes=codes, env={"HOME": "/nonexistent"})
    check(name, verbs.modules[name], request)


# ---- with root -----------------------------------------------------------------------------------
class Bundle:
    """A rootfs with busybox alone, and containers in a cgroup that is gone with them."""

    def __init__(self, place):
        self.path = f"{place}/bundle"
        program = shutil.which("busybox")
        if program is None:
            pytest.skip("busybox is not installed: apt-get install busybox-static")
        os.makedirs(f"{self.path}/rootfs/proc")
        shutil.copy(program, f"{self.path}/rootfs/busybox")

    def write(self, container_id, *args, **linux):
        value = config("/busybox", *args)
        value["linux"] |= {"cgroupsPath": f"/aisbx-startup-{os.getpid()}-{container_id}", **linux}
        with open(f"{self.path}/config.json", "w") as file:
            json.dump(value, file)


def wait_for_end(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([pidfd], [], [])
    os.close(pidfd)


def has_seccomp_binding() -> bool:
    code = "import site; site.main()\ntry: import seccomp\nexcept ImportError: import pyseccomp"
    argv = [interpreter(), "-IS", "-c", code]
    return 0 == subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """Lead one container through its life; return the calls."""
    place = tmp_path_factory.mktemp("startup")
    verbs, bundle = Verbs(place), Bundle(place)
    bundled = ("--bundle", bundle.path)
    bundle.write("c", "sleep", "1000")
    try:
        verbs.call("create", "create", *bundled, "--pid-file", f"{place}/pid", "c")
        verbs.call("state", "state", "c")
        verbs.call("start", "start", "c")
        verbs.call("exec", "exec", "c", "/busybox", "true")
        verbs.call("ps", "ps", "--format", "json", "c")
        verbs.call("pause", "pause", "c")
        verbs.call("resume", "resume", "c")
        verbs.call("kill", "kill", "c", "KILL")
        wait_for_end(int((place / "pid").read_text()))
        verbs.call("delete", "delete", "c")
        bundle.write("r", "true")
        verbs.call("run", "run", *bundled, "r")
        if has_seccomp_binding():
            bundle.write("s", "true", seccomp={"defaultAction": "SCMP_ACT_ALLOW"})
            # The first compiles the filter, which is for nobody to count.
            for _ in range(2):
                verbs.call("create-seccomp", "create", *bundled, "s")
                verbs.call("delete-seccomp", "delete", "--force", "s")
    finally:
        for container_id in ("c", "r", "s"):
            verbs.call("delete --force", "delete", "--force", container_id)
    return verbs


@pytest.mark.root
@pytest.mark.parametrize("name", WITH_ROOT)
def test_a_verb_with_root_imports_these(name, life, request):
    if name not in life.modules:
        pytest.skip("no libseccomp binding: apt-get install python3-seccomp")
    check(name, life.modules[name], request)


# ---- the sandbox ---------------------------------------------------------------------------------
@pytest.mark.root
def test_a_second_start_of_an_image_imports_these(tmp_path, request):
    if shutil.which("umoci") is None or shutil.which("skopeo") is None:
        pytest.skip("no umoci or skopeo: apt-get install umoci skopeo")
    from integration.sandbox.filled_store import Images

    images = Images(f"{tmp_path}/store", f"{tmp_path}/scratch")
    images.add("busybox", Cmd=["true"])
    environment = {"AISBX_STORE": images.store.path, "AISBX_RUNTIME": "/bin/true", "PATH": "/bin"}
    program = PROBE.replace(
        "launch.main(LIBRARY, sys.argv[1:])", "launch.main_of_sandbox(LIBRARY, '', sys.argv[1:])"
    )
    report = f"{tmp_path}/report"
    code = f"REPORT, LIBRARY = {report!r}, {ROOT!r}\n{program}"
    argv = [interpreter(), "-ISB", "-c", code, "run", "busybox", "true"]
    # The first one prepares what the second one finds, and ends in another way.
    for _ in range(2):
        subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=True)
    with open(report) as file:
        check("aisbx-run", file.read().split(), request)


# ---- the lists -----------------------------------------------------------------------------------
HOT = ("aisbx-run", "create", "create-seccomp", "delete", "exec", "kill", "run", "start", "state")


@pytest.mark.parametrize("name", HOT)
def test_no_list_of_a_hot_verb_holds_what_is_too_expensive(name):
    with open(f"{HERE}/{name}.modules") as file:
        assert set() == EXPENSIVE & set(file.read().split())


@pytest.mark.parametrize("name", ["kill", "start", "state", "delete"])
def test_verbs_that_make_nothing_do_not_load_what_makes(name):
    with open(f"{HERE}/{name}.modules") as file:
        names = file.read().split()

    assert [] == [one for one in names if one.startswith(("aisbx_runtime.oci.plan", "_ctypes"))]


def test_every_list_has_its_test():
    found = {name.removesuffix(".modules") for name in os.listdir(HERE) if ".modules" in name}

    assert {*SANDBOX, *WITHOUT_ROOT, *WITH_ROOT} == found
