"""The process that `exec` starts: from a file, or from flags on top of config.json's."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import Failure, SpecError, UsageError
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.lifecycle import exec_process
from aisbx_runtime.oci.plan.process import KEEP_GROUPS
from aisbx_runtime.oci.spec.model import Capabilities, Process, Root, Spec, User

BASE = Process(
    ("sh",),
    "/work",
    env=("PATH=/bin",),
    terminal=True,
    console_size=(24, 80),
    user=User(5, 6, 0o77, (7,)),
    capabilities=Capabilities(("CAP_KILL",), ("CAP_KILL",), ("CAP_KILL",), (), ()),
    no_new_privileges=True,
)
SPEC = Spec("1.2.1", Root("r"), process=BASE)


def values(*words):
    return parse(list(words), cli.COMMANDS["exec"].flags, interspersed=False)


def process_of(*words, spec=SPEC) -> Process:
    return exec_process.process_of(values(*words), spec)


def test_without_flags_it_is_the_containers_process_with_other_arguments():
    expected = {**vars(BASE), "args": ("ls", "-l"), "terminal": False, "console_size": None}

    assert Process(**expected) == process_of("c", "ls", "-l")


def test_labels_are_the_containers_unless_others_are_named():
    labelled = Process(**{**vars(BASE), "apparmor_profile": "a", "selinux_label": "s"})
    spec = Spec("1.2.1", Root("r"), process=labelled)
    named = process_of("--apparmor", "b", "--process-label=t", "c", "ls", spec=spec)
    kept = process_of("c", "ls", spec=spec)

    assert ("a", "s") == (kept.apparmor_profile, kept.selinux_label)
    assert ("b", "t") == (named.apparmor_profile, named.selinux_label)


@pytest.mark.parametrize(
    ("flags", "user"),
    [
        (("--user", "0"), User(0, 6, 0o77, (7,))),
        (("-u", "1000:1001"), User(1000, 1001, 0o77, (7,))),
        (("--user=4294967294:0",), User(2**32 - 2, 0, 0o77, (7,))),
        (("-g", "8", "--additional-gids=9"), User(5, 6, 0o77, (7, 8, 9))),
    ],
)
def test_the_user_is_what_the_flags_say(flags, user):
    assert user == process_of(*flags, "c", "id").user


@pytest.mark.parametrize(
    "text",
    ["root", "-1", "", ":", "1:", "1:x", "4294967295", "01", "1 ", " 1", "\u0661", "0x1", "1:2:3",
     "99999999999999999999"],
)  # fmt: skip
def test_what_is_no_id_is_refused_and_never_0(text):
    # CVE-2026-30892
    if text == "":
        # As a flag that is not given: the user of config.json.
        assert BASE.user == process_of(f"--user={text}", "c", "id").user
        return
    with pytest.raises(UsageError):
        process_of(f"--user={text}", "c", "id")


@given(st.text())
def test_any_user_is_two_numbers_or_a_usage_error(text):
    try:
        user = process_of(f"--user={text}", "c", "id").user
    except UsageError:
        return

    assert text in {f"{user.uid}", f"{user.uid}:{user.gid}", ""}


def test_capabilities_are_added_and_never_inheritable():
    # CVE-2022-29162
    sets = process_of("--cap", "chown", "-c", "CAP_SYSLOG", "c", "id").capabilities
    names = ("CAP_KILL", "CAP_CHOWN", "CAP_SYSLOG")

    assert Capabilities(names, names, names, (), ()) == sets


def test_capabilities_are_added_to_none():
    base = Spec("1.2.1", Root("r"), process=Process(("sh",), "/"))

    assert process_of("c", "id", spec=base).capabilities is None
    assert ("CAP_KILL",) == process_of("--cap=KILL", "c", "id", spec=base).capabilities.bounding


def test_environment_and_directory_are_on_top():
    made = process_of("-e", "A=1", "--env=B=", "--cwd", "/tmp", "-t", "c", "id")

    assert (("PATH=/bin", "A=1", "B="), "/tmp", True) == (made.env, made.cwd, made.terminal)


@pytest.mark.parametrize("entry", ["A", "=x", ""])
def test_an_environment_without_a_name_is_refused(entry):
    with pytest.raises(UsageError, match="NAME=VALUE"):
        process_of(f"--env={entry}", "c", "id")


def test_a_relative_directory_is_refused():
    with pytest.raises(UsageError, match="absolute"):
        process_of("--cwd", "tmp", "c", "id")


@pytest.mark.parametrize("base", [True, False])
def test_privileges_can_be_given_up_and_not_taken_back(base):
    spec = Spec("1.2.1", Root("r"), process=Process(("sh",), "/", no_new_privileges=base))

    assert base is process_of("c", "id", spec=spec).no_new_privileges
    assert process_of("--no-new-privs", "c", "id", spec=spec).no_new_privileges
    assert base is process_of("--no-new-privs=false", "c", "id", spec=spec).no_new_privileges


def test_without_a_command_there_is_nothing_to_start():
    with pytest.raises(UsageError, match="no command"):
        process_of("c")


def test_a_container_without_a_process_has_nothing_to_start_from():
    with pytest.raises(SpecError, match="process: missing"):
        process_of("c", "id", spec=Spec("1.2.1", Root("r")))


# ---- from a file ---------------------------------------------------------------------------------
@pytest.fixture
def file(tmp_path):
    def write(**fields):
        path = tmp_path / "process.json"
        path.write_text(json.dumps({"args": ["id"], "cwd": "/", **fields}))
        return f"{path}"

    return write


def test_a_file_says_everything_and_nothing_is_taken_from_the_container(file):
    # CVE-2025-27612: no capabilities in the file are no capabilities.
    assert Process(("id",), "/") == process_of("--process", file(), "c")


@pytest.mark.parametrize(("flags", "terminal"), [((), True), (("--tty",), True)])
def test_a_terminal_is_asked_for_by_the_file_or_by_flag(file, flags, terminal):
    path = file(terminal=not flags)

    assert terminal is process_of(*flags, "-p", path, "c").terminal


def test_a_file_that_is_wrong_is_told_by_its_name(file):
    with pytest.raises(SpecError) as caught:
        process_of("--process", file(args=[]), "c")

    assert caught.value.where.startswith("process.json")


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(SpecError) as caught:
        process_of("--process", "/no/such", "c")

    assert ("cannot read process.json", "ENOENT") == (caught.value.what, caught.value.why)


# ---- groups --------------------------------------------------------------------------------------
def test_groups_are_set_where_the_kernel_allows_it():
    own = os.getpid()

    assert exec_process.sets_groups(SPEC, BASE, own)


def test_groups_are_the_callers_where_they_are_to_be_kept():
    spec = Spec("1.2.1", Root("r"), process=BASE, annotations={KEEP_GROUPS: "1"})

    assert exec_process.sets_groups(spec, BASE, os.getpid()) is False


def test_groups_that_cannot_be_set_are_refused(monkeypatch):
    monkeypatch.setattr(exec_process, "read_text", lambda _: "deny\n")
    without = Process(("id",), "/")

    assert exec_process.sets_groups(SPEC, without, 1) is False
    with pytest.raises(Failure, match="additionalGids"):
        exec_process.sets_groups(SPEC, BASE, 1)
