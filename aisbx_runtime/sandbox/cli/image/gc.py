"""aisbx image gc: what nothing refers to goes."""

from __future__ import annotations

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.image.holders import holders
from aisbx_runtime.sandbox.cli.output import readable
from aisbx_runtime.sandbox.images import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.cli.output import Json


@declared("Remove what no name, sandbox or snapshot refers to: rootfs, layers, half-made things.")
def command(call: Call, /) -> None:
    """Collect, and say what went."""
    output, store = call.output(), call.store()
    for name in containers.sweep(store, call.runtime):
        output.note(f"the sandbox {name} is removed: its `aisbx run` was killed")
    with output.progress() as progress:
        found = gc.collect(store, progress, holders())
    if found.busy:
        output.note("layers were left alone: another aisbx is making an image; try again later")
    output.result(
        value_of(found),
        f"removed {len(found.rootfs)} rootfs, {len(found.blobs)} blobs, "
        f"{len(found.workplaces)} half-made things: {readable(found.freed_bytes)}",
    )


def value_of(found: gc.Collected) -> Json:
    """Return it as JSON has it."""
    return {
        "rootfs": list(found.rootfs),
        "blobs": [f"sha256:{name}" for name in found.blobs],
        "half_made": list(found.workplaces),
        "void_pins": found.pins,
        "freed_bytes": found.freed_bytes,
        "busy": found.busy,
    }
