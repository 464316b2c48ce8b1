"""Run commands and tests on a host with unified cgroup v2, with or without systemd (root).

    python3 -m integration.lab run [--guest NAME] -- COMMAND...
    python3 -m integration.lab test [--guest NAME] [--stage NAME] [-- PYTEST WORDS...]
    python3 -m integration.lab shell | build | clean

Guest `host` is this machine's own root under another kernel, `old` the same under one of Debian's
oldest (its system calls are caught slowly: 5 times the time), `systemd` a Debian with the newest
engines, `own` that Debian in namespaces on this host's kernel, where criu works. All see the
checkout at its own path. What they write goes to their memory, except below the directories of
--write.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from integration.lab import cache, guest, machine, stages, terminal


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="integration.lab", description=__doc__.splitlines()[0])
    verbs = made.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run a command as root in a guest")
    shell = verbs.add_parser("shell", help="work in a guest")
    for verb in (run, shell):
        verb.add_argument("--guest", choices=machine.GUESTS, default="host")
        verb.add_argument("--write", action="append", default=[], metavar="DIRECTORY")
        verb.add_argument("--timeout", type=float, default=1800, metavar="SECONDS")
        verb.add_argument("--memory", type=int, default=3072, metavar="MB")
        verb.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]")
        help_text = "build the runtime for the guest's interpreter first (default: systemd)"
        verb.add_argument("--build", action=argparse.BooleanOptionalAction, help=help_text)
        verb.add_argument("--directory", default=os.getcwd(), help="where the command runs")
        verb.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    test = verbs.add_parser("test", help="run the stages, or tests of your own, and sum up")
    test.add_argument("--guest", choices=machine.GUESTS, default="", help="only in this guest")
    test.add_argument("--stage", action="append", default=[], choices=stages.NAMES)
    test.add_argument("--runtime", default="", help="another runtime under test: runc, crun")
    test.add_argument("--brief", action="store_true", help="the stages of `make test`")
    test.add_argument("--in-guest", action="store_true", help="even where this host needs none")
    test.add_argument("words", nargs=argparse.REMAINDER, help="paths and options for pytest")
    for verb in (run, shell, test):
        verb.add_argument("--kernel", choices=machine.KERNELS, default="debian")
        verb.add_argument("--processors", type=int, default=1, help="more than one: --kernel full")
    build = verbs.add_parser("build", help="fetch and build what the guests need")
    build.add_argument("--guest", choices=machine.GUESTS, default="systemd")
    build.add_argument("--kernel", choices=machine.KERNELS, default="debian")
    verbs.add_parser("clean", help="remove everything that was built")
    return made


def start(options: argparse.Namespace, words: list[str]) -> int:
    """Run the words in a guest, on the person's terminal or with their output to stdout."""
    on_terminal = options.verb == "shell"
    with machine.guest(
        options.guest,
        options.kernel,
        processors=options.processors,
        directory=os.path.abspath(options.directory),
        writable=tuple(os.path.abspath(path) for path in options.write),
        environment=machine.environment(options.env),
        memory_mb=options.memory,
        timeout_s=options.timeout,
        build=options.guest in machine.WITH_SYSTEMD if options.build is None else options.build,
    ) as made:
        return guest.run(made, words, terminal.Terminal() if on_terminal else terminal.Pipe())


def build(name: str, kernel: str) -> int:
    with machine.guest(name, kernel, directory="/") as made:
        cache.say(f"kernel: {made.kernel}")
        cache.say(f"root: {made.root}")
    return 0


def clean() -> int:
    for name in cache.prune(-1):
        cache.say(f"removed {name}")
    return 0


def main() -> int:
    options = parser().parse_args()
    if os.geteuid():
        raise SystemExit("lab: a guest needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.verb in {"build", "clean"}:
        return build(options.guest, options.kernel) if options.verb == "build" else clean()
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if options.verb == "test":
        selected = stages.chosen(options.stage, options.guest, words, brief=options.brief)
        kernel = stages.Kernel(name=options.kernel, processors=options.processors)
        return stages.run(selected, options.runtime, kernel, in_guest=options.in_guest)
    return start(options, words or ["bash", "-l"])


if __name__ == "__main__":
    sys.exit(main())
