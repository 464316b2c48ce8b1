"""aisbx ls: the sandboxes of the store."""

from __future__ import annotations

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared


@declared("List the sandboxes: those that run, and those that were kept.")
def command(call: Call, /) -> None:
    """Print them by name."""
    running = containers.statuses(call.runtime)
    found = [
        (one, running.get(one.path, containers.Status(containers.STOPPED, 0)))
        for one in containers.every(call.store())
    ]
    call.output().table(
        [
            {
                "name": one.name,
                "status": status.status,
                "pid": status.pid,
                "image": {"reference": one.reference, "digest": one.digest},
                "created": one.created,
                "keep": one.keep,
                "bundle": one.path,
            }
            for one, status in found
        ],
        ("name", "status", "pid", "image", "created"),
        [
            (one.name, status.status, str(status.pid or "-"), one.reference, one.created)
            for one, status in found
        ],
    )
