"""The first module of `aisbx`: what a start needs before anything of a size is imported.

It and what it imports at module level keep to C modules, as `aisbx_runtime/launch.py` does: a
second start of an image is to cost little more than `aisbx-runtime run`.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main(library: str, words: list[str]) -> NoReturn:
    """Carry out the call `words` with the modules below `library`; ends the process."""
    del library
    # The launcher's -S leaves out where click and rich lie.
    import site

    gc.disable()
    site.main()
    gc.enable()
    try:
        from aisbx_runtime.sandbox.cli.main import main as carry_out
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.stderr.write(
            f"aisbx: {sys.executable} has no module {error.name}\n"
            "  hint: apt-get install python3-click python3-rich, or for another interpreter than "
            "Debian's: pip install click rich\n"
        )
        sys.exit(1)
    sys.exit(carry_out(words))
