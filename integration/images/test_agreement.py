"""What was checked is what umoci makes: layers that the rules let through, drawn by the dozen.

The view that the check builds in memory, and the rootfs that umoci makes of the same layers, have
the same paths and kinds. Else the rules would be held against something that never was.
"""

from __future__ import annotations

import io
import os
import stat
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.members import Stream, members
from aisbx_runtime.sandbox.images.view import Node, View
from integration.images.making import Image, directory, file, hardlink, header, layer, symlink

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character",
}
PATHS = st.sampled_from(
    ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "/b", "./a", "d//a", "e/f/g", "a/b", "b/a"]
)
WHITEOUTS = st.sampled_from(
    [".wh.a", ".wh.b", ".wh.d", "d/.wh.a", "d/.wh.e", "d/e/.wh.a", ".wh..wh..opq", "d/.wh..wh..opq"]
)
TARGETS = st.sampled_from(["a", "/b", "d/a", "..", "../../x", "/", "d", "nothing"])
MEMBERS = st.one_of(
    PATHS.map(lambda path: file(path, b"1")),
    PATHS.map(directory),
    PATHS.map(lambda path: header(path, b"6")),
    PATHS.map(lambda path: header(path, b"3", device=(1, 3))),
    st.tuples(PATHS, TARGETS).map(lambda pair: symlink(*pair)),
    st.tuples(PATHS, TARGETS).map(lambda pair: hardlink(*pair)),
    WHITEOUTS.map(file),
)


def viewed(layers: list[list[bytes]]) -> View:
    view = View()
    for blocks in layers:
        view.begin("here")
        content = io.BytesIO(layer(*blocks))
        for member in members(Stream(lambda content=content: content.read(4096), len), "here"):
            view.add(member)
    return view


def allowed(drawn: list[list[bytes]]) -> list[list[bytes]]:
    """Leave out the members that the rules refuse."""
    kept: list[list[bytes]] = []
    for blocks in drawn:
        kept.append([])
        for block in blocks:
            try:
                viewed([*kept[:-1], [*kept[-1], block]])
            except InputError:
                continue
            kept[-1].append(block)
    return kept


def of_view(node: Node, path: str = "") -> dict[str, str]:
    found = {}
    for name, child in node.children.items():
        inner = os.path.join(path, name.decode())
        if child.kind != "whiteout":
            found[inner] = child.kind
            found |= of_view(child, inner)
    return found


def of_disk(root: str) -> dict[str, str]:
    found = {}
    for parent, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            found[os.path.relpath(path, root)] = KINDS[stat.S_IFMT(os.lstat(path).st_mode)]
    return found


@pytest.fixture(scope="module")
def places(scratch):
    """Yield a function that returns a new place each time."""
    top = f"{scratch}/agreement"
    os.mkdir(top)
    made = iter(range(1 << 20))
    return lambda: f"{top}/{next(made)}"


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(drawn=st.lists(st.lists(MEMBERS, max_size=6), min_size=1, max_size=3))
def test_the_view_is_what_umoci_makes(places, drawn):
    layers = allowed(drawn)
    place = places()
    os.makedirs(f"{place}/around")
    image = Image(f"{place}/image", *[layer(*blocks) for blocks in layers])
    done = subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{image.path}:x", f"{place}/around/rootfs"],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert 0 == done.returncode, done.stderr
    assert of_view(viewed(layers).root) == of_disk(f"{place}/around/rootfs")
    assert ["rootfs"] == os.listdir(f"{place}/around")
