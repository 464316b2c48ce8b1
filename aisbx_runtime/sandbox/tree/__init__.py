"""What a container changed: the upper directory of an overlay as a sorted list of entries.

Snapshots store it, images carry it as a layer, `diff` prints it. `walk` reads an upper directory,
`make` makes one; both go by directory fds and follow no link, whatever the container left there.
This package knows no store and no archive.
"""

from __future__ import annotations

from aisbx_runtime.sandbox.tree.attributes import Overlay
from aisbx_runtime.sandbox.tree.entry import Entry, order, raw_of, text_of
from aisbx_runtime.sandbox.tree.make import make
from aisbx_runtime.sandbox.tree.mapping import Mapping
from aisbx_runtime.sandbox.tree.walk import Limits, walk

__all__ = ["Entry", "Limits", "Mapping", "Overlay", "make", "order", "raw_of", "text_of", "walk"]
