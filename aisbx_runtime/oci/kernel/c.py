"""The few names of `ctypes` that the wrappers use, from the C module below it.

`import ctypes` costs 3 ms of every start: it imports `struct` and `types` and makes forty types.
Its own C module `_ctypes`, there in CPython 3.11 to 3.14, has all that a system call needs. The
names and their meaning are those of `ctypes`, which type checkers see in place of this module.
"""

# pyright: basic, reportCallIssue=false, reportArgumentType=false
# mypy: ignore-errors
from __future__ import annotations

import _ctypes
from _ctypes import Structure, addressof, byref, get_errno, sizeof

__all__ = ["PyDLL", "Structure", "addressof", "byref", "get_errno", "pythonapi", "sizeof"]


def _simple(name, code):
    return type(_ctypes._SimpleCData)(name, (_ctypes._SimpleCData,), {"_type_": code})


c_char = _simple("c_char", "c")
c_char_p = _simple("c_char_p", "z")
c_int = _simple("c_int", "i")
c_long = _simple("c_long", "l")
c_uint = _simple("c_uint", "I")
c_ulong = _simple("c_ulong", "L")
c_ushort = _simple("c_ushort", "H")
c_uint32 = c_uint
# LP64, the only data model of the architectures that the stub knows.
c_size_t = c_uint64 = c_ulong


class _Function(_ctypes.CFuncPtr):
    """A function of C that keeps the GIL, keeps errno aside, and returns an int."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = c_int


class PyDLL:
    """The functions that are linked into this process, by attribute."""

    def __init__(self, name, *, use_errno=True):
        """Open the process itself; no other library is ever loaded here."""
        del use_errno
        self._handle = _ctypes.dlopen(name, 0)

    def __getattr__(self, name):
        function = _Function((name, self))
        setattr(self, name, function)
        return function


def create_string_buffer(content, size):
    """Return `size` bytes of memory that start with `content`."""
    buffer = (c_char * size)()
    buffer.value = content if len(content) < size else b""
    if len(content) >= size:
        buffer.raw = content[:size]
    return buffer


pythonapi = PyDLL(None)
