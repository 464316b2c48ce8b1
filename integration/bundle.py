"""Bundles: a busybox rootfs and a config.json to mutate. No runtime is called here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from integration import host

DIRECTORIES = "bin dev etc home mnt opt proc root run srv sys tmp usr var"
# Namespace -> its name in /proc, and where the file system is mounted that shows it.
SHOWN_BY = {
    "pid": ("pid", "/proc"),
    "network": ("net", "/sys"),
    "ipc": ("ipc", "/dev/mqueue"),
}
TTY_GROUP = 5
HERE = os.path.dirname(os.path.abspath(__file__))

with open(f"{HERE}/base_config.json") as _text:
    _BASE = _text.read()


def base_config() -> dict[str, Any]:
    """Return what `runc spec` writes, with a writable root and no terminal."""
    config: dict[str, Any] = json.loads(_BASE)
    # As from runc 1.2 on: it warns of ambient capabilities that are not inheritable.
    del config["process"]["capabilities"]["ambient"]
    config["process"]["terminal"] = False
    config["root"]["readonly"] = False
    return config


class Template:
    """The rootfs from which all bundles are hard-linked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.busybox = f"{path}/busybox"
        program = shutil.which("busybox")
        assert program is not None
        shutil.copy(program, self.busybox)
        listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
        self.applets = [name for name in listed.stdout.split() if name != "busybox"]

    def fill(self, rootfs: str) -> None:
        """Make a rootfs: all applets, the usual directories, passwd and group."""
        for name in DIRECTORIES.split():
            os.makedirs(f"{rootfs}/{name}", exist_ok=True)
        os.chmod(f"{rootfs}/tmp", 0o1777)
        os.link(self.busybox, f"{rootfs}/bin/busybox")
        for name in self.applets:
            os.symlink("busybox", f"{rootfs}/bin/{name}")
        with open(f"{rootfs}/etc/passwd", "w") as text:
            text.write("root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n")
        with open(f"{rootfs}/etc/group", "w") as text:
            text.write("root:x:0:\ntty:x:5:\nguest:x:1000:\n")


def own_id(number: int) -> dict[str, int]:
    """Return the only mapping that a plain user may make: user_namespaces(7)."""
    return {"containerID": 0, "hostID": number, "size": 1}


class Bundle:
    """One bundle directory; `config` is written out by save()."""

    def __init__(self, path: str, container_id: str, template: Template) -> None:
        self.path = path
        self.id = container_id
        self.rootfs = f"{path}/rootfs"
        self.cgroup = f"/{container_id}"
        os.mkdir(path)
        os.mkdir(self.rootfs)
        template.fill(self.rootfs)
        self.config = base_config()
        if host.lacks_ids(TTY_GROUP):
            for entry in self.config["mounts"]:
                words = [word for word in entry.get("options", []) if word != f"gid={TTY_GROUP}"]
                entry["options"] = words
        if not host.lacks_cgroups():
            self.config["linux"]["cgroupsPath"] = self.cgroup
        self.script("true")
        if os.geteuid() != 0:
            self.namespace("user")
            self.config["linux"]["uidMappings"] = [own_id(os.geteuid())]
            self.config["linux"]["gidMappings"] = [own_id(os.getegid())]

    # -- mutations, named after what they do to config.json

    def script(self, text: str) -> Bundle:
        return self.args("/bin/sh", "-c", text)

    def args(self, *words: str) -> Bundle:
        self.config["process"]["args"] = list(words)
        return self

    def mount(self, destination: str, fstype: str, source: str, *options: str) -> Bundle:
        entry: dict[str, Any] = {"destination": destination, "type": fstype, "source": source}
        if options:
            entry["options"] = list(options)
        self.config["mounts"].append(entry)
        return self

    def namespace(self, kind: str, path: str | None = None) -> Bundle:
        """Make the namespace new, or enter the one at path."""
        self._unlisted(kind)
        entry = {"type": kind} if path is None else {"type": kind, "path": path}
        self.config["linux"]["namespaces"].append(entry)
        return self

    def without_namespace(self, kind: str) -> Bundle:
        """Leave the caller's namespace of this kind; what it may not show anew is bound."""
        name, target = SHOWN_BY.get(kind, ("", ""))
        if name and host.is_foreign(name):
            others = [one for one in self.config["mounts"] if one["destination"] != target]
            bound = {"destination": target, "type": "bind", "source": target, "options": ["rbind"]}
            self.config["mounts"] = [*([bound] if os.path.isdir(target) else []), *others]
        self._unlisted(kind)
        return self

    def _unlisted(self, kind: str) -> None:
        kept = [entry for entry in self.config["linux"]["namespaces"] if entry["type"] != kind]
        self.config["linux"]["namespaces"] = kept

    def capabilities(self, **sets: list[str]) -> Bundle:
        self.config["process"]["capabilities"] = sets
        return self

    def all_capabilities(self, *names: str) -> Bundle:
        """Put the names in the bounding, effective and permitted sets."""
        words = list(names)
        return self.capabilities(bounding=words, effective=words, permitted=words)

    def resources(self, **controllers: Any) -> Bundle:
        self.config["linux"].setdefault("resources", {}).update(controllers)
        return self

    def hook(self, kind: str, path: str, *args: str, **more: Any) -> Bundle:
        entry = {"path": path, "args": [path, *args], **more}
        self.config.setdefault("hooks", {}).setdefault(kind, []).append(entry)
        return self

    def user_namespace(self, host_id: int = 100000, size: int = 65536) -> Bundle:
        """Map the container's ids to host_id..; the rootfs is given to its root.

        Skips where the session does not have them.
        """
        if host.lacks_ids(host_id + size - 1):
            pytest.skip(host.lacks_ids(host_id + size - 1))
        self.namespace("user")
        mapping = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.config["linux"]["uidMappings"] = mapping
        self.config["linux"]["gidMappings"] = mapping
        os.chown(self.rootfs, host_id, host_id)
        for name in os.listdir(self.rootfs):
            os.chown(f"{self.rootfs}/{name}", host_id, host_id)
        return self

    def file(self, name: str, text: str, mode: int = 0o644) -> str:
        """Write a file into the rootfs and return its host path."""
        path = f"{self.rootfs}/{name}"
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def save(self, text: str | None = None) -> Bundle:
        with open(f"{self.path}/config.json", "w") as out:
            out.write(json.dumps(self.config) if text is None else text)
        return self
