"""The store: made whole, removed whole, and held by locks that a kill lets go."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.store import Store, put_in_place, remove_tree, write_whole


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"))


def test_a_store_is_made_for_its_owner_alone(store):
    assert os.stat(store.path).st_mode & 0o777 == 0o700


def test_a_store_of_another_version_is_refused(store):
    write_whole(store.place("version"), b"7\n")

    with pytest.raises(InputError, match="version '7'"):
        Store.open(store.path)


def test_a_workplace_is_gone_at_the_end(store):
    with store.workplace("pull") as place:
        os.makedirs(f"{place}/a/b")

    assert os.listdir(store.place("work")) == []


def test_a_workplace_in_use_is_not_swept(store):
    with store.workplace("pull") as place:
        assert store.sweep() == []
        assert os.path.isdir(place)


def test_what_a_killed_process_left_is_swept(store):
    program = (
        "import os,signal,sys\n"
        "from aisbx_runtime.sandbox.store import Store\n"
        "with Store.open(sys.argv[1]).workplace('pull') as place:\n"
        "    os.mkdir(place + '/half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, store.path], check=False)
    (left,) = os.listdir(store.place("work"))

    assert [left] == store.sweep()
    assert os.listdir(store.place("work")) == []


def test_whoever_makes_the_same_is_waited_for(store):
    waited: list[str] = []
    program = (
        "import sys\n"
        "from aisbx_runtime.sandbox.store import Store\n"
        "with Store.open(sys.argv[1]).making('image'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, store.path]
    with subprocess.Popen(words, stdin=-1, stdout=-1) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        let_go = other.stdin.close
        with store.making("image", lambda: (waited.append("yes"), let_go())):
            pass

    assert waited == ["yes"]


def test_the_second_of_two_equal_things_is_told(store):
    for _ in range(2):
        os.makedirs(store.place("work/new"))
        write_whole(store.place("work/new/file"), b"")
        try:
            put_in_place(store.place("work/new"), store.place("rootfs/key"))
            told = False
        except FileExistsError:
            told = True

    assert told


def test_removing_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")

    remove_tree(str(tmp_path / "gone"))

    assert (tmp_path / "kept/file").exists()
    assert not (tmp_path / "gone").exists()


def test_a_deep_tree_is_removed(tmp_path):
    (tmp_path / "gone").mkdir()
    fd = os.open(tmp_path / "gone", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)

    remove_tree(str(tmp_path / "gone"))

    assert not (tmp_path / "gone").exists()


def test_a_directory_without_permissions_is_removed(tmp_path):
    (tmp_path / "gone/a/b").mkdir(parents=True)
    (tmp_path / "gone/a").chmod(0)

    remove_tree(str(tmp_path / "gone"))

    assert not (tmp_path / "gone").exists()
