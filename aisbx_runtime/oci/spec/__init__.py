"""Read config.json into frozen records: pure, strict, and cheap to import. Touches no kernel."""

from __future__ import annotations
