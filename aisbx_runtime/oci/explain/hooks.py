"""Hooks: which programs run besides the container's, where, and with whose rights."""

from __future__ import annotations

from aisbx_runtime.oci.explain.case import Danger, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import Hook

_HOST, _BETWEEN, _INSIDE = "host", "host program, in the container's namespaces", "container"


def _all(case: Case) -> list[tuple[str, str, str, int, Hook]]:
    """Return (kind, where it runs, when, number, hook); config.md, "POSIX-platform Hooks"."""
    hooks = case.spec.hooks
    table = (
        ("prestart", _HOST, "before the program starts", hooks.prestart),
        ("createRuntime", _HOST, "when the container is created", hooks.create_runtime),
        ("createContainer", _BETWEEN, "when the container is created", hooks.create_container),
        ("startContainer", _INSIDE, "right before the program", hooks.start_container),
        ("poststart", _HOST, "after the program started", hooks.poststart),
        ("poststop", _HOST, "after the container is deleted", hooks.poststop),
    )
    return [
        (kind, where, when, number, hook)
        for kind, where, when, every in table
        for number, hook in enumerate(every)
    ]


def hooks(case: Case) -> Section:
    """Say which hooks run, and where."""
    found = _all(case)
    says = [
        f"{hook.path} runs on the {where}, {when}"
        if where == _HOST
        else f"{hook.path} runs in the container, {when}"
        if where == _INSIDE
        else f"{hook.path} of the host runs in the container's namespaces, {when}"
        for _, where, when, _, hook in found
    ]
    facts: dict[str, object] = {
        "hooks": [
            {
                "kind": kind,
                "path": hook.path,
                "args": list(hook.args),
                "runs": {_HOST: "host", _BETWEEN: "namespaces", _INSIDE: "container"}[where],
                "timeout_s": hook.timeout,
                "origin": f"hooks.{kind}[{number}]",
            }
            for kind, where, _, number, hook in found
        ]
    }
    return Section("hooks", "Hooks", tuple(says or ["no hooks"]), facts)


def dangers(case: Case) -> list[Danger]:
    """Return the programs that run on the host with the runtime's rights."""
    return [
        Danger(
            "host-hook", 15, f"{hook.path} runs on the host",
            "it runs with the rights of the runtime, outside of the sandbox",
            "trust it, or drop it", f"hooks.{kind}[{number}]",
        )
        for kind, where, _, number, hook in _all(case) if where != _INSIDE
    ]  # fmt: skip
