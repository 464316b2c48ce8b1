"""A store that holds images of Debian's busybox, filled by umoci and not by `image pull`.

The images share one rootfs of busybox and differ in their config.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.names import normalised
from aisbx_runtime.sandbox.images.pull import pull
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.store import Store
from integration.bundle import DIRECTORIES, Template

USERS = (
    "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1001:guest:/home:/bin/sh\n"
    "numbered:x:1002:1003::/:/bin/sh\n"
)
GROUP = "root:x:0:\ntty:x:5:\nguests:x:1001:\nstaff:x:50:guest\naudio:x:29:root,guest\n"


def fill_rootfs(rootfs: str, scratch: str) -> None:
    """Make a small Unix from busybox."""
    os.makedirs(scratch, exist_ok=True)
    os.makedirs(f"{rootfs}/bin", exist_ok=True)
    Template(scratch).fill(rootfs)
    for name in DIRECTORIES.split():
        os.chmod(f"{rootfs}/{name}", 0o1777 if name == "tmp" else 0o755)
    for name, text in (("passwd", USERS), ("group", GROUP)):
        with open(f"{rootfs}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)


class Images:
    """A store with images made here."""

    def __init__(self, path: str, scratch: str) -> None:
        self.store = Store.open(path)
        self.scratch = scratch
        self.number = 0

    def add(self, name: str, prepare=None, **config: object) -> str:
        """Put an image into the store, unpacked; return its normalised name.

        prepare: called with the rootfs before it is packed. config: fields of its `config`, as
        they are, hostile ones included.
        """
        self.number += 1
        work = f"{self.scratch}/{self.number}"
        os.makedirs(work)
        made = f"{work}/layout"
        umoci("init", "--layout", made)
        umoci("new", "--image", f"{made}:x")
        umoci("unpack", "--image", f"{made}:x", f"{work}/bundle")
        fill_rootfs(f"{work}/bundle/rootfs", f"{work}/busybox")
        if prepare is not None:
            prepare(f"{work}/bundle/rootfs")
        umoci("repack", "--image", f"{made}:x", f"{work}/bundle")
        set_config(made, config)
        normal = normalised(name)
        image = pull(self.store, f"oci:{made}:x", Silence())
        with layout.unnamed(self.store):
            layout.add_image(self.store, normal, image.digest, image.size)
        rootfs_of(self.store, name, Silence())
        layout.remove_name(self.store, f"oci:{made}:x")
        shutil.rmtree(work)
        return normal


def set_config(made: str, config: dict[str, object]) -> None:
    """Replace the config of the one image of a layout."""
    index = read_json(f"{made}/index.json")
    manifest = read_json(blob_path(made, index["manifests"][0]["digest"]))
    document = read_json(blob_path(made, manifest["config"]["digest"]))
    document["config"] = config
    manifest["config"] |= put_blob(made, document)
    index["manifests"][0] |= put_blob(made, manifest)
    with open(f"{made}/index.json", "w", encoding="utf-8") as file:
        json.dump(index, file)


def put_blob(made: str, document: object) -> dict[str, object]:
    content = json.dumps(document).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with open(blob_path(made, digest), "wb") as file:
        file.write(content)
    return {"digest": digest, "size": len(content)}


def blob_path(made: str, digest: str) -> str:
    return f"{made}/blobs/sha256/{digest.removeprefix('sha256:')}"


def read_json(path: str):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def umoci(*words: str) -> None:
    subprocess.run(["umoci", *words], check=True, stdin=-3, stdout=-3, stderr=-3)
