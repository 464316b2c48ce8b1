"""`doctor`: true of this machine for whoever asks, with something taken away, changing nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tempfile

import jsonschema
import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.host import Hierarchy
from aisbx_runtime.oci.kernel import filter as kernel_filter
from aisbx_runtime.oci.kernel.process import PR_SET_NO_NEW_PRIVS, prctl
from aisbx_runtime.oci.probe import cgroups, check
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK
from aisbx_runtime.oci.seccomp import compiler
from tests.oci.runtime import PROGRAM
from tests.oci.seccomp.profiles import profile, rule

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
with open(f"{ROOT}/spec/doctor.schema.json", encoding="utf-8") as _file:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(_file))
PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


class Visit:
    """One call of the doctor: its exit code and its checks by name."""

    def __init__(self, *before, env=None, preexec_fn=None):
        if not os.path.exists(PROGRAM):
            pytest.skip(f"{PROGRAM} is missing: make build")
        for name in before[:1]:
            if shutil.which(name) is None:
                pytest.skip(f"{name} is missing: apt-get install util-linux")
        done = subprocess.run(
            [*before, PROGRAM, "doctor", "--json"], stdin=subprocess.DEVNULL, capture_output=True,
            check=False, env=PLAIN if env is None else env, preexec_fn=preexec_fn, timeout=60,
        )  # fmt: skip
        assert b"" == done.stderr
        self.code = done.returncode
        self.document = json.loads(done.stdout)
        VALIDATOR.validate(self.document)
        self.checks = {one["name"]: one for one in self.document["checks"]}

    def state(self, name):
        return self.checks[name]["state"]


def test_the_schema_is_one_and_wants_a_remedy_for_what_is_not_ok():
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)
    one = {
        "topic": "T", "name": "n", "title": "t", "state": OK, "found": "f", "means": "",
        "remedy": "", "command": "", "needed": False,
    }  # fmt: skip

    def is_valid(**changes):
        return VALIDATOR.is_valid({"host": "h", "can_run": True, "checks": [{**one, **changes}]})

    assert is_valid()
    assert not is_valid(state=LIMITED, means="m")
    assert is_valid(state=LIMITED, means="m", command="c")


def test_the_exit_code_says_whether_containers_can_run():
    found = Visit()

    assert found.code == (0 if found.document["can_run"] else 1)
    assert found.document["can_run"] == all(
        one["state"] != MISSING for one in found.checks.values() if one["needed"]
    )


def test_without_any_environment_it_finds_the_same():
    assert Visit().checks == Visit(env={}).checks


def test_the_text_is_readable_on_80_columns_and_has_no_colours():
    if not os.path.exists(PROGRAM):
        pytest.skip(f"{PROGRAM} is missing: make build")
    done = subprocess.run(
        [PROGRAM, "doctor"], stdin=subprocess.DEVNULL, capture_output=True, check=False,
        env={**PLAIN, "TERM": "xterm"}, timeout=60,
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()

    assert b"\033" not in done.stdout
    # Commands are to be copied and stay whole: they stand deeper than everything else.
    assert [] == [line for line in lines if len(line) > 80 and not line.startswith(" " * 13)]


# ---- trying in a child ---------------------------------------------------------------------------
def fail():
    raise OSError(errno.EXDEV, "x")


def die():
    os._exit(3)


@pytest.mark.parametrize(
    ("action", "expected"),
    [(check.nothing, ""), (fail, "EXDEV"), (die, "the child that tried it died")],
)
def test_a_child_tells_why_not(action, expected):
    assert expected == check.why_not(action)


def test_a_child_that_hangs_is_ended(monkeypatch):
    import time

    monkeypatch.setattr(check, "_TIMEOUT_S", 0.1)

    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        before = file.read()

    assert "no answer in 10 s" == check.why_not(lambda: time.sleep(1000))
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        assert before == file.read()


# ---- cgroups, as values --------------------------------------------------------------------------
def states(*hierarchies):
    return {one.name: one.state for one in cgroups.checks(hierarchies)}


def test_without_cgroups_there_are_no_limits():
    assert {MISSING} == set(states().values())


def test_a_missing_controller_is_named(tmp_path):
    one = Hierarchy(2, (), f"{tmp_path}", "/", "/", ("cpu", "pids"))
    found = next(each for each in cgroups.checks((one,)) if each.name == "controllers")

    assert (LIMITED, "cpu, pids; missing: cpuset, io, memory") == (found.state, found.found)


def test_version_1_is_limited_and_2_is_not(tmp_path):
    two = Hierarchy(2, (), f"{tmp_path}", "/", "/", ("cpu",))
    one = Hierarchy(1, ("freezer",), f"{tmp_path}", "/", "/")

    assert [OK, LIMITED, LIMITED] == [
        states(*each)["cgroups"] for each in ((two,), (one,), (one, two))
    ]


# ---- with something taken away -------------------------------------------------------------------
@pytest.mark.root
def test_root_can_run_containers_and_nothing_is_changed():
    def machine():
        with open("/proc/self/mountinfo") as mounts, open("/proc/mounts") as more:
            listed = [os.listdir(path) for path in ("/sys/fs/cgroup", "/run", "/dev")]
            return mounts.read(), more.read(), [sorted(one) for one in listed]

    before = machine()
    found = Visit()

    assert (0, OK, OK) == (found.code, found.state("namespaces"), found.state("caller"))
    assert before == machine()


@pytest.mark.root
def test_its_mounts_stay_in_its_children_where_mounts_are_shared():
    same = 'cat /proc/self/mountinfo >"$1"; "$2" doctor; cat /proc/self/mountinfo >"$3"'
    with tempfile.TemporaryDirectory() as place:
        before, after = f"{place}/before", f"{place}/after"
        shared = ("unshare", "--mount", "--propagation", "shared", "sh", "-c", same, "sh")
        subprocess.run(
            [*shared, before, PROGRAM, after], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            check=True, timeout=60,
        )  # fmt: skip
        with open(before) as one, open(after) as other:
            assert one.read() == other.read()


@pytest.mark.root
def test_nobody_is_told_what_needs_root():
    found = Visit(*NOBODY)

    assert LIMITED == found.state("caller")
    assert found.code == (0 if found.state("namespaces") == OK else 1)
    assert LIMITED == found.state("id-maps")
    assert "65534" in found.document["host"]
    expected = ("usermod", "apt-get")
    assert found.checks["id-maps"]["command"].startswith(expected)


@pytest.mark.root
def test_root_of_a_user_namespace_is_told_apart_from_root():
    found = Visit("unshare", "--user", "--map-root-user")

    assert "root, in a user namespace" == found.checks["caller"]["found"]
    assert LIMITED == found.state("idmapped-mounts")
    assert (
        LIMITED == found.state("cap-sys-resource")
        or "raised" in (found.checks["cap-sys-resource"]["found"])
    )


@pytest.mark.root
def test_root_without_sys_admin_needs_a_user_namespace():
    found = Visit("setpriv", "--bounding-set=-sys_admin")

    assert LIMITED == found.state("caller")
    assert "without CAP_SYS_ADMIN" in found.checks["caller"]["found"]
    assert LIMITED == found.state("overlay")
    assert "in a user namespace" in found.checks["namespaces"]["found"]


# The limit is that of the user namespace that unshare makes: it ends with it.
NO_USER_NAMESPACES = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


@pytest.mark.root
def test_forbidden_user_namespaces_are_missing_with_the_sysctl_that_allows_them():
    found = Visit("unshare", "--user", "--map-root-user", "sh", "-c", NO_USER_NAMESPACES, "sh")

    assert MISSING == found.state("user-namespaces")
    assert (
        "sysctl -w user.max_user_namespaces=10000" == (found.checks["user-namespaces"]["command"])
    )
    assert (0, OK) == (found.code, found.state("namespaces"))


@pytest.mark.root
def test_without_sys_admin_and_user_namespaces_nothing_can_run():
    found = Visit(
        "unshare", "--user", "--map-root-user", "sh", "-c", NO_USER_NAMESPACES, "sh",
        "setpriv", "--bounding-set=-sys_admin",
    )  # fmt: skip

    assert (1, False) == (found.code, found.document["can_run"])
    assert MISSING == found.state("namespaces")
    assert found.checks["namespaces"]["command"].startswith("sysctl")


@pytest.mark.parametrize("name", ["clone3", "mount_setattr"])
def test_a_system_call_that_is_missing_is_named(name):
    try:
        refusing = compiler.program_of(profile(rule(name, errno_ret=errno.ENOSYS)))
    except HostError:
        pytest.skip("no libseccomp binding: apt-get install python3-seccomp")

    def refuse():
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        kernel_filter.install_filter(refusing, 0)

    found = Visit(preexec_fn=refuse)

    assert (1, MISSING) == (found.code, found.state("syscalls"))
    assert f"ENOSYS: {name}" == found.checks["syscalls"]["found"]
