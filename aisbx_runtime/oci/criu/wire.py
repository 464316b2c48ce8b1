"""Protocol buffers, as far as criu's messages need them: encoding and decoding fields.

Knows wire types, not messages: see protobuf.dev, "Encoding". Which fields there are: `messages`.
"""

from __future__ import annotations

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED_64: 8, _FIXED_32: 4}
_64_BITS = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first; a negative one has 64 bits."""
    rest = number & _64_BITS
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def number_field(tag: int, number: int) -> bytes:
    """Return a field of type bool, int32, uint32 or of an enumeration."""
    return varint(tag << 3 | _VARINT) + varint(number)


def bytes_field(tag: int, content: bytes) -> bytes:
    """Return a field of type string, or one that is a message."""
    return varint(tag << 3 | _BYTES) + varint(len(content)) + content


def fields_of(message: bytes) -> list[tuple[int, int | bytes]]:
    """Return the fields of a message in their order: (tag, number or content).

    Raises ValueError where it ends too early, or has a wire type that criu never sends.
    """
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        key, at = _varint_at(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint_at(message, at)
            fields.append((key >> 3, value))
            continue
        if kind == _BYTES:
            size, at = _varint_at(message, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            text = f"wire type {kind}"
            raise ValueError(text)
        if at + size > len(message):
            text = f"field {key >> 3} has {size} bytes, and {len(message) - at} are left"
            raise ValueError(text)
        fields.append((key >> 3, message[at : at + size]))
        at += size
    return fields


def contents_of(message: bytes, tag: int) -> list[bytes]:
    """Return every string or message that the field `tag` has. Raises ValueError."""
    found = fields_of(message)
    return [value for number, value in found if number == tag and isinstance(value, bytes)]


def _varint_at(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that starts at an index, and the index behind it."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & _64_BITS, at
    text = "a number without end"
    raise ValueError(text)


def signed(number: int) -> int:
    """Return a decoded number as the int32 that it stands for."""
    low = number & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low
