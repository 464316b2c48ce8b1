"""What `aisbx run` takes: one table, read here for a quick start and by cli for click and its help.

C modules only, as in `start`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = str | bool | tuple[str, ...] | None

FLAG = "flag"
TEXT = "text"
LIST = "list"


class Option:
    """One option: `--name`; the letter for short, or nothing."""

    __slots__ = ("help", "kind", "letter", "metavar", "name")

    def __init__(self, name: str, letter: str, kind: str, metavar: str, text: str) -> None:
        self.name = name
        self.letter = letter
        self.kind = kind
        self.metavar = metavar
        self.help = text

    def key(self) -> str:
        """Return the name of the parameter."""
        return self.name.replace("-", "_")

    def empty(self) -> Value:
        """Return the value of an option that was not given."""
        return {FLAG: False, TEXT: None, LIST: ()}[self.kind]


# What shapes a sandbox: `run`, `bundle create`, `snapshot restore` take these.
SHAPE = (
    Option("env", "e", LIST, "NAME[=VALUE]", "Set a variable; without a value, the caller's own."),
    Option("user", "u", TEXT, "USER[:GROUP]", "Run as this user (default: the image's)."),
    Option("workdir", "w", TEXT, "DIR", "Begin in this directory (default: the image's)."),
    Option("entrypoint", "", TEXT, "PROGRAM", "Use this in place of the image's entrypoint."),
    Option("hostname", "", TEXT, "NAME", "Host name inside (default: the sandbox's name)."),
    Option("volume", "v", LIST, "DIR:PATH[:ro]", "Show a directory of this machine inside."),
    Option("memory", "m", TEXT, "SIZE", "Most memory, such as 512M (default: no limit)."),
    Option("cpus", "", TEXT, "NUMBER", "Most CPU time, such as 1.5 CPUs (default: no limit)."),
    Option("pids", "", TEXT, "NUMBER", "Most processes and threads (default: 4096; -1: any)."),
    Option("userns", "", TEXT, "auto|UID:COUNT", "Map its users to others of this machine."),
)  # fmt: skip
RUN = (
    Option("name", "", TEXT, "NAME", "Name of the sandbox (default: made up)."),
    Option("detach", "d", FLAG, "", "Return when it runs; see `logs` and `destroy`."),
    Option("keep", "", FLAG, "", "Keep the sandbox and its files when the program ends."),
    Option("tty", "t", FLAG, "", "Give it a terminal (default: where stdin and stdout are one)."),
    *SHAPE,
)


class Request:
    """A sandbox as it was asked for."""

    __slots__ = ("command", "reference", "values")

    def __init__(self, reference: str, command: list[str], values: dict[str, Value]) -> None:
        self.reference = reference
        self.command = command
        self.values = values

    def flag(self, key: str) -> bool:
        """Return whether a flag was given."""
        return self.values.get(key) is True

    def text(self, key: str) -> str | None:
        """Return an option's text, or None."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return what an option was given, each time."""
        value = self.values.get(key)
        return value if isinstance(value, tuple) else ()


def defaults(options: tuple[Option, ...]) -> dict[str, Value]:
    """Return the values of a call without options."""
    return {option.key(): option.empty() for option in options}


def quickly_parsed(words: list[str]) -> Request | None:
    """Return what the words after `run` ask for, or None for what click is to judge.

    The same as click makes of them: options end at the first word that is none, which is the
    image; a `--` after it is not the command's.
    """
    named = {f"--{option.name}": option for option in RUN}
    named.update({f"-{option.letter}": option for option in RUN if option.letter})
    values = defaults(RUN)
    position = 0
    while position < len(words) and words[position].startswith("-"):
        name, equals, value = words[position].partition("=")
        option = named.get(name)
        # `-e=x` and `-dt` are for click.
        if option is None or (equals and not name.startswith("--")):
            return None
        position += 1
        if option.kind == FLAG:
            if equals:
                return None
            values[option.key()] = True
            continue
        if not equals:
            if position == len(words):
                return None
            value = words[position]
            position += 1
        given = values[option.key()]
        values[option.key()] = (*given, value) if isinstance(given, tuple) else value
    if position == len(words):
        return None
    rest = words[position + 1 :]
    return Request(words[position], rest[1:] if rest[:1] == ["--"] else rest, values)
