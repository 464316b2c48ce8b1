"""What the runtime says: results on stdout, a failure once on stderr and once in the log.

Engines bind this (contract.md 0, 1 to 4): success is silent, a failure is one line and one JSON
object, and neither a closed stdout nor a log that cannot be opened changes the exit code.
"""

from __future__ import annotations

import time

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.errors import Failure
    from aisbx_runtime.oci.flags import Values

PROGRAM = "aisbx-runtime"


def out(text: str) -> None:
    """Write a result to stdout."""
    _write(1, text)


def _write(fd: int, text: str) -> None:
    rest = text.encode(errors="surrogateescape")
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        # Closed, or opened for reading only: there is nobody to tell.
        return


def printable(text: str) -> str:
    """Return `text` on one line, without what could steer a terminal: an image is quoted too."""
    if text.isprintable():
        return text
    return "".join(
        [one if one.isprintable() else one.encode("unicode_escape").decode() for one in text]
    )


def failed(failure: Failure, options: Values, subject: str) -> None:
    """Report a failure, the only time: on stderr, and in the file that --log names."""
    notes = [printable(note) for note in getattr(failure, "__notes__", ())]
    line = "; ".join([printable(failure.line()), *notes])
    head = f"{PROGRAM}: {printable(subject)}: " if subject else f"{PROGRAM}: "
    if _is_terminal(2):
        what = f"{failure.what}: {failure.why}" if failure.why else failure.what
        _write(2, f"{head}{'; '.join([printable(what), *notes])}\n")
        for label, text in (("at:", failure.where), ("hint:", failure.hint)):
            if text:
                _write(2, f"  {label:<6}{printable(text)}\n")
    else:
        _write(2, f"{head}{line}\n")
    fields = {"where": failure.where, "hint": failure.hint}
    _log(options, "error", line, {name: text for name, text in fields.items() if text})


def check_format(options: Values) -> None:
    """Refuse a format of the log that there is not. Raises UsageError."""
    word = options.text("log-format")
    if word not in {"", "text", "json"}:
        raise UsageError(f"--log-format {word}: no such format", hint="write text or json")


def debug(options: Values, message: str) -> None:
    """Log what is only asked for with --debug: an engine reads the log as one failure."""
    if options.flag("debug"):
        _log(options, "debug", printable(message), {})


def warning(options: Values, message: str) -> None:
    """Log what was ignored by a verb that has succeeded; without --log only --debug tells it.

    Never to stderr by itself, which may be the container's (contract.md 1), and never beside a
    failure: podman reads the log as one JSON object (contract.md 3).
    """
    if options.text("log") or options.flag("debug"):
        _log(options, "warning", printable(message), {})


def _log(options: Values, level: str, message: str, fields: dict[str, str]) -> None:
    path = options.text("log")
    if not path:
        if level != "error":
            _write(2, f"{level}: {message}\n")
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.text("log-format") == "json":
        entry = {"level": level, "time": now, "msg": message, **fields}
        text = jsontext.dump(entry)
    else:
        text = f'time="{now}" level={level} msg={jsontext.dump(message)}'
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        # containerd's last delete names a log whose directory is gone already.
        return
    _write(fd, text + "\n")
    os.close(fd)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
