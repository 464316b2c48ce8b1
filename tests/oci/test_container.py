"""A container on disk: ids, facts, journal, lock."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.container import Facts
from aisbx_runtime.oci.errors import Failure, StateError, UsageError
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWUSER, unshare
from aisbx_runtime.oci.kernel.process import PR_SET_DUMPABLE, prctl
from tests.oci.forked import forked


@pytest.fixture
def root(tmp_path):
    return f"{tmp_path}/root"


@pytest.fixture
def container(root):
    made = containers.reserve(root, "one")
    yield made
    made.close()


# ---- ids -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["a", "0", "_", "a.b", "A_+-.", "-x", "x" * 255])
def test_a_plain_name_is_an_id(name):
    containers.check_id(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".cache", "a/b", "/", "../x", "a b", "a\n", "\u00e9", "a\0", "x" * 256]
)
def test_anything_else_is_refused(name):
    with pytest.raises(UsageError, match="invalid container id"):
        containers.check_id(name)


@given(st.text())
def test_what_is_accepted_is_one_name_of_a_directory(name):
    try:
        containers.check_id(name)
    except UsageError:
        return

    assert name == os.path.basename(name)
    assert name.isascii()
    assert not name.startswith(".")


# ---- the root ------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_container_that_others_may_write_is_not_believed(mode, root, container):
    os.chmod(f"{root}/one", mode)

    with pytest.raises(Failure, match="may be written by others"):
        containers.load(root, "one")
    assert [] == list(containers.every(root))
    os.chmod(f"{root}/one", 0o700)


@pytest.mark.root
def test_a_container_of_somebody_else_is_not_believed(root, container):
    os.chown(f"{root}/one", 1234, -1)

    with pytest.raises(Failure, match="may be written by others"):
        containers.load(root, "one")


def test_the_root_that_is_named_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert f"{tmp_path}/x" == containers.root_directory("x")


@pytest.mark.root
@pytest.mark.parametrize("value", [None, "", "/run/user/0"])
def test_root_has_one_place_whatever_its_environment_says(monkeypatch, value):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)

    assert "/run/aisbx" == containers.root_directory(None)


@pytest.mark.root
@pytest.mark.parametrize(
    ("value", "path"), [("/run/user/7", "/run/user/7/aisbx"), ("", "/tmp/aisbx-7")]
)
@forked
def test_a_plain_user_has_a_place_of_its_own(value, path):
    os.environ["XDG_RUNTIME_DIR"] = value
    os.setresuid(7, 7, 7)

    assert path == containers.root_directory("")


@pytest.mark.root
@forked
def test_root_of_a_user_namespace_has_the_place_of_who_it_is_outside():
    # Every user may be root of one: /tmp/aisbx-0 would be whose it is first.
    os.environ["XDG_RUNTIME_DIR"] = ""
    os.setresuid(7, 7, 7)
    prctl(PR_SET_DUMPABLE, 1)  # proc(5): else /proc/self stays root's
    unshare(CLONE_NEWUSER)
    with open("/proc/self/uid_map", "w") as file:
        file.write("0 7 1")

    assert 0 == os.geteuid()
    assert "/tmp/aisbx-7" == containers.root_directory("")


def test_a_root_that_others_may_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(Failure, match="may be written by others"):
        containers.reserve(f"{tmp_path}", "one")


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Failure) as caught:
        containers.reserve(f"{tmp_path}/file/below", "one")

    assert ("ENOTDIR", True) == (caught.value.why, f"{tmp_path}/file/below" in caught.value.what)


# ---- reserving and loading -----------------------------------------------------------------------
def test_a_new_container_is_private_and_locked(root, container):
    assert 0o700 == os.stat(f"{root}/one").st_mode & 0o777
    assert containers.load(root, "one").is_locked()


def test_an_id_is_taken_once(root, container):
    with pytest.raises(StateError, match="container with given ID already exists: one"):
        containers.reserve(root, "one")


def test_a_container_that_is_not_there_does_not_exist(root):
    with pytest.raises(StateError, match="container does not exist: one"):
        containers.load(root, "one")


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_no_directory_is_no_container(root, kind, container):
    if kind == "file":
        with open(f"{root}/two", "w"):
            pass
    else:
        os.symlink(f"{root}/one", f"{root}/two")
    with pytest.raises(StateError, match="does not exist"):
        containers.load(root, "two")

    assert ["one"] == [one.id for one in containers.every(root)]


def test_all_are_listed_by_id_without_what_is_hidden(root, container):
    os.mkdir(f"{root}/.cache")
    os.mkdir(f"{root}/another")

    assert ["another", "one"] == [one.id for one in containers.every(root)]
    assert [] == list(containers.every(f"{root}/none"))


def test_many_containers_are_listed_with_few_descriptors(root):
    names = [f"c{number:03}" for number in range(100)]
    for name in names:
        containers.reserve(root, name).close()
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, old[1]))
    try:
        assert names == [one.id for one in containers.every(root)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


def test_a_container_deleted_meanwhile_cannot_be_locked(root, container):
    other = containers.load(root, "one")
    container.remove()
    container.unlock()
    with pytest.raises(StateError, match="container does not exist"):
        other.lock()


def test_the_holder_of_a_lock_keeps_it_while_it_asks_for_the_status(root, container):
    # status_of asks whether somebody is creating; delete has the lock at that moment.
    assert containers.STOPPED == containers.status_of(container, Facts({}))
    assert containers.load(root, "one").is_locked()


def test_a_lock_ends_with_unlock(root, container):
    container.unlock()

    assert containers.load(root, "one").is_locked() is False


def test_a_container_is_removed_with_its_files(root, container):
    container.replace("config.json", b"{}")
    container.own("cgroup", "/x")
    container.remove()

    assert [] == os.listdir(root)


def test_something_foreign_in_it_is_not_removed(root, container):
    os.mkdir(f"{root}/one/foreign")
    with pytest.raises(OSError, match="foreign"):
        container.remove()


# ---- facts and journal ---------------------------------------------------------------------------
def test_a_file_is_replaced_whole(container):
    container.replace("config.json", b"a" * 3_000_000)
    container.replace("config.json", b"short")

    assert b"short" == container.read("config.json")
    assert ["config.json"] == os.listdir(container.path)
    assert 0o600 == os.stat(f"{container.path}/config.json").st_mode & 0o777


def test_a_link_in_the_place_of_a_file_is_not_followed(container, tmp_path):
    os.symlink(f"{tmp_path}/victim", f"{container.path}/config.json.new")
    with pytest.raises(OSError, match=r"ELOOP|symbolic"):
        container.replace("config.json", b"x")

    assert not os.path.exists(f"{tmp_path}/victim")


def test_facts_read_back(container):
    container.save(Facts({"pid": 7, "unknown": [1]}).with_fields(pid=8))

    assert {"pid": 8, "unknown": [1]} == container.facts().fields


def test_facts_of_the_wrong_kind_count_as_absent():
    facts = Facts({"text": 1, "number": "1", "texts": "x", "flag": 1, "mapping": []})

    assert ("", 0, [], False, {}) == (
        facts.text("text"),
        facts.number("number"),
        facts.texts("texts"),
        facts.flag("flag"),
        facts.mapping("mapping"),
    )
    assert ("", 0, [], False, {}) == (
        facts.text("no"),
        facts.number("no"),
        facts.texts("no"),
        facts.flag("no"),
        facts.mapping("no"),
    )


def test_a_container_without_facts_yet_is_empty(container):
    assert {} == container.facts().fields


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_damaged_facts_are_told_with_the_way_out(container, content):
    container.replace("facts.json", content)
    with pytest.raises(StateError) as caught:
        container.facts()

    assert f"{container.path}/facts.json" == caught.value.where
    assert "delete --force" in caught.value.hint


def test_facts_that_are_no_object_are_empty(container):
    container.replace("facts.json", b"[1]")

    assert {} == container.facts().fields


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\r", "\x1c", "\x85", "\u2028", "\udcff", " "])
def test_the_journal_keeps_every_name_that_a_cgroup_can_have(container, odd):
    container.own("cgroup", f"/sys/fs/cgroup/a{odd}b")
    container.own("other", "/x")
    container.own("cgroup", "/sys/fs/cgroup/c")

    assert [f"/sys/fs/cgroup/a{odd}b", "/sys/fs/cgroup/c"] == container.owned("cgroup")


def test_nothing_was_made_when_nothing_was_noted(container):
    assert [] == container.owned("cgroup")


def test_locks_are_those_of_flock(root, container):
    other = containers.load(root, "one")
    with pytest.raises(BlockingIOError):
        fcntl.flock(other.dir_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other.close()


@pytest.mark.parametrize("name", ["state.json", "exec.fifo", "status"])
def test_a_state_of_another_runtime_is_not_taken_for_an_empty_one(container, name):
    with open(f"{container.path}/{name}", "w") as file:
        file.write("{}")

    with pytest.raises(StateError) as caught:
        container.facts()

    assert caught.value.where == container.path
