"""What is thrown at the runtime: config.json, process.json, resources.json.

Everything is made of a document that works, which is then spoilt: so it reaches far. Texts hold
placeholders, @ID@ and @BUNDLE@, so that a finding can be written down as an example.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from integration.bundle import base_config
from integration.fuzz.documents import (
    process_document,
    resources_document,
    rich_config,
    text_of,
    user_config,
)
from integration.fuzz.values import ID, value_for
from tests.strategies import places

if TYPE_CHECKING:
    from collections.abc import Callable

# Keys whose odd values would reach the machine outside of bundle and session.
SPARED = {"netDevices"}
HOOK_PATHS = {"/bin/true", "/bin/false", "/nosuch", "/etc/passwd", "/", "x", "/a\nb", ""}
ROOT_PATHS = {
    "rootfs",
    "",
    ".",
    "..",
    "nosuch",
    "config.json",
    "loop",
    "rootfs/../rootfs",
    "rootfs/etc",
}


@st.composite
def spoilt(draw: Any, make: st.SearchStrategy[Callable[[], Any]], most: int = 3) -> Any:
    """Draw a document that works with up to `most` places replaced, removed or added to."""
    document = draw(make)()
    for _ in range(draw(st.integers(0, most))):
        found = [place for place in places(document) if place[1] not in SPARED]
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat"]))
        if kind == "replace":
            # What is sampled is one object each time, and may be spoilt later.
            container[key] = copy.deepcopy(draw(value_for(key)))
        elif kind == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[f"{key}x"] = copy.deepcopy(container[key])
    return harmless(document)


def harmless(document: Any) -> Any:
    """Return the document without what would reach the machine: this session is privileged."""
    root = document.get("root") if isinstance(document, dict) else None
    if (
        isinstance(root, dict)
        and isinstance(root.get("path"), str)
        and root["path"] not in ROOT_PATHS
    ):
        root["path"] = "nosuch"
    found = document.get("hooks") if isinstance(document, dict) else None
    for entries in found.values() if isinstance(found, dict) else ():
        for hook in entries if isinstance(entries, list) else ():
            if isinstance(hook, dict) and isinstance(hook.get("path"), str):
                hook["path"] = hook["path"] if hook["path"] in HOOK_PATHS else "/nosuch"
    linux = document.get("linux") if isinstance(document, dict) else None
    path = linux.get("cgroupsPath") if isinstance(linux, dict) else None
    if isinstance(path, str) and path.strip("/.") and ID not in path:
        linux["cgroupsPath"] = f"/{ID}{path}"
    return document


@st.composite
def texts(draw: Any, make: st.SearchStrategy[Callable[[], Any]]) -> bytes:
    """Draw the bytes of a file: mostly a spoilt document, at times text that is hardly JSON."""
    text = text_of(draw(spoilt(make)))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        at = draw(st.integers(0, len(text)))
        odd = st.sampled_from(
            [b"\xff", b"\0", b"\n", b"{", b"]", b'"', b"\xef\xbb\xbf", b",", b"\x1b"]
        )
        return text[:at] + draw(odd) + text[at + draw(st.integers(0, 2)) :]
    if kind == 1:
        return text.replace(b'": ', b'": null, "x": ', draw(st.integers(1, 3)))
    if kind == 2:
        deep = draw(st.sampled_from([10, 400, 990, 5000]))
        return b'{"x": ' + b"[" * deep + b"]" * deep + b", " + text[1:]
    return text


configs = texts(st.sampled_from([rich_config, rich_config, user_config, base_config]))
processes = texts(st.just(process_document))
resources = texts(st.just(resources_document))
