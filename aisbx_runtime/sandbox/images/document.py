"""JSON from strangers: bounded, without doubles, and read field by field.

Every reading names the field that is wrong: `layers[3].size: expected a number, got "x"`.
"""

from __future__ import annotations

import json

from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Value = dict[str, "Value"] | list["Value"] | str | int | float | bool | None

# Manifests and configs of real images have some kilobytes; registries take 4 MiB.
LONGEST_BYTES = 4 << 20
LARGEST = 1 << 62


class Document:
    """A value inside a document, which knows where it stands.

    value: None is the same as not there, as in Go's `omitempty`.
    """

    __slots__ = ("path", "value", "where")

    def __init__(self, value: Value, where: str, path: str = "") -> None:
        self.value = value
        self.where = where
        self.path = path

    def wrong(self, expected: str) -> InputError:
        """Return the error that something else stands here."""
        got = json.dumps(self.value)
        got = got if len(got) <= 80 else f"{got[:77]}..."
        if self.value is None:
            got = "nothing"
        return InputError(
            f"{self.path or 'document'}: expected {expected}, got {got}", where=self.where
        )

    def at(self, name: str) -> Document:
        """Return a field, present or not."""
        value = self._fields().get(name)
        return Document(value, self.where, f"{self.path}.{name}" if self.path else name)

    def items(self) -> Iterator[Document]:
        """Return what is in this array; nothing is an empty one."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.wrong("an array")
        for number, value in enumerate(self.value):
            yield Document(value, self.where, f"{self.path}[{number}]")

    def names(self) -> list[str]:
        """Return the names of this object's fields; nothing is an object without any."""
        return [] if self.value is None else list(self._fields())

    def text(self, default: str | None = None) -> str:
        """Return this string; without a default it must be there."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            raise self.wrong("a string")
        if "\0" in self.value:
            raise InputError(f"{self.path}: has a NUL in it", where=self.where)
        try:
            self.value.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{self.path}: has half a surrogate pair", where=self.where) from error
        return self.value

    def texts(self) -> list[str]:
        """Return this array of strings."""
        return [item.text() for item in self.items()]

    def text_map(self) -> dict[str, str]:
        """Return this object of strings."""
        return {name: self.at(name).text() for name in self.names()}

    def number(self) -> int:
        """Return this number, which is whole and not negative."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.wrong("a whole number")
        if not 0 <= self.value <= LARGEST:
            raise self.wrong("a number that is not negative and has no more than 62 bits")
        return self.value

    def _fields(self) -> dict[str, Value]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value


def parsed(content: bytes, where: str) -> Document:
    """Read a document.

    Raises InputError for what is no JSON, too long, too deep, or has a field twice: readers differ
    in which of the two they take.
    """
    if len(content) > LONGEST_BYTES:
        raise InputError(f"longer than {LONGEST_BYTES >> 20} MiB", where=where)
    try:
        value: Value = json.loads(
            content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        why = "too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError("cannot be read as JSON", where=where, why=why) from error
    return Document(value, where)


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return made


def _no_constant(text: str) -> Value:
    raise ValueError(f"{text} is no JSON")
