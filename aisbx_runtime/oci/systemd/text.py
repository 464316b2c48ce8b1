"""Values as people write them in annotations: `uint64 10000000`, `'inactive'`, `['a', 'b']`. Pure.

The text form of GVariant (GLib, "GVariant Text Format"), of which runc and crun read about the
same part: numbers, booleans, strings, byte strings, arrays, tuples, dictionaries and variants, with
a type before a value by name (`uint64 5`) or by signature (`@at [5]`). Without a type a number is
an int32, or a double when it has a point or an exponent.
"""

from __future__ import annotations

from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.systemd.wire import INTEGERS, types_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.systemd.wire import Value

_TYPES = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u",
    "int64": "x", "uint64": "t", "double": "d", "string": "s",
    "objectpath": "o", "signature": "g",
}  # fmt: skip
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_UNICODE = {"u": 4, "U": 8}
_QUOTES = frozenset(("'", '"'))
_PAIRS = {"[": "]", "(": ")", "{": "}", "<": ">"}
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_MAX_DEPTH = 16
# What may be the type of which node, apart from numbers and what holds others.
_SIMPLE = {"string": "sog", "bytes": ("ay",), "boolean": "b", "variant": "v"}


@record
class _Node:
    """What was read, before its type is known.

    `kind` is number, string, bytes, boolean, array, tuple, dictionary, entry, variant or typed.
    """

    kind: str
    text: str = ""
    data: bytes = b""
    inner: tuple[_Node, ...] = ()


