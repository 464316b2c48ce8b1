"""Go-style command lines: engines write `-no-subreaper`, `--root=X` and `--systemd-cgroup=false`.

Reads words into values by a table; which verbs and flags there are lives in `cli`.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import NEEDS_ARGUMENT, UsageError
from aisbx_runtime.oci.record import record

BOOL, TEXT, NUMBER, LIST = "bool", "text", "number", "list"
# strconv.ParseBool
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@record
class Flag:
    """One flag: its names without dashes, the kind of its value, and a line for --help."""

    names: tuple[str, ...]
    kind: str
    help: str


class Values:
    """What a command line said: flags by their first name, and the words that are no flags."""

    def __init__(self) -> None:
        """Start empty: a flag that was not given is false, empty, 0."""
        self.given: dict[str, object] = {}
        self.repeated: dict[str, list[str]] = {}
        self.words: list[str] = []

    def flag(self, name: str) -> bool:
        """Return a bool flag."""
        return self.given.get(name) is True

    def text(self, name: str) -> str:
        """Return a text flag, empty when not given."""
        value = self.given.get(name, "")
        return value if isinstance(value, str) else ""

    def optional(self, name: str) -> str | None:
        """Return a text flag, None when not given."""
        return self.text(name) if name in self.given else None

    def number(self, name: str) -> int:
        """Return a number flag, 0 when not given."""
        value = self.given.get(name, 0)
        return value if isinstance(value, int) else 0

    def list(self, name: str) -> list[str]:
        """Return every value of a repeated flag."""
        return self.repeated.get(name, [])


def parse(words: list[str], table: tuple[Flag, ...], *, interspersed: bool) -> Values:
    """Return what `words` say. Without `interspersed` the first plain word ends the flags.

    Raises UsageError for an unknown flag, a missing or a bad value.
    """
    by_name = {name: flag for flag in table for name in flag.names}
    values = Values()
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            values.words.extend(words[index:])
            break
        if len(word) < 2 or word[0] != "-":
            values.words.append(word)
            if not interspersed:
                values.words.extend(words[index:])
                break
            continue
        name, equals, text = word[2 if word[1] == "-" else 1 :].partition("=")
        flag = by_name.get(name)
        if flag is None:
            raise UsageError(f"unknown flag {word.partition('=')[0]}", hint="see --help")
        if not equals and flag.kind != BOOL:
            if index >= len(words):
                raise UsageError(NEEDS_ARGUMENT.format(flag=word))
            text = words[index]
            index += 1
        _keep(values, flag, text if equals or flag.kind != BOOL else "true", word)
    return values


def _keep(values: Values, flag: Flag, text: str, word: str) -> None:
    name = flag.names[0]
    if flag.kind == BOOL:
        if text not in _TRUE | _FALSE:
            raise UsageError(f"{word}: expected true or false")
        values.given[name] = text in _TRUE
    elif flag.kind == NUMBER:
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise UsageError(f"{word}: expected a number, got {text!r}")
        values.given[name] = int(text)
    elif flag.kind == LIST:
        values.repeated.setdefault(name, []).append(text)
    else:
        values.given[name] = text
