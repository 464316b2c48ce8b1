"""aisbx snapshot gc: the files that no snapshot has."""

from __future__ import annotations

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.output import readable
from aisbx_runtime.sandbox.snapshots.remove import gc


@declared("Remove the files that no snapshot has, and what was left half-made.")
def command(call: Call, /) -> None:
    """Collect, and say what went."""
    store = call.store()
    swept = store.sweep()
    freed = gc(store)
    call.output().result(
        {"files": freed.files, "freed_bytes": freed.bytes, "half_made": swept},
        f"removed {freed.files} files, {len(swept)} half-made things: {readable(freed.bytes)}",
    )
