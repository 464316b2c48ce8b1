"""config.json as engines write it: the ones of tests/golden, with paths that exist here."""

from __future__ import annotations

import json
import os
import resource
from typing import TYPE_CHECKING, Any

from integration import host
from integration.differential.cases import exec_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.differential.trial import Subject

GOLDEN = f"{os.path.dirname(host.__file__)}/../tests/golden"
# Not the rootless ones, whose engine brings a user namespace, nor idmap, which the peers have not.
NAMES = (
    "buildah", "containerd", "docker", "podman4", "podman4-host-namespaces", "podman4-limits",
    "podman4-privileged", "podman4-userns", "podman5",
)  # fmt: skip
CONTROLLERS = {"memory": "memory", "pids": "pids", "blockIO": "blkio", "hugepageLimits": "hugetlb"}


def engine_case(name: str) -> Callable[[Subject], None]:
    """Return the case of one recorded configuration."""

    def case(subject: Subject) -> None:
        with open(f"{GOLDEN}/{name}/config.json") as text:
            config = json.load(text)
        config["root"]["path"] = "rootfs"
        config["ociVersion"] = "1.0.2"  # crun 1.8 refuses what came later
        config["linux"]["cgroupsPath"] = subject.cgroup
        for key in ("hooks", "annotations"):
            config.pop(key, None)
        subject.config = config
        _fit_process(config["process"])
        _fit_linux(subject, config["linux"])
        for number, one in enumerate(config["mounts"]):
            _fit_source(subject, number, one)
        exec_process(subject)

    return case


def _fit_process(process: dict[str, Any]) -> None:
    process["args"] = ["/probe", "two words"]
    for key in ("apparmorProfile", "selinuxLabel"):
        process.pop(key, None)
    # What only CAP_SYS_RESOURCE may do.
    process["oomScoreAdj"] = max(0, process.get("oomScoreAdj") or 0)
    for limit in process.get("rlimits", []):
        hard = resource.getrlimit(getattr(resource, limit["type"]))[1] % (1 << 64)
        limit["hard"] = min(limit["hard"], hard)
        limit["soft"] = min(limit["soft"], hard)


def _fit_linux(subject: Subject, linux: dict[str, Any]) -> None:
    linux.pop("mountLabel", None)
    for one in linux["namespaces"]:
        one.pop("path", None)
    linux["devices"] = [one for one in linux.get("devices", []) if os.path.exists(one["path"])]
    resources = linux.get("resources", {})
    for key, controller in CONTROLLERS.items():
        if not subject.view.has(controller):
            resources.pop(key, None)
    if not (subject.view.has("cpu") and subject.view.has("cpuset")):
        resources.pop("cpu", None)
    if linux.get("uidMappings"):
        owner = linux["uidMappings"][0]["hostID"]
        for parent, directories, files in os.walk(subject.rootfs):
            for name in (".", *directories, *files):
                os.chown(f"{parent}/{name}", owner, owner, follow_symlinks=False)


def _fit_source(subject: Subject, number: int, mount: dict[str, Any]) -> None:
    if mount.get("type") == "overlay":
        mount["options"] = [_overlay_option(subject, number, word) for word in mount["options"]]
    if not {mount.get("type"), *mount.get("options", [])} & {"bind", "rbind"}:
        return
    if os.path.exists(mount["source"]) and mount["source"].startswith(("/sys", "/proc", "/dev/")):
        return
    mount["source"] = path = f"{subject.path}/source-{number}"
    if mount["destination"].startswith("/etc/") or "." in mount["destination"]:
        with open(path, "w") as out:
            out.write("text\n")
    else:
        os.mkdir(path)


def _overlay_option(subject: Subject, number: int, word: str) -> str:
    key, equals, _ = word.partition("=")
    if not equals:
        return word
    path = f"{subject.path}/{key}-{number}"
    os.mkdir(path)
    return f"{key}={path}"
