"""What a service says while a person waits. Services never print: cli makes text of it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Progress(Protocol):
        """Who is told how far the work has come; see cli/output.py."""

        def step(self, what: str, total_bytes: int = 0) -> None:
            """Begin the next step; `what` is a clause such as `unpacking 3 layers`.

            total_bytes: of the work to come; 0: nobody knows.
            """

        def advance(self, done_bytes: int) -> None:
            """Say how much of the current step is done in all."""


class Silence:
    """A progress that nobody sees."""

    def step(self, what: str, total_bytes: int = 0) -> None:
        """Say nothing."""

    def advance(self, done_bytes: int) -> None:
        """Say nothing."""
