"""A page of text for a person: 80 columns, colour only on a terminal and never needed for meaning.

What it says lives in `explain` and `probe`.
"""

from __future__ import annotations

from aisbx_runtime.oci import report
from aisbx_runtime.oci import system as os

WIDTH = 80
BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"
_FOREVER = 1 << 20


def is_coloured(fd: int) -> bool:
    """Tell whether colours are wanted: on a terminal that has them, unless NO_COLOR is set."""
    if os.environment("NO_COLOR") or os.environment("TERM") in {None, "", "dumb"}:
        return False
    try:
        return os.isatty(fd)
    except OSError:
        # Closed: nobody sees it.
        return False


class Page:
    """Lines in the making."""

    def __init__(self, *, coloured: bool) -> None:
        """Begin an empty page."""
        self._coloured = coloured
        self._lines: list[str] = []

    def text(self) -> str:
        """Return the whole page."""
        return "".join([f"{line}\n" for line in self._lines])

    def title(self, words: str) -> None:
        """Add a line that stands out, with an empty one before it."""
        if self._lines:
            self._lines.append("")
        self._lines.append(self._paint(report.printable(words), BOLD))

    def item(self, words: str, *, mark: str = "-", colour: str = "", indent: int = 2) -> None:
        """Add a paragraph that begins with a mark and hangs from it."""
        first = f"{' ' * indent}{mark} "
        lines = wrapped(report.printable(words), WIDTH - len(first))
        self._lines.append(f"{' ' * indent}{self._paint(mark, colour)} {lines[0]}".rstrip())
        self._lines.extend([" " * len(first) + line for line in lines[1:]])

    def command(self, words: str, *, indent: int) -> None:
        """Add what is to be copied, on one line however long it is."""
        self._lines.append(" " * indent + report.printable(words))

    def paragraph(self, words: str, *, indent: int = 0) -> None:
        """Add a paragraph."""
        for line in wrapped(report.printable(words), WIDTH - indent):
            self._lines.append(" " * indent + line)

    def _paint(self, words: str, colour: str) -> str:
        return f"\033[{colour}m{words}\033[0m" if self._coloured and colour else words


def wrapped(words: str, width: int) -> list[str]:
    """Break a text into lines between its words; a word that is too long gets a line."""
    lines: list[str] = []
    line = ""
    for word in words.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def listed(names: list[str] | tuple[str, ...], most: int = _FOREVER) -> str:
    """Return names with commas, the first `most` of them, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def amount(bytes_: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least one."""
    value, unit = float(bytes_), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is right."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun[-1] == "y" else f"{number} {noun}s"
