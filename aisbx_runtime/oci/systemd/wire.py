"""D-Bus messages as bytes, little-endian. Pure; who sends and reads them is `bus`.

See the D-Bus specification 0.43, "Marshaling" and "Message Format". A value is a str, int, bool,
float or bytes, or a tuple of values for arrays and structs; a variant is (signature, value), a
dictionary a tuple of (key, value).
"""

from __future__ import annotations

from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = str | int | bool | float | bytes | tuple["Value", ...]

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
HEADER_BYTES = 16
MAX_BYTES = 1 << 27
_MAX_DEPTH = 32
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SENDER, _SIGNATURE = range(
    1, 9
)
# type -> (bytes, is signed)
INTEGERS = {
    "y": (1, False), "n": (2, True), "q": (2, False), "i": (4, True), "u": (4, False),
    "x": (8, True), "t": (8, False),
}  # fmt: skip
_ALIGNED = {
    "y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8,
    "s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1,
}  # fmt: skip


class WireError(ValueError):
    """Bytes that are no message, or a value that is not of its type."""


@record
class Message:
    """A message that came in. Fields it does not have are empty, or 0."""

    kind: int
    serial: int
    path: str
    interface: str
    member: str
    error_name: str
    reply_serial: int
    sender: str
    body: tuple[Value, ...]


# ---- writing -------------------------------------------------------------------------------------
def call(
    serial: int,
    destination: str,
    path: str,
    member: tuple[str, str],
    signature: str = "",
    values: tuple[Value, ...] = (),
) -> bytes:
    """Return the message that calls a method; `member` is (interface, name)."""
    body = bytearray()
    put_all(body, signature, values)
    fields: list[tuple[int, Value]] = [
        (_PATH, ("o", path)),
        (_INTERFACE, ("s", member[0])),
        (_MEMBER, ("s", member[1])),
        (_DESTINATION, ("s", destination)),
    ]
    if signature:
        fields.append((_SIGNATURE, ("g", signature)))
    out = bytearray([ord("l"), CALL, 0, 1])
    put_all(out, "uua(yv)", (len(body), serial, tuple(fields)))
    _pad(out, 8)
    return bytes(out + body)


def put_all(out: bytearray, signature: str, values: tuple[Value, ...]) -> None:
    """Append one value of each complete type. Raises WireError."""
    types = types_of(signature)
    if len(types) != len(values):
        raise WireError(f"{len(values)} values for {signature!r}")
    for one, value in zip(types, values, strict=True):
        _put(out, one, value)


def types_of(signature: str) -> list[str]:
    """Return the complete types that a signature is made of. Raises WireError."""
    found: list[str] = []
    at = 0
    while at < len(signature):
        end = _end_of_type(signature, at, 0)
        found.append(signature[at:end])
        at = end
    return found


def _end_of_type(signature: str, at: int, depth: int) -> int:
    kind = signature[at : at + 1]
    if depth > _MAX_DEPTH or kind not in _ALIGNED or not kind:
        raise WireError(f"{signature!r} is no signature")
    if kind == "a":
        return _end_of_type(signature, at + 1, depth + 1)
    if kind not in "({":
        return at + 1
    closing = ")" if kind == "(" else "}"
    first = at = at + 1
    while signature[at : at + 1] != closing:
        at = _end_of_type(signature, at, depth + 1)
    if at == first:
        raise WireError(f"{signature!r} is no signature")
    return at + 1


def _pad(out: bytearray, alignment: int) -> None:
    out.extend(bytes(-len(out) % alignment))


def _put(out: bytearray, kind: str, value: Value) -> None:
    first = kind[0]
    _pad(out, _ALIGNED[first])
    if first in INTEGERS or first == "b":
        _put_integer(out, first, value)
    elif first == "d" and isinstance(value, float):
        out.extend(_double(value))
    elif first in "sog" and isinstance(value, str):
        text = value.encode()
        if b"\0" in text:
            raise WireError(f"{value!r} has a zero byte")
        size = 1 if first == "g" else 4
        out.extend(len(text).to_bytes(size, "little") + text + b"\0")
    elif first == "v" and isinstance(value, tuple) and len(value) == 2:
        signature, inner = value
        _put(out, "g", signature)
        put_all(out, str(signature), (inner,))
    elif first == "a" and isinstance(value, tuple | bytes):
        _put_array(out, kind[1:], tuple(value))
    elif first in "({" and isinstance(value, tuple):
        put_all(out, kind[1:-1], value)
    else:
        raise WireError(f"{value!r} is not of the type {kind!r}")


