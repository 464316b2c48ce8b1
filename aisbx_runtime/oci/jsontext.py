"""JSON text to values and back through CPython's C accelerator, without importing `json`.

The package `json` imports `re` and `enum`, 5-8 ms of every start; the module `_json` that does its
work is there in CPython 3.11 to 3.14 and costs nothing. What the values mean lives in `spec`.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeGuard

_WHITE = " \t\n\r"


def _refuse_constant(name: str) -> NoReturn:
    # RFC 8259 knows neither NaN nor Infinity; Python's reader would take them.
    message = f"{name} is not JSON"
    raise ValueError(message)


class _ScannerOptions:
    """What `_json.make_scanner` reads of a `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012  (the C scanner wants the attribute, and never writes it)


_scan = _json.make_scanner(_ScannerOptions())  # type: ignore[arg-type]  # typeshed names its own type


def parse(text: str) -> object:
    """Return the value that `text` holds.

    Raises ValueError when it is not one JSON value, RecursionError when it is nested too deeply.
    """
    start = len(text) - len(text.lstrip(_WHITE))
    try:
        value, end = _scan(text, start)
    except SystemError:
        # CPython 3.11's scanner finds its error type only where json is imported already.
        import json

        json.loads(text)
        raise
    except StopIteration as stop:
        message = f"no JSON value at character {stop.value}"
        raise ValueError(message) from None
    if text[end:].strip(_WHITE):
        message = f"more than one JSON value: something follows at character {end}"
        raise ValueError(message)
    return value


def _refuse_type(value: object) -> NoReturn:
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


_encode = _json.make_encoder(
    None,
    _refuse_type,
    _json.encode_basestring_ascii,
    None,
    ":",
    ",",
    False,  # noqa: FBT003  (sort_keys; the C function takes no names)
    False,  # noqa: FBT003  (skipkeys)
    False,  # noqa: FBT003  (allow_nan)
)


def dump(value: object) -> str:
    """Return `value` as compact ASCII JSON. Raises TypeError for what JSON cannot hold."""
    return "".join(_encode(value, 0))


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether `value` was a JSON object."""
    return type(value) is dict


def is_array(value: object) -> TypeGuard[list[object]]:
    """Tell whether `value` was a JSON array."""
    return type(value) is list
