"""Find the line of a value in JSON text: loaded only when an error is about to be reported."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from json import JSONDecoder

    from aisbx_runtime.oci.spec.node import Path

_WHITE = " \t\n\r"


def line_of(text: str, path: Path) -> int:
    """Return the line (from 1) of the value at `path`, or of what is nearest above it; 0: no text.

    `text` holds valid JSON. Where a name is repeated, its last value counts, as it does in Go.
    """
    if not text:
        return 0
    # `json` costs 5 ms of a start: only an error may pay that.
    from json import JSONDecoder

    decoder = JSONDecoder()
    at = _skip_white(text, 0)
    try:
        for key in path:
            found = _start_of(text, at, key, decoder)
            if found < 0:
                break
            at = found
    except RecursionError:
        # We stand deeper on the stack than the reader that just managed this text: stay above.
        pass
    return text.count("\n", 0, at) + 1


def _skip_white(text: str, at: int) -> int:
    while text[at] in _WHITE:
        at += 1
    return at


def _start_of(text: str, at: int, key: str | int, decoder: JSONDecoder) -> int:
    """Return where the member `key` of the value at `at` starts, or -1."""
    if text[at] not in "{[":
        return -1
    opened = text[at]
    found = -1
    index = 0
    at = _skip_white(text, at + 1)
    while text[at] not in "}]":
        name: object = index
        if opened == "{":
            name, at = decoder.raw_decode(text, at)
            at = _skip_white(text, _skip_white(text, at) + 1)  # the colon
        if name == key:
            found = at
        _, at = decoder.raw_decode(text, at)
        at = _skip_white(text, at)
        if text[at] == ",":
            at = _skip_white(text, at + 1)
        index += 1
    return found


def syntax_error(text: str, where: str, problem: str) -> SpecError:
    """Return the error of a text that is not JSON, with line and column where Python knows them."""
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        problem = error.msg
        where = f"{where}:{error.lineno}:{error.colno}"
    except (ValueError, RecursionError):
        # An integer beyond sys.get_int_max_str_digits(): `problem` says so; it has no position.
        pass
    return SpecError(f"invalid JSON: {problem}", where=where)