def _put_integer(out: bytearray, kind: str, value: Value) -> None:
    if not isinstance(value, int) or (kind == "b") != isinstance(value, bool):
        raise WireError(f"{value!r} is not of the type {kind!r}")
    size, signed = INTEGERS.get(kind, (4, False))
    try:
        out.extend(value.to_bytes(size, "little", signed=signed))
    except OverflowError:
        raise WireError(f"{value} is out of range for the type {kind!r}") from None


def _double(value: float) -> bytes:
    import _struct

    return _struct.pack("<d", value)


def _put_array(out: bytearray, kind: str, values: tuple[Value, ...]) -> None:
    length_at = len(out)
    out.extend(bytes(4))
    _pad(out, _ALIGNED[kind[0]])
    begin = len(out)
    for value in values:
        _put(out, kind, value)
    out[length_at : length_at + 4] = (len(out) - begin).to_bytes(4, "little")


# ---- reading -------------------------------------------------------------------------------------
def size_of(data: bytes) -> int:
    """Return how long the message is that begins with these bytes, 0 while too few are there.

    Raises WireError.
    """
    if len(data) < HEADER_BYTES:
        return 0
    if data[:1] != b"l" or data[3] != 1:
        # Of other byte orders the brokers and systemd of x86-64 and aarch64 have none.
        raise WireError(f"{data[:4]!r} does not begin a message")
    body, fields = int.from_bytes(data[4:8], "little"), int.from_bytes(data[12:16], "little")
    whole = (HEADER_BYTES + fields + 7 & ~7) + body
    if whole > MAX_BYTES:
        raise WireError(f"a message of {whole} bytes")
    return whole


def message_of(data: bytes) -> Message:
    """Return the message that exactly these bytes are. Raises WireError."""
    reader = _Reader(data)
    header = reader.take_all("yyyyuua(yv)")
    fields: dict[object, Value] = {}
    array = header[6]
    for one in array if isinstance(array, tuple) else ():
        if isinstance(one, tuple) and isinstance(one[1], tuple):
            fields[one[0]] = one[1][1]
    reader.align(8)

    def text(code: int) -> str:
        value = fields.get(code, "")
        return value if isinstance(value, str) else ""

    reply = fields.get(_REPLY_SERIAL, 0)
    return Message(
        kind=data[1],
        serial=int.from_bytes(data[8:12], "little"),
        path=text(_PATH),
        interface=text(_INTERFACE),
        member=text(_MEMBER),
        error_name=text(_ERROR_NAME),
        reply_serial=reply if isinstance(reply, int) else 0,
        sender=text(_SENDER),
        body=reader.take_all(text(_SIGNATURE)),
    )


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def align(self, alignment: int) -> None:
        self._at += -self._at % alignment

    def take_all(self, signature: str, depth: int = 0) -> tuple[Value, ...]:
        return tuple([self._take(one, depth) for one in types_of(signature)])

    def _bytes(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise WireError("a message ends before its last value")
        self._at += size
        return found

    def _number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._bytes(size), "little", signed=signed)

    def _take(self, kind: str, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            raise WireError("values are nested too deeply")
        first = kind[0]
        self.align(_ALIGNED[first])
        if first == "v":
            signature = str(self._simple("g"))
            return (signature, *self.take_all(signature, depth + 1)[:1])
        if first == "a":
            return self._array(kind[1:], depth)
        if first in "({":
            return self.take_all(kind[1:-1], depth + 1)
        return self._simple(first)

    def _simple(self, kind: str) -> Value:
        if kind in INTEGERS:
            size, signed = INTEGERS[kind]
            return self._number(size, signed=signed)
        if kind == "b":
            return bool(self._number(4))
        if kind == "d":
            import _struct

            return float(_struct.unpack("<d", self._bytes(8))[0])
        size = self._number(1 if kind == "g" else 4)
        return self._bytes(size + 1)[:-1].decode(errors="replace")

    def _array(self, kind: str, depth: int) -> tuple[Value, ...]:
        size = self._number(4)
        self.align(_ALIGNED[kind[0]])
        end = self._at + size
        if end > len(self._data):
            raise WireError("a message ends before its last value")
        found: list[Value] = []
        while self._at < end:
            found.append(self._take(kind, depth + 1))
        return tuple(found)
