"""Who keeps images beside names and bundles: what `image gc` and `image rm` must ask."""

from __future__ import annotations

from aisbx_runtime.sandbox.images.gc import Uses
from aisbx_runtime.sandbox.snapshots.remove import bases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisbx_runtime.sandbox.images.gc import Holder
    from aisbx_runtime.sandbox.store import Store


def holders() -> Sequence[Holder]:
    """Return the functions that say what snapshots use."""
    return (_snapshots,)


def _snapshots(store: Store) -> Uses:
    uses = Uses()
    for snapshot_id, base in bases(store).items():
        uses.add(f"snapshot {snapshot_id[7:19]}", key=base.rootfs, digest=base.digest)
    return uses
