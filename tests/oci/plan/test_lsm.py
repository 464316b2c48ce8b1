"""AppArmor and SELinux labels."""

from __future__ import annotations

import os
import stat

import pytest

from aisbx_runtime.oci.errors import SpecError, StepError
from aisbx_runtime.oci.plan import lsm
from aisbx_runtime.oci.plan.lsm import CheckLabel
from aisbx_runtime.oci.spec.model import Process
from tests.oci.forked import forked
from tests.oci.world import world

ENABLED = "/sys/kernel/security/lsm"


def lsm_is_enabled(name: str) -> bool:
    try:
        with open(ENABLED) as file:
            return name in file.read().split(",")
    except FileNotFoundError:
        return os.path.exists(f"/sys/module/{name}")


@pytest.mark.parametrize("profile", ["", "unconfined"])
def test_nothing_is_asked_of_an_unconfined_process(profile):
    assert [] == lsm.steps(Process(("true",), "/", apparmor_profile=profile))


@pytest.mark.parametrize(
    ("process", "step", "told"),
    [
        (Process(("true",), "/", apparmor_profile="p"),
         CheckLabel("apparmor", "p", "process.apparmorProfile"), "exec p"),
        (Process(("true",), "/", selinux_label="u:r:t:s0"),
         CheckLabel("selinux", "u:r:t:s0", "process.selinuxLabel"), "u:r:t:s0"),
        (Process(("true",), "/", apparmor_profile="unconfined", selinux_label="u:r:t:s0"),
         CheckLabel("selinux", "u:r:t:s0", "process.selinuxLabel"), "u:r:t:s0"),
    ],
)  # fmt: skip
def test_a_label_is_checked_and_told_to_the_stub(process, step, told):
    assert [step] == lsm.steps(process)
    assert told == lsm.words_for_kernel(process)
    assert f"check that {step.lsm} can confine the program with {step.label}" == step.describe()


def test_two_labels_are_refused():
    process = Process(("true",), "/", apparmor_profile="p", selinux_label="u:r:t:s0")
    with pytest.raises(SpecError, match="exclude each other"):
        lsm.steps(process)


@pytest.mark.root
@pytest.mark.parametrize("name", ["apparmor", "selinux"])
@forked
def test_a_label_that_cannot_be_had_is_an_error_and_never_ignored(name, tmp_path):
    if lsm_is_enabled(name):
        pytest.skip(f"{name} is enabled here")
    step = CheckLabel(name, "nosuch", "process.label")
    with pytest.raises((SpecError, StepError)) as caught:
        step.apply(world(tmp_path))

    if isinstance(caught.value, SpecError):
        assert f"process.label: {name} is not enabled on this host" == caught.value.what
    else:
        # proc_pid_attr(5): the file is there, and no LSM takes what is written.
        assert caught.value.why.startswith(
            tuple(f"write: {name} " for name in ("EINVAL", "EOPNOTSUPP", "EACCES", "EPERM"))
        )


@pytest.mark.root
@forked
def test_without_the_files_the_lsm_is_not_there(tmp_path):
    at = world(tmp_path)
    (tmp_path / "self").mkdir()
    at.proc_fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(SpecError) as caught:
        CheckLabel("apparmor", "x", "process.apparmorProfile").apply(at)

    assert "config.json" == caught.value.where
    assert "boot with this LSM" in caught.value.hint


@pytest.mark.root
@forked
def test_a_label_that_is_refused_is_told_with_a_remedy(tmp_path):
    (tmp_path / "self/attr").mkdir(parents=True)
    (tmp_path / "self/attr/current").symlink_to("full")
    os.mknod(tmp_path / "self/attr/full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    at = world(tmp_path)
    at.proc_fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(StepError) as caught:
        CheckLabel("apparmor", "tight", "process.apparmorProfile").apply(at)

    assert "apparmor cannot confine the program with tight" == caught.value.what
    assert "write: ENOSPC /proc/self/attr/current" == caught.value.why


@pytest.mark.root
@forked
@pytest.mark.parametrize(
    ("name", "file", "text"),
    [("apparmor", "apparmor/current", "permprofile x"), ("apparmor", "current", "permprofile x"),
     ("selinux", "exec", "\n")],
)  # fmt: skip
def test_what_is_asked_and_where(tmp_path, name, file, text):
    # A directory stands in for procfs: no machine of ours has both LSMs.
    path = tmp_path / "self/attr" / file
    path.parent.mkdir(parents=True)
    path.touch()
    at = world(tmp_path)
    at.proc_fd = os.open(tmp_path, os.O_PATH)
    CheckLabel(name, "x", "").apply(at)

    assert text == path.read_text()
