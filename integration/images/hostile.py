"""A case of the hostile corpus, and the ways to write one down.

See docs/security.md 2.2, entries 22, 23 and 26.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integration.images.making import END, SOUND, layer, pax, sound

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = Callable[[bytes], list[bytes]]

SOUND_NAMES = {"etc", "etc/passwd", "hello"}


@dataclass(frozen=True)
class Case:
    """One image. umoci: what umoci alone does with it, where that is worse (a control)."""

    name: str
    layers: Made
    refused: str = ""
    found: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    umoci: str = ""


CASES: list[Case] = []


def refused(name: str, why: str, *blocks: bytes | str | tuple, umoci: str = "") -> None:
    """Add a case whose last layer has these members after those of a sound one."""
    CASES.append(Case(name, lambda ground: [layer(*SOUND, *_in(ground, blocks))], why, umoci=umoci))


def refused_above(name: str, why: str, *blocks: bytes | str | tuple, umoci: str = "") -> None:
    """Add a case whose second layer has these members."""
    CASES.append(
        Case(name, lambda ground: [sound(), layer(*_in(ground, blocks))], why, umoci=umoci)
    )


def refused_raw(name: str, why: str, *blocks: bytes, end: bytes = END) -> None:
    """Add a case with these bytes after a sound archive's members."""
    CASES.append(Case(name, lambda _: [layer(*SOUND, *blocks, end=end)], why))


def taken(
    name: str, found: dict[str, str], *blocks: bytes | str | tuple | Callable, missing: tuple = ()
) -> None:
    CASES.append(
        Case(name, lambda ground: [layer(*SOUND, *_in(ground, blocks))], "", found, missing)
    )


def taken_above(
    name: str, found: dict[str, str], *blocks: bytes | str | tuple | Callable, missing: tuple = ()
) -> None:
    CASES.append(
        Case(name, lambda ground: [sound(), layer(*_in(ground, blocks))], "", found, missing)
    )


def _in(ground: bytes, blocks: tuple) -> list:
    return [block(ground) if callable(block) else block for block in blocks]


def xattr(name: bytes, value: bytes = b"x") -> bytes:
    return pax({b"SCHILY.xattr." + name: value})