def value_of(text: str) -> tuple[str, Value]:
    """Return (signature, value). Raises ValueError whose text says what is wrong."""
    reader = _Reader(text)
    node = reader.node(0)
    reader.skip_space()
    if reader.at < len(text):
        raise ValueError(f"unexpected {text[reader.at :]!r} after the value")
    signature, _ = _inferred(node)
    return signature, _built(node, signature)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def skip_space(self) -> None:
        while self._text[self.at : self.at + 1].isspace():
            self.at += 1

    def _peek(self) -> str:
        self.skip_space()
        return self._text[self.at : self.at + 1]

    def _expect(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise ValueError(f"expected {wanted!r}, got {self._text[self.at :] or 'the end'!r}")
        self.at += 1

    def node(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise ValueError("values are nested too deeply")
        first = self._peek()
        if first in _QUOTES:
            return _Node("string", self._quoted())
        if first == "@":
            self.at += 1
            return self._typed(self._signature(), depth)
        if first in _PAIRS:
            return self._several(first, depth)
        return self._word_node(depth)

    def _word_node(self, depth: int) -> _Node:
        word = self._word()
        if word == "b" and self._text[self.at : self.at + 1] in _QUOTES:
            # A byte string has a zero byte at its end.
            return _Node("bytes", data=self._quoted().encode("latin-1", "replace") + b"\0")
        if word in {"true", "false"}:
            return _Node("boolean", word)
        if word in _TYPES:
            return self._typed(_TYPES[word], depth)
        if not word or word[0] not in "0123456789+-.":
            raise ValueError(f"{word or self._text[self.at :]!r} is neither a value nor a type")
        return _Node("number", word)

    def _typed(self, signature: str, depth: int) -> _Node:
        return _Node("typed", signature, inner=(self.node(depth + 1),))

    def _word(self) -> str:
        begin = self.at
        while self.at < len(self._text) and self._text[self.at] in _WORD:
            self.at += 1
        return self._text[begin : self.at]

    def _signature(self) -> str:
        begin = self.at
        while self.at < len(self._text) and not self._text[self.at].isspace():
            self.at += 1
        signature = self._text[begin : self.at]
        if len(types_of(signature)) != 1:
            raise ValueError(f"@{signature} is not one type")
        return signature

    def _several(self, opening: str, depth: int) -> _Node:
        self.at += 1
        closing = _PAIRS[opening]
        found: list[_Node] = []
        while self._peek() != closing:
            if found:
                self._expect(",")
                if self._peek() == closing and opening == "(":
                    break
            found.append(self.node(depth + 1))
            if opening == "{":
                self._expect(":")
                found[-1] = _Node("entry", inner=(found[-1], self.node(depth + 1)))
        self.at += 1
        if opening == "<" and len(found) != 1:
            raise ValueError("a variant holds one value")
        kind = {"[": "array", "(": "tuple", "{": "dictionary", "<": "variant"}[opening]
        return _Node(kind, inner=tuple(found))

    def _quoted(self) -> str:
        quote = self._text[self.at]
        self.at += 1
        found = ""
        while self.at < len(self._text):
            character = self._text[self.at]
            self.at += 1
            if character == quote:
                return found
            found += self._escaped() if character == "\\" else character
        raise ValueError("a string does not end")

    def _escaped(self) -> str:
        character = self._text[self.at : self.at + 1]
        self.at += 1
        digits = _UNICODE.get(character)
        if digits is None:
            return _ESCAPES.get(character, character)
        code = self._text[self.at : self.at + digits]
        self.at += digits
        try:
            return chr(int(code, 16))
        except (ValueError, OverflowError):
            raise ValueError(f"\\{character}{code} is no character") from None


# ---- types ---------------------------------------------------------------------------------------
def _inferred(node: _Node) -> tuple[str, bool]:
    """Return the type of a value, and whether another could be meant, as of every number."""
    if node.kind == "typed":
        return node.text, False
    if node.kind == "number":
        real = any(one in node.text.lower() for one in ".e") and not _is_hex(node.text)
        return "d" if real else "i", True
    if node.kind in _SIMPLE:
        return _SIMPLE[node.kind][0], node.kind == "string"
    inner = [_inferred(one) for one in node.inner]
    weak = any(one[1] for one in inner)
    if node.kind == "tuple":
        return f"({''.join([one[0] for one in inner])})", weak
    if node.kind == "entry":
        return f"{{{inner[0][0]}{inner[1][0]}}}", weak
    if not inner:
        raise ValueError("an empty array or dictionary needs its type, such as @as []")
    # The first whose type is certain decides for all.
    best = next((one for one in inner if not one[1]), inner[0])
    return f"a{best[0]}", best[1]


def _built(node: _Node, signature: str) -> Value:
    if node.kind == "typed" and node.text == signature:
        return _built(node.inner[0], signature)
    if node.kind == "number":
        return _number(node.text, signature)
    if node.kind in _SIMPLE and signature in _SIMPLE[node.kind]:
        return _simple(node)
    inner = _types_within(node, signature)
    if len(inner) != len(node.inner):
        raise ValueError(f"a {node.kind}, where the type {signature!r} is expected")
    return tuple([_built(one, kind) for one, kind in zip(node.inner, inner, strict=True)])


def _simple(node: _Node) -> Value:
    if node.kind == "bytes":
        return node.data
    if node.kind == "boolean":
        return node.text == "true"
    if node.kind == "variant":
        inner, _ = _inferred(node.inner[0])
        return inner, _built(node.inner[0], inner)
    return node.text


def _types_within(node: _Node, signature: str) -> list[str]:
    """Return the type of each value within, none when they are of others."""
    if node.kind in {"array", "dictionary"} and signature[0] == "a":
        return [signature[1:]] * len(node.inner) if node.inner else []
    if (node.kind, signature[0]) in {("tuple", "("), ("entry", "{")}:
        return types_of(signature[1:-1])
    # Never as many as there are.
    return [""] * (len(node.inner) + 1)


def _is_hex(text: str) -> bool:
    return text.lstrip("+-").lower().startswith("0x")


def _number(text: str, signature: str) -> Value:
    if signature == "d":
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no number") from None
    if signature not in INTEGERS:
        raise ValueError(f"a number, where the type {signature!r} is expected")
    digits = text.lstrip("+-")
    base = 16 if _is_hex(text) else 8 if digits[:1] == "0" and len(digits) > 1 else 10
    try:
        number = int(text.replace("_", "?"), base)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None
    size, signed = INTEGERS[signature]
    try:
        number.to_bytes(size, "little", signed=signed)
    except OverflowError:
        raise ValueError(f"{text} is out of range for the type {signature!r}") from None
    return number
