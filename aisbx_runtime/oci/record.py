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
else:

    def record(cls):
        fields = tuple(cls.__annotations__)
        known = frozenset(fields)
        defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}

        def __init__(self, *args, **kwargs):
            values = {**defaults, **dict(zip(fields, args)), **kwargs}
            if values.keys() != known or len(args) > len(fields):
                wrong = sorted(known ^ values.keys()) or "too many values"
                message = f"{cls.__name__}: missing or unknown fields: {wrong}"
                raise TypeError(message)
            self.__dict__.update(values)

        def __setattr__(self, name, _value):
            message = f"{cls.__name__}.{name} is frozen"
            raise AttributeError(message)

        def values_of(self):
            return tuple([self.__dict__[name] for name in fields])

        def __eq__(self, other):
            # Unlike a NamedTuple: two types with equal fields are different things.
            return type(other) is cls and values_of(self) == values_of(other)

        def __hash__(self):
            return hash((cls.__name__, *values_of(self)))

        def __repr__(self):
            shown = ", ".join([f"{name}={self.__dict__[name]!r}" for name in fields])
            return f"{cls.__name__}({shown})"

        cls.__init__ = __init__
        cls.__setattr__ = cls.__delattr__ = __setattr__
        cls.__eq__ = __eq__
        cls.__hash__ = __hash__
        cls.__repr__ = __repr__
        cls.__match_args__ = fields
        return cls
