"""Run commands and tests on a host with unified cgroup v2, with or without systemd (root).

    python3 -m integration.lab run [--guest host|systemd] -- COMMAND...
    python3 -m integration.lab shell | build | clean
    python3 -m integration.lab test [STAGE...]

Guest `host` is this machine's own root under another kernel, `systemd` a Debian with the newest
engines. Both see the checkout at its own path. What they write goes to their memory, except below
the directories of --write.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from integration.lab import cache, guest, kernel, root, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUESTS = ("host", "systemd")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="integration.lab", description=__doc__.splitlines()[0])
    verbs = made.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run a command as root in a guest")
    shell = verbs.add_parser("shell", help="work in a guest")
    for verb in (run, shell):
        verb.add_argument("--guest", choices=GUESTS, default="host")
        verb.add_argument("--write", action="append", default=[], metavar="DIRECTORY")
        verb.add_argument("--timeout", type=float, default=1800, metavar="SECONDS")
        verb.add_argument("--memory", type=int, default=3072, metavar="MB")
        verb.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]")
        verb.add_argument("--no-build", action="store_true", help="of the runtime (systemd)")
        verb.add_argument("--directory", default=os.getcwd(), help="where the command runs")
        verb.add_argument("command", nargs=argparse.REMAINDER)
    build = verbs.add_parser("build", help="fetch and build what the guests need")
    build.add_argument("guests", nargs="*", choices=[*GUESTS, []], default=list(GUESTS))
    verbs.add_parser("clean", help="remove everything that was built")
    return made


def environment(words: list[str]) -> dict[str, str]:
    """Return the environment of a command in a guest; NAME alone takes the caller's value."""
    values = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
    }
    for word in words:
        name, equals, value = word.partition("=")
        values[name] = value if equals else os.environ.get(name, "")
    return values


def refuse_where_lacking(reason: str) -> None:
    if reason:
        raise SystemExit(f"lab: {reason}")


@contextlib.contextmanager
def described(options: argparse.Namespace) -> Iterator[guest.Guest]:
    """Yield the guest of the options, with everything built that it needs."""
    refuse_where_lacking(kernel.lacks())
    cache.prune()
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(cache.used(kernel.name(), kernel.build))
        top = "/"
        if options.guest == "systemd":
            refuse_where_lacking(root.lacks())
            top = stack.enter_context(cache.used(root.name(), root.build))
        yield guest.Guest(
            kernel=made,
            root=top,
            systemd=options.guest == "systemd",
            checkout=CHECKOUT,
            directory=os.path.abspath(options.directory),
            writable=tuple(os.path.abspath(path) for path in options.write),
            environment=environment(options.env),
            memory_mb=options.memory,
            timeout_s=options.timeout,
            build=options.guest == "systemd" and not options.no_build,
        )


def build(guests: list[str]) -> int:
    refuse_where_lacking(kernel.lacks())
    with cache.used(kernel.name(), kernel.build) as path:
        cache.say(f"kernel: {path}")
    if "systemd" in guests:
        refuse_where_lacking(root.lacks())
        with cache.used(root.name(), root.build) as path:
            cache.say(f"root of the guest with systemd: {path}")
    return 0


def main() -> int:
    options = parser().parse_args()
    if os.geteuid():
        raise SystemExit("lab: a guest needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.verb == "build":
        return build(options.guests)
    if options.verb == "clean":
        for name in cache.prune(-1):
            cache.say(f"removed {name}")
        return 0
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    with described(options) as machine:
        if options.verb == "shell":
            return guest.run(machine, words or ["bash", "-l"], terminal.Terminal())
        return guest.run(machine, words or ["true"], terminal.Pipe())


if __name__ == "__main__":
    sys.exit(main())
