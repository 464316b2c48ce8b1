"""What is printed: results on stdout, errors and progress on stderr, as text or as JSON.

Every JSON value has its `$defs` entry in spec/aisbx.schema.json. Rich is for terminals only, and
imported only there.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from aisbx_runtime.sandbox.tools import printable as on_one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from aisbx_runtime.sandbox.errors import SandboxError
    from aisbx_runtime.sandbox.progress import Progress

    Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None

# Between two lines of progress for a program.
_PAUSE_S = 0.5


class Output:
    """How this call speaks."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Json, text: str = "") -> None:
        """Print what the command has to say: value for programs, text for people."""
        if self.as_json:
            _write(f"{json.dumps(value)}\n")
        elif text:
            _write(f"{printable(text)}\n")

    def table(self, value: Json, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a list: value for programs; rows as a table on a terminal, else aligned lines."""
        if self.as_json:
            self.result(value)
        elif rows:
            clean = [[printable(cell) for cell in row] for row in rows]
            (_rich_table if sys.stdout.isatty() else _plain_table)(titles, clean)

    def error(self, command: str, failure: SandboxError) -> None:
        """Say why the command `command` (`image pull`, or empty) has failed."""
        if self.as_json:
            value = {
                "command": command,
                "what": failure.what,
                "where": failure.where,
                "why": failure.why,
                "hint": failure.hint,
                "exit_code": failure.exit_code,
            }
            _say(json.dumps({"error": value}))
            return
        _say(printable(f"aisbx: {command}: {failure}" if command else f"aisbx: {failure}"))
        for note in (*getattr(failure, "__notes__", ()), *([failure.hint] if failure.hint else [])):
            _say(printable(f"  {'hint: ' if note is failure.hint else ''}{note}"))

    def note(self, text: str) -> None:
        """Say something that a person should know, and that is no failure."""
        _say(json.dumps({"note": text}) if self.as_json else printable(f"aisbx: {text}"))

    @contextlib.contextmanager
    def progress(self) -> Generator[Progress]:
        """Yield whom a service tells how far it is."""
        if self.as_json:
            yield _JsonProgress()
        elif sys.stderr.isatty():
            from aisbx_runtime.sandbox.cli.terminal import progress

            with progress() as shown:
                yield shown
        else:
            yield _PlainProgress()


class _JsonProgress:
    """Each step as a line of JSON, and how far it is now and then."""

    def __init__(self) -> None:
        self.what = ""
        self.total = 0
        self.next = 0.0

    def step(self, what: str, total_bytes: int = 0) -> None:
        self.what, self.total, self.next = what, total_bytes, 0.0
        self.advance(0)

    def advance(self, done_bytes: int) -> None:
        now = time.monotonic()
        if now >= self.next or (self.total and done_bytes >= self.total):
            self.next = now + _PAUSE_S
            value = {"step": self.what, "done_bytes": done_bytes, "total_bytes": self.total}
            _say(json.dumps({"progress": value}))


class _PlainProgress:
    """A line for each step: whoever reads a log wants to know what took so long."""

    def step(self, what: str, total_bytes: int = 0) -> None:
        size = f" ({readable(total_bytes)})" if total_bytes else ""
        _say(printable(f"aisbx: {what}{size}"))

    def advance(self, done_bytes: int) -> None:
        pass


def readable(size_bytes: int) -> str:
    """Return a size for people: `41.2 MB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def printable(text: str) -> str:
    """Return text whose control characters a terminal cannot obey: images name themselves."""
    return "\n".join([on_one_line(line) for line in text.split("\n")])


def _write(text: str) -> None:
    sys.stdout.write(text.encode(errors="backslashreplace").decode())
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(line.encode(errors="backslashreplace").decode() + "\n")
    sys.stderr.flush()


def _plain_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        _write(f"{'  '.join(cells).rstrip()}\n")


def _rich_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from aisbx_runtime.sandbox.cli.terminal import table

    table(titles, rows)
