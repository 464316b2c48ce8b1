"""criu, which checkpoints and restores: finding it, talking to it, telling it what is outside.

Its RPC protocol is spoken over a socket pair with `criu swrk` (docs/decisions/0005). What a
checkpoint and a restore are made of lives in `lifecycle`.
"""

from __future__ import annotations

# Names a criu.conf(5) of the container's own, whose options win over those of the command line.
CONFIG_ANNOTATION = "org.criu.config"
