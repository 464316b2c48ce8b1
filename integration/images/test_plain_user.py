"""A plain user pulls and unpacks: umoci --rootless, files are his own, devices are none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.unpack import rootfs
from aisbx_runtime.sandbox.store import Store
from integration.images import hostile_kinds, hostile_paths, hostile_views
from integration.images.hostile import CASES
from integration.images.making import Image, directory, file, header, sound, symlink
from integration.images.seen import Steps, tree

pytestmark = pytest.mark.skipif("host.lacks_ids(65534)", reason="no other user can be had here")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
USER = 65534
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from aisbx_runtime.sandbox.errors import SandboxError
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images import gc, look
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.store import Store

store = Store.open(sys.argv[2])
if sys.argv[1] == "pull":
    try:
        print(rootfs_of(store, sys.argv[3], Silence()).key)
    except SandboxError as error:
        sys.exit(str(error))
else:
    look.forget(store, sys.argv[3])
    gc.collect(store, Silence())
"""


@pytest.fixture
def home(ground):
    """A place of the plain user."""
    os.mkdir(f"{ground}/home")
    os.chown(f"{ground}/home", USER, USER)
    return f"{ground}/home"


def as_user(home: str, *words: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(root=ROOT)
    return subprocess.run(
        ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--",
         sys.executable, "-c", script, *words],
        env={"PATH": os.environ["PATH"], "HOME": home},
        cwd=home,
        check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_plain_user_has_a_rootfs_of_his_own(ground, home):
    image = Image(
        f"{ground}/image",
        sound(
            file("others", b"1", uid=1000, gid=1000)
            + directory("shut", mode=0)
            + file("su", b"1", mode=0o4755)
            + symlink("l", "/etc/passwd")
        ),
    )
    done = as_user(home, "pull", f"{home}/store", image.reference)

    assert 0 == done.returncode, done.stderr
    assert done.stdout == f"{image.digest.removeprefix('sha256:')}-v1-rootless\n"
    found = tree(f"{home}/store/rootfs/{done.stdout.strip()}/rootfs")
    assert {"others", "shut", "su", "l", "etc", "etc/passwd", "hello"} == set(found)
    assert {f"{USER}:{USER}"} == {text.split()[1] for text in found.values()}
    assert "40000" == found["shut"].split()[0]


def test_what_a_plain_user_has_pulled_he_can_remove(ground, home):
    image = Image(f"{ground}/image", sound(directory("shut", mode=0) + file("shut/x", b"1")))
    as_user(home, "pull", f"{home}/store", image.reference)
    done = as_user(home, "remove", f"{home}/store", image.reference)

    assert 0 == done.returncode, done.stderr
    assert [] == os.listdir(f"{home}/store/rootfs")
    assert [] == os.listdir(f"{home}/store/layout/blobs/sha256")


def test_devices_are_none_for_a_plain_user(ground, home):
    image = Image(f"{ground}/image", sound(header("null", b"3", device=(1, 3), mode=0o666)))
    done = as_user(home, "pull", f"{home}/store", image.reference)

    assert 0 == done.returncode, done.stderr
    found = tree(f"{home}/store/rootfs/{done.stdout.strip()}/rootfs")
    assert "100" == found["null"][:3]


def test_a_store_of_root_is_out_of_his_reach(ground, home, store):
    image = Image(f"{ground}/image", sound())
    done = as_user(home, "pull", store.path, image.reference)

    assert 1 == done.returncode
    assert "EACCES" in done.stderr


SOURCES = (hostile_kinds, hostile_paths, hostile_views)
HOSTILE = [case for case in CASES if case.refused][:: len(SOURCES) * 4]


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_what_is_refused_is_refused_for_him_as_well(case, ground, home):
    image = Image(f"{ground}/image", *case.layers(home.encode()))
    done = as_user(home, "pull", f"{home}/store", image.reference)

    assert 1 == done.returncode
    assert case.refused in done.stderr
    assert [] == os.listdir(f"{home}/store/rootfs")


def test_root_and_a_plain_user_do_not_share(ground, home, store):
    image = Image(f"{ground}/image", sound())
    made = rootfs_of(store, image.reference, Steps())
    done = as_user(home, "pull", f"{home}/store", image.reference)

    assert made.key + "-rootless" == done.stdout.strip()
    assert made.digest == rootfs(Store.open(f"{home}/store"), done.stdout.strip()).digest
