"""The first module of `aisbx`: a second start of an image is carried out here, all else by cli.

It and what it imports at module level keep to C modules, as `aisbx_runtime/launch.py` does: click
costs 45 ms, and `aisbx run` is to cost little more than `aisbx-runtime run`.
"""

from __future__ import annotations

import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from aisbx_runtime.sandbox.errors import SandboxError


def main(library: str, runtime: str, words: list[str]) -> NoReturn:
    """Carry out the call `words`; ends the process.

    library: where our modules are. runtime: the program aisbx-runtime.
    """
    code = _run_quickly(library, runtime, words)
    if code is not None:
        # Not exit(): nothing is buffered, and the interpreter's own end takes 2 ms.
        posix._exit(code)  # pyright: ignore[reportPrivateUsage]
    gc.enable()
    _complete_path()
    try:
        from aisbx_runtime.sandbox.cli.call import Call
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
    sys.exit(carry_out(words, Call(library, runtime)))


def _run_quickly(library: str, runtime: str, words: list[str]) -> int | None:
    """Run a sandbox on an image that is ready; return its exit code, or None: cli is to see."""
    store = ""
    if len(words) > 2 and words[0] == "--store":
        store, words = words[1], words[2:]
    if words[:1] != ["run"]:
        return None
    from aisbx_runtime.sandbox import options, prepared, run
    from aisbx_runtime.sandbox.errors import SandboxError
    from aisbx_runtime.sandbox.images.names import file_name, normalised
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.where import absolute, default_path

    request = options.quickly_parsed(words[1:])
    # A detached one prints its name, as text or as JSON.
    if request is None or request.flag("detach"):
        return None
    store = absolute(store) if store else default_path()
    door = Runtime(runtime)
    try:
        name = normalised(request.reference)
        target = posix.readlink(f"{store}/refs/{file_name(name)}")
        base = prepared.load(library, store, target.rpartition("/")[2], name)
        users = run.users_of(store, door, request) if base is not None else None
        if base is not None and (users is None or not users.lacks):
            return run.start(store, door, base, request, users)
        # What is missing is for cli to tell, and the ids for it to choose.
        if users is not None:
            users.close()
    except FileNotFoundError:
        pass
    except SandboxError as error:
        return _failed(error)
    return None


def _failed(failure: SandboxError) -> int:
    _complete_path()
    from aisbx_runtime.sandbox.cli.output import Output

    Output(as_json=False).error("run", failure)
    return failure.exit_code


def _complete_path() -> None:
    """Let modules be found that do not come with Python: the launcher's -S leaves them out."""
    import site

    site.main()
