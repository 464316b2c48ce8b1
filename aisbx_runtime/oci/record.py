"""Frozen value types that are cheap to import; no behaviour of the runtime lives here.

60 dataclasses cost 36 ms of every start, 60 records 3 ms (docs: architecture.md 4): `dataclasses`
imports `inspect` and compiles source for each class, `record` closes over the field names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, dataclass_transform

    _T = TypeVar("_T")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[_T]) -> type[_T]:
        """Make `cls` a frozen value type: its annotated fields, with their defaults."""
        return cls

    def replace(value: _T, /, **fields: object) -> _T:
        """Return the value with some of its fields changed."""
        del fields
        return value
else:

    def replace(value, /, **fields):
        """Return the value with some of its fields changed."""
        return type(value)(**{**value.__dict__, **fields})

    def record(cls):
        """Give `cls` the methods of a value; they are shared: a closure each would cost 20 us."""
        cls._fields = cls.__match_args__ = fields = tuple(cls.__annotations__)
        cls._names = frozenset(fields)
        known = cls.__dict__
        cls._defaults = {name: known[name] for name in fields if name in known}
        cls.__init__ = _init
        cls.__setattr__ = cls.__delattr__ = _refuse
        cls.__eq__ = _equal
        cls.__hash__ = _hash
        cls.__repr__ = _show
        return cls

    def _init(self, *args, **kwargs):
        fields = self._fields
        values = {**self._defaults, **dict(zip(fields, args, strict=False)), **kwargs}
        given = len(args) + len(kwargs)
        if (
            values.keys() != self._names
            or given > len(fields)
            or not kwargs.keys().isdisjoint(fields[: len(args)])
        ):
            wrong = sorted(set(fields) ^ values.keys()) or "too many values"
            message = f"{type(self).__name__}: missing or unknown fields: {wrong}"
            raise TypeError(message)
        self.__dict__.update(values)

    def _refuse(self, name, _value=None):
        message = f"{type(self).__name__}.{name} is frozen"
        raise AttributeError(message)

    def _values(self):
        return tuple([self.__dict__[name] for name in self._fields])

    def _equal(self, other):
        # Unlike a NamedTuple: two types with equal fields are different things.
        return type(other) is type(self) and _values(self) == _values(other)

    def _hash(self):
        return hash((type(self).__name__, *_values(self)))

    def _show(self):
        shown = ", ".join([f"{name}={self.__dict__[name]!r}" for name in self._fields])
        return f"{type(self).__name__}({shown})"
