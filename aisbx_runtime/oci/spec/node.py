"""A JSON value that knows its path, and its document: every reading error is made here.

What the values of config.json mean lives in `parse_*`, rules between fields in `validate`. Engines
are Go programs, so a field that is `null` counts as absent, and unknown fields are never read.
"""

from __future__ import annotations

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.jsontext import is_array, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    Path = tuple[str | int, ...]

INT32 = (-(1 << 31), (1 << 31) - 1)
INT64 = (-(1 << 63), (1 << 63) - 1)
UINT16 = (0, (1 << 16) - 1)
UINT32 = (0, (1 << 32) - 1)
UINT64 = (0, (1 << 64) - 1)

_SHOWN_CHARACTERS = 60


def text_of_path(path: Path) -> str:
    """Return `path` as people write it: `mounts[3].options`, `annotations["a.b"]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.isidentifier() and key.isascii():
            text += f".{key}" if text else key
        else:
            text += f"[{shown(key)}]"
    return text or "the top level"


def shown(value: object) -> str:
    """Return `value` for an error message: short, one line, ASCII."""
    if is_object(value):
        return "an object"
    if is_array(value):
        return "an array"
    if type(value) is float:
        return repr(value)  # infinity (1e999) has no JSON form
    text = jsontext.dump(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _flaw_of(text: str) -> str:
    """Return what keeps `text` from being given to the kernel, or nothing."""
    if "\0" in text:
        return "holds a NUL byte, which no path, argument or setting can hold"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which has no UTF-8 form"
    return ""


class Document:
    """One text that is being read, and what to call it: says where an error is."""

    __slots__ = ("text", "where")

    def __init__(self, text: str, where: str) -> None:
        """Keep `text` for its line numbers; an empty one has none."""
        self.text = text
        self.where = where

    def error(self, path: Path, problem: str, hint: str = "") -> SpecError:
        """Return the error that blames the value at `path`, with its line."""
        # Only the way to a failure pays for finding lines.
        from aisbx_runtime.oci.spec.locate import line_of

        line = line_of(self.text, path)
        where = f"{self.where}:{line}" if line else self.where
        return SpecError(f"{text_of_path(path)}: {problem}", where=where, hint=hint)


class Node:
    """A JSON object and its place in the document; the getters return typed values or raise."""

    __slots__ = ("_document", "_fields", "_path")

    def __init__(self, fields: dict[str, object], path: Path, document: Document) -> None:
        """Make the node of the object `fields`, which stands at `path`."""
        self._fields = fields
        self._path = path
        self._document = document

    def error(self, key: str | None, problem: str, hint: str = "") -> SpecError:
        """Return the error that blames the field `key`, or this object itself."""
        path = self._path if key is None else (*self._path, key)
        return self._document.error(path, problem, hint)

    def _expected(self, key: str, kind: str, hint: str = "") -> SpecError:
        return self.error(key, f"expected {kind}, got {shown(self._fields[key])}", hint)

    def has(self, key: str) -> bool:
        """Tell whether the field `key` is there and not null."""
        return self._fields.get(key) is not None

    # ---- strings ---------------------------------------------------------------------------
    def text(self, key: str) -> str:
        """Return a string, empty when absent: Go's `omitempty` makes no difference between them."""
        value = self._fields.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._expected(key, "a string")
        if not value.isascii() or "\0" in value:
            self._refuse_flaw(value, (key,))
        return value

    def required_text(self, key: str) -> str:
        """Return a string that must be there and not be empty."""
        value = self.text(key)
        if not value:
            raise self.error(key, "required, and may not be empty")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """Return a string that must be there and be one of `allowed`."""
        value = self.required_text(key)
        if value not in allowed:
            raise self._expected(key, "one of " + ", ".join(sorted(allowed)))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings, empty when absent."""
        value = self._fields.get(key)
        if value is None:
            return ()
        if not is_array(value):
            raise self._expected(key, "an array", _hint_for_array(value))
        strings: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str):
                path = (*self._path, key, index)
                raise self._document.error(path, f"expected a string, got {shown(item)}")
            if not item.isascii() or "\0" in item:
                self._refuse_flaw(item, (key, index))
            strings.append(item)
        return tuple(strings)

    def choices(self, key: str, allowed: Collection[str]) -> tuple[str, ...]:
        """Return an array of strings, each one of `allowed`."""
        values = self.texts(key)
        for index, value in enumerate(values):
            if value not in allowed:
                problem = f"expected one of {', '.join(sorted(allowed))}, got {shown(value)}"
                raise self._document.error((*self._path, key, index), problem)
        return values

    def text_map(self, key: str) -> dict[str, str]:
        """Return an object of strings, empty when absent."""
        node = self.child(key)
        return {} if node is None else {name: node.text_value(name) for name in node.names()}

    def text_value(self, key: str) -> str:
        """Return a string that must be there, but may be empty: a value of a map."""
        if self._fields.get(key) is None:
            raise self._expected(key, "a string")
        return self.text(key)

    def _refuse_flaw(self, value: str, place: Path) -> None:
        flaw = _flaw_of(value)
        if flaw:
            raise self._document.error((*self._path, *place), flaw)

    # ---- booleans and numbers --------------------------------------------------------------
    def optional_flag(self, key: str) -> bool | None:
        """Return a boolean, or None when absent."""
        value = self._fields.get(key)
        if value is None or value is True or value is False:
            return value
        raise self._expected(key, "true or false")

    def flag(self, key: str) -> bool:
        """Return a boolean, false when absent."""
        return self.optional_flag(key) is True

    def optional_integer(self, key: str, limits: tuple[int, int]) -> int | None:
        """Return an integer within `limits`, or None when absent. As in Go, 1.0 is not one."""
        value = self._fields.get(key)
        if value is None:
            return None
        if type(value) is not int:
            raise self._expected(key, "an integer")
        low, high = limits
        if not low <= value <= high:
            raise self._expected(key, f"a number from {low} to {high}")
        return value

    def integer(self, key: str, limits: tuple[int, int]) -> int:
        """Return an integer within `limits`, 0 when absent: the zero value of a Go field."""
        return self.optional_integer(key, limits) or 0

    def required_integer(self, key: str, limits: tuple[int, int]) -> int:
        """Return an integer within `limits` that must be there."""
        value = self.optional_integer(key, limits)
        if value is None:
            raise self.error(key, "required")
        return value

    def integers(self, key: str, limits: tuple[int, int]) -> tuple[int, ...]:
        """Return an array of integers within `limits`, empty when absent."""
        value = self._fields.get(key)
        if value is None:
            return ()
        if not is_array(value):
            raise self._expected(key, "an array")
        low, high = limits
        numbers: list[int] = []
        for index, item in enumerate(value):
            if type(item) is not int or not low <= item <= high:
                problem = f"expected a number from {low} to {high}, got {shown(item)}"
                raise self._document.error((*self._path, key, index), problem)
            numbers.append(item)
        return tuple(numbers)

    # ---- objects ---------------------------------------------------------------------------
    def child(self, key: str) -> Node | None:
        """Return the object at `key`, or None when absent."""
        value = self._fields.get(key)
        if value is None:
            return None
        if not is_object(value):
            raise self._expected(key, "an object")
        return Node(value, (*self._path, key), self._document)

    def children(self, key: str) -> Iterator[Node]:
        """Yield the objects of the array at `key`; nothing when absent."""
        value = self._fields.get(key)
        if value is None:
            return
        if not is_array(value):
            raise self._expected(key, "an array")
        for index, item in enumerate(value):
            path = (*self._path, key, index)
            if not is_object(item):
                raise self._document.error(path, f"expected an object, got {shown(item)}")
            yield Node(item, path, self._document)

    def names(self) -> Iterator[str]:
        """Yield the field names, for an object whose names are data."""
        for name in self._fields:
            flaw = "may not be an empty name" if not name else _flaw_of(name)
            if flaw:
                raise self.error(name, flaw)
            yield name

    def entries(self, key: str) -> Iterator[tuple[str, Node]]:
        """Yield name and object of each field of the object at `key`; nothing when absent."""
        node = self.child(key)
        if node is None:
            return
        for name in node.names():
            child = node.child(name)
            if child is None:
                raise node.error(name, "expected an object, got null")
            yield name, child


def _hint_for_array(value: object) -> str:
    return f"write [{shown(value)}]" if isinstance(value, str) else ""


def node_of(text: str, where: str) -> tuple[Node, Document]:
    """Return the JSON object that `text` holds, and its document. Raises SpecError."""
    document = Document(text, where)
    try:
        value = jsontext.parse(text)
    except RecursionError:
        # Caught first: how deep is too deep is the interpreter's business, not the spec's.
        raise SpecError("invalid JSON: nested too deeply", where=where) from None
    except ValueError as error:
        from aisbx_runtime.oci.spec.locate import syntax_error

        raise syntax_error(text, where, str(error)) from None
    if not is_object(value):
        raise document.error((), f"expected an object, got {shown(value)}")
    return Node(value, (), document), document
