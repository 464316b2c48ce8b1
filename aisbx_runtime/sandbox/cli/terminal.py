"""Tables and progress on a terminal, by rich."""

from __future__ import annotations

import contextlib

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rich.progress import Task, TaskID

    from aisbx_runtime.sandbox.progress import Progress


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. Cells are text of others: rich's own markup in them is nothing but text."""
    made = Table(*[title.upper() for title in titles], box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        made.add_row(*[Text(cell) for cell in row])
    Console(highlight=False).print(made)


@contextlib.contextmanager
def progress() -> Generator[Progress]:
    """Show steps as lines with a bar where the size is known; nothing of it stays."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _SizedBar(bar_width=30),
        _SizedDownload(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Shown(bars)


class _SizedBar(BarColumn):
    def __call__(self, task: Task) -> Text:
        return super().__call__(task) if task.total else Text("")  # type: ignore[return-value]


class _SizedDownload(DownloadColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text("")


class _Shown:
    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.task: TaskID | None = None

    def step(self, what: str, total_bytes: int = 0) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        self.task = self.bars.add_task(what, total=total_bytes or None)

    def advance(self, done_bytes: int) -> None:
        if self.task is not None:
            self.bars.update(self.task, completed=done_bytes)
