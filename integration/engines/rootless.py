"""podman of a plain user."""

from __future__ import annotations

import os

import pytest

from integration import host
from integration.engines.podman import IMAGE, Podman
from integration.runtime import PATH

STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{top}/graph"
runroot = "{run}/containers"
"""


def podman_of(uid: int, program: str, scratch: str, image_tar: str) -> Podman:
    """Import the image as the user; skip where the host does not let a user map ids."""
    reason = host.lacks_program("podman", "conmon", "newuidmap", "newgidmap", "setpriv")
    if reason:
        pytest.skip(reason)
    top, run = f"{scratch}/person", f"/run/user/{uid}"
    for path in (f"{top}/.config/containers", run):
        os.makedirs(path, exist_ok=True)
    with open(f"{top}/.config/containers/storage.conf", "w") as out:
        out.write(STORAGE.format(top=top, run=run))
    for parent, _, names in os.walk(top):
        for path in (parent, *(f"{parent}/{name}" for name in names)):
            os.chown(path, uid, uid)
    os.chown(run, uid, uid)
    os.chmod(run, 0o700)
    os.chmod(image_tar, 0o644)
    environment = {"PATH": PATH, "HOME": top, "XDG_RUNTIME_DIR": run, "TMPDIR": top, "LANG": "C"}
    words = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    made = Podman(program, environment, words)
    imported = made("import", image_tar, IMAGE)
    if imported.code:
        pytest.skip(f"a plain user cannot map ids here: {imported.err.strip()[-200:]}")
    return made
