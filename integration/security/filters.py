"""podman's default seccomp filter, as podman would send it in config.json."""

from __future__ import annotations

import json
from typing import Any

FILE = "/usr/share/containers/seccomp.json"
ARCHITECTURES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
AF_ALG, AF_VSOCK = 38, 40


def podman_filter() -> dict[str, Any]:
    """Return the filter of a container without any capability on x86-64."""
    with open(FILE) as text:
        profile = json.load(text)
    rules = [_rule(one) for one in profile["syscalls"] if _applies(one)]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": list(ARCHITECTURES),
        "syscalls": rules,
    }


def _applies(one: dict[str, Any]) -> bool:
    includes, excludes = one.get("includes") or {}, one.get("excludes") or {}
    if includes.get("caps") or (includes.get("arches") and "amd64" not in includes["arches"]):
        return False
    return "amd64" not in (excludes.get("arches") or [])


def _rule(one: dict[str, Any]) -> dict[str, Any]:
    rule = {"names": one["names"], "action": one["action"]}
    if one.get("args"):
        rule["args"] = one["args"]
    if one.get("errnoRet") is not None:
        rule["errnoRet"] = one["errnoRet"]
    return rule


def without_families(filter_: dict[str, Any]) -> dict[str, Any]:
    """Return it as moby's is since 2026-04: socket(2) of AF_ALG and AF_VSOCK is refused."""
    kept = []
    for one in filter_["syscalls"]:
        names = [name for name in one["names"] if name not in {"socket", "socketcall"}]
        if names:
            kept.append({**one, "names": names})
    bounds = ((0, AF_ALG, "SCMP_CMP_LT"), (0, AF_VSOCK, "SCMP_CMP_GT"), (0, 39, "SCMP_CMP_EQ"))
    kept += [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": index, "value": value, "op": op}]}
        for index, value, op in bounds
    ]  # fmt: skip
    return {**filter_, "syscalls": kept, "defaultErrnoRet": 1}
