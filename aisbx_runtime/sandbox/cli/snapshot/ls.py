"""aisbx snapshot ls: the snapshots of the store."""

from __future__ import annotations

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.output import readable
from aisbx_runtime.sandbox.snapshots import look
from aisbx_runtime.sandbox.snapshots.shelf import Shelf


@declared("List the snapshots, the oldest first.")
def command(call: Call, /) -> None:
    """Print them."""
    found = look.every(Shelf(call.store()))
    call.output().table(
        [look.value_of(each) for each in found],
        ("id", "names", "image", "created", "files", "size"),
        [
            (
                each.id.removeprefix("sha256:")[:12],
                ", ".join(each.names) or "-",
                each.tree.base.reference.removeprefix("docker://"),
                each.created,
                str(each.files),
                readable(each.size_bytes),
            )
            for each in found
        ],
    )
