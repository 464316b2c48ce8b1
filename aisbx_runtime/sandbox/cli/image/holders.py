"""Who keeps images beside names and bundles: what `image gc` and `image rm` must ask."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisbx_runtime.sandbox.images.gc import Holder


def holders() -> Sequence[Holder]:
    """Return the functions that say what snapshots use."""
    return ()
