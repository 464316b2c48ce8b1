"""The container's terminal, of its own devpts."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.plan import mounts, terminal
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.plan.terminal import OpenTerminal
from aisbx_runtime.oci.spec.model import Mount, Process, User
from tests.oci.forked import forked
from tests.oci.world import apply, world

root = pytest.mark.root
DEVPTS = ("newinstance", "ptmxmode=0666", "mode=0620")


def step(*, size=None, console=True, uid=0) -> OpenTerminal:
    asked = Process(("sh",), "/", terminal=True, console_size=size, user=User(uid))
    (found,) = terminal.steps(asked, console=console)
    return found


def test_a_terminal_is_opened_for_who_asks_for_one():
    assert [] == terminal.steps(Process(("sh",), "/"), console=True)
    assert "process.terminal" == step().origin


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            step(size=(24, 80)),
            (
                "open a terminal of 24 rows and 80 columns, bind it at /dev/console, "
                "hand its master end to the caller"
            ),
        ),
        (step(console=False), "open a terminal, hand its master end to the caller"),
    ],
)
def test_what_is_opened_is_told(made, said):
    assert said == made.describe()


class TerminalWorld(World):
    sent: tuple[int, str] | None = None

    def send_terminal(self, master_fd, name):
        self.sent = (os.dup(master_fd), name)


def open_terminal(rootfs, **fields) -> TerminalWorld:
    entry = Mount("/dev/pts", "devpts", "devpts", DEVPTS)
    at = world(rootfs)
    apply(mounts.steps_of(0, entry, propagation=0), at)
    at.__class__ = TerminalWorld
    os.setsid()
    step(**fields).apply(at)
    return at


@root
@forked
def test_stdio_is_the_containers_terminal_and_the_session_has_it(tmp_path):
    at = open_terminal(tmp_path, size=(24, 80))
    master_fd, name = at.sent

    assert "/dev/pts/0" == name
    assert (80, 24) == os.get_terminal_size(1)
    assert {os.fstat(fd).st_rdev for fd in (0, 1, 2)} == {(tmp_path / "dev/pts/0").stat().st_rdev}
    os.write(1, b"hello")

    assert b"hello" == os.read(master_fd, 100)
    assert os.isatty(os.open("/dev/tty", os.O_RDWR))
    assert all(os.get_inheritable(fd) for fd in (0, 1, 2))


@root
@forked
def test_the_console_is_the_terminal(tmp_path):
    open_terminal(tmp_path)

    assert (tmp_path / "dev/console").stat().st_rdev == os.fstat(0).st_rdev


@root
@forked
def test_without_a_mount_namespace_there_is_no_console(tmp_path):
    open_terminal(tmp_path, console=False)

    assert not (tmp_path / "dev/console").exists()


@root
@forked
def test_the_terminal_belongs_to_the_user(tmp_path):
    open_terminal(tmp_path, uid=1000)

    assert 1000 == os.fstat(0).st_uid


@root
@forked
def test_a_ptmx_of_the_image_is_not_followed_out(tmp_path):
    # CVE-2025-52565: /dev/pts without a devpts on it, and a link to something else.
    (tmp_path / "dev/pts").mkdir(parents=True)
    (tmp_path / "dev/pts/ptmx").symlink_to("/proc/self/fd/0")
    at = world(tmp_path)
    with pytest.raises(KernelError) as caught:
        step().apply(at)

    assert errno.ENOENT == caught.value.errno
