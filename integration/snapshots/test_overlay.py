"""restore(snapshot(x)) is x: on real overlays, compared from inside, whatever was done there."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisbx_runtime.sandbox.snapshots.restore import fill_upper
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.store import Store
from integration.snapshots.merged import mounted, view
from tests import strategies  # noqa: F401 - sets how many examples there are
from tests.sandbox.snapshots.box import KEY, Box

NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
NUMBERS = st.integers(0, 2**20)


def write(path, content):
    """Append; a fifo has no reader, and nothing leads out of the overlay."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o644), "wb", buffering=0) as file:
        file.write(content)


def remove(path):
    # Python 3.11's rmtree waits for the writer of a fifo.
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def replace_by_directory(path):
    """Have overlay mark a directory as opaque."""
    with contextlib.suppress(FileNotFoundError):
        remove(path)
    os.mkdir(path)


def sparse(path, size):
    write(path, b"x")
    os.truncate(path, size)


ACTIONS = st.one_of(
    st.tuples(st.just(write), PATHS, st.binary(max_size=9)),
    st.tuples(st.just(os.mkdir), PATHS),
    st.tuples(st.just(os.unlink), PATHS),
    st.tuples(st.just(os.rmdir), PATHS),
    st.tuples(st.just(remove), PATHS),
    st.tuples(st.just(replace_by_directory), PATHS),
    st.tuples(st.just(os.rename), PATHS, PATHS),
    st.tuples(st.just(os.link), PATHS, PATHS),
    st.tuples(st.just(os.symlink), NAMES, PATHS),
    st.tuples(st.just(os.mkfifo), PATHS),
    st.tuples(st.just(sparse), PATHS, NUMBERS),
    st.tuples(st.just(os.chmod), PATHS, st.integers(0, 0o7777)),
    st.tuples(st.just(os.lchown), PATHS, NUMBERS, NUMBERS),
    st.tuples(st.just(os.setxattr), PATHS, st.just("user.a"), st.binary(max_size=9)),
    st.tuples(st.just(os.setxattr), PATHS, st.just("user.overlay.opaque"), st.just(b"y")),
    st.tuples(st.just(os.setxattr), PATHS, st.just("trusted.overlay.opaque"), st.just(b"y")),
    st.tuples(st.just(os.mknod), PATHS, st.just(stat.S_IFBLK | 0o600), st.integers(1, 2**20)),
)
MOMENTS = st.integers(0, 2**33 * 10**9)


def act(top, actions, moment_ns):
    """Do to the merged directory what can be done; errors are part of the game."""
    os.chdir(top)
    try:
        for action, *arguments in actions:
            with contextlib.suppress(OSError, shutil.Error):
                action(*arguments)
        with contextlib.suppress(OSError):
            os.utime(b"a", ns=(moment_ns, moment_ns), follow_symlinks=False)
    finally:
        os.chdir("/")


def image(rootfs):
    """Fill the image: directories of three levels, files, links of both kinds."""
    for above in "", "a/", "b/", "a/b/":
        os.makedirs(f"{rootfs}/{above}", exist_ok=True)
        for name in "abc":
            place = f"{rootfs}/{above}{name}"
            if name == "c":
                write(place, place[-3:].encode())
            elif above != "a/b/":
                os.makedirs(place, exist_ok=True)
    os.symlink("b", f"{rootfs}/b/b/a")
    os.link(f"{rootfs}/c", f"{rootfs}/b/b/c")


def check(place, actions, moment_ns, more, *, userxattr):
    path = tempfile.mkdtemp(prefix="aisbx-snapshots-", dir=place)
    try:
        store = Store.open(f"{path}/store")
        rootfs = store.place("rootfs", KEY, "rootfs")
        os.makedirs(rootfs)
        image(rootfs)
        box = Box(store, "box", "user" if userxattr else "trusted")

        with mounted(rootfs, box.upper, userxattr=userxattr) as merged:
            act(merged, actions, moment_ns)
            taken = box.snapshot()
            before = view(merged)
            # What happens later is in no way part of it.
            act(merged, more, moment_ns)

        shelf = Shelf(store)
        again = f"{path}/again"
        os.mkdir(again)
        fill_upper(shelf, shelf.tree(taken.id), again, None, box.container.overlay)
        with mounted(rootfs, again, userxattr=userxattr) as merged:
            assert before == view(merged)
    finally:
        shutil.rmtree(path)


@pytest.mark.parametrize("userxattr", [False, True])
@settings(max_examples=100)
@given(st.lists(ACTIONS, max_size=25), MOMENTS, st.lists(ACTIONS, max_size=5))
def test_what_is_restored_is_what_was_there(scratch, userxattr, actions, moment_ns, more):
    check(scratch, actions, moment_ns, more, userxattr=userxattr)


@settings(max_examples=10)
@given(st.lists(ACTIONS, min_size=20, max_size=40), MOMENTS, st.just(()))
def test_a_disk_keeps_all_that_a_tmpfs_does(actions, moment_ns, more):
    check("/var/tmp", actions, moment_ns, more, userxattr=False)
