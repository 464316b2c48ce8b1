"""The programs of the comparison, compiled where they are needed, and what is compared."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration import host
from integration.differential.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = __file__.rpartition("/")[0]


def compiled(scratch: str, name: str, *flags: str) -> str:
    path = f"{scratch}/{name}"
    argv = ["cc", "-O1", "-Wall", "-Wextra", *flags, "-o", path, f"{HERE}/{name}.c"]
    subprocess.run(argv, check=True)
    return path


@pytest.fixture(scope="session")
def comparison(scratch: str, program: str) -> Iterator[Comparison]:
    reason = host.lacks_program("cc", "busybox", "runc", "crun", "nsenter")
    if reason:
        pytest.skip(reason)
    top = f"{scratch}/compared"
    os.mkdir(top)
    host.mount("tmpfs", top, "tmpfs", data="mode=0755")
    probe = compiled(top, "probe", "-static")
    library = compiled(top, "memlock", "-shared", "-fPIC")
    busybox = shutil.copy(shutil.which("busybox") or "", f"{top}/busybox")
    made = Comparison(top, probe, library, busybox, program)
    yield made
    made.close()
    host.umount(top)
