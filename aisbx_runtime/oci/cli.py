"""The program: argv -> one lifecycle function -> os._exit. Translates, and reports errors once.

What a verb does lives in `lifecycle`; only the module of the verb that is asked for is imported.
"""

from __future__ import annotations

import sys

from aisbx_runtime.oci import report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, UsageError, hint_of, why_of
from aisbx_runtime.oci.flags import BOOL, LIST, NUMBER, TEXT, Flag, Values, parse
from aisbx_runtime.oci.kernel.signal import reap_helper
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

GLOBAL_FLAGS = (
    Flag(("root",), TEXT, "directory for the state of containers (default /run/aisbx)"),
    Flag(("log",), TEXT, "file to append one line to when a call fails (default none)"),
    Flag(("log-format",), TEXT, "text or json (default text)"),
    Flag(("debug",), BOOL, "log warnings and every step as well"),
    Flag(("systemd-cgroup",), BOOL, "the same as --cgroup-manager systemd"),
    Flag(("cgroup-manager",), TEXT, "cgroupfs, systemd or disabled (default cgroupfs)"),
    Flag(("rootless",), TEXT, "true, false or auto; accepted: the kernel tells"),
    Flag(("version", "v"), BOOL, "print the version"),
    Flag(("help", "h"), BOOL, "print this help"),
)
_HELP = Flag(("help", "h"), BOOL, "print this help")
_BUNDLE = Flag(("bundle", "b"), TEXT, "directory of config.json (default: the current one)")
# What changes the plan of create.
_PLAN = (
    Flag(("no-pivot",), BOOL, "chroot instead of pivot_root, for an initramfs"),
    Flag(("no-new-keyring",), BOOL, "keep the caller's session keyring"),
)
_CREATE = (
    _BUNDLE,
    Flag(("config", "f"), TEXT, "file to read in place of the bundle's config.json"),
    Flag(("console-socket",), TEXT, "socket that receives the master end of the terminal"),
    Flag(("pid-file",), TEXT, "file to write the pid of container init to"),
    *_PLAN,
    Flag(("preserve-fds",), NUMBER, "pass this many file descriptors after 2 to the process"),
    Flag(("pidfd-socket",), TEXT, "socket that receives a pidfd of container init"),
)
_FORMAT = Flag(("format", "f"), TEXT, "table or json")
_UPDATE = (
    Flag(("resources", "r"), TEXT, "file with linux.resources as JSON, - is stdin"),
    Flag(("memory",), TEXT, "bytes, or such as 64M; -1 is no limit"),
    Flag(("memory-swap",), TEXT, "memory and swap together"),
    Flag(("memory-reservation",), TEXT, "what is kept when memory is short"),
    Flag(("kernel-memory",), TEXT, "accepted: it counts as memory"),
    Flag(("kernel-memory-tcp",), TEXT, "accepted: it counts as memory"),
    Flag(("cpu-share",), TEXT, "weight, 1024 is normal"),
    Flag(("cpu-period",), TEXT, "microseconds"),
    Flag(("cpu-quota",), TEXT, "microseconds of CPU in a period; -1 is no limit"),
    Flag(("cpu-burst",), TEXT, "microseconds that may be saved up"),
    Flag(("cpu-rt-period",), TEXT, "microseconds, for realtime processes"),
    Flag(("cpu-rt-runtime",), TEXT, "microseconds, for realtime processes"),
    Flag(("cpu-idle",), TEXT, "1: run only when nobody else wants to"),
    Flag(("cpuset-cpus",), TEXT, "CPUs, such as 0-2,5"),
    Flag(("cpuset-mems",), TEXT, "memory nodes"),
    Flag(("blkio-weight",), TEXT, "10 to 1000"),
    Flag(("pids-limit",), TEXT, "processes and threads; -1 is no limit"),
    Flag(("l3-cache-schema",), TEXT, "refused: there is no Intel RDT here"),
    Flag(("mem-bw-schema",), TEXT, "refused: there is no Intel RDT here"),
)


@record
class Command:
    """One verb: its module in `lifecycle`, how it is called, what it takes."""

    module: str
    usage: str
    help: str
    flags: tuple[Flag, ...] = ()
    least: int = 1
    most: int = 1
    interspersed: bool = True
    # Its module has the flags (FLAGS), and `require`, without which even its --help fails.
    depends: bool = False


COMMANDS = {
    "create": Command("create", "ID", "create a container and let it wait for start", _CREATE),
    "start": Command("start", "ID", "start the process of a created container"),
    "run": Command(
        "run", "ID | BUNDLE/", "create and start a container, wait for its end, delete it",
        (
            *_CREATE,
            Flag(("detach", "d"), BOOL, "return when the container runs"),
            Flag(("keep",), BOOL, "do not delete the container at its end"),
            Flag(("no-subreaper",), BOOL, "accepted: orphans are never reaped by the runtime"),
        ),
    ),
    "state": Command("state", "ID", "print the state of a container as JSON"),
    "kill": Command(
        "kill", "ID [SIGNAL]", "send a signal (default TERM) to container init",
        (Flag(("all", "a"), BOOL, "send it to all processes of the container"),), most=2,
    ),
    "delete": Command(
        "delete", "ID", "delete a stopped container",
        (
            Flag(("force", "f"), BOOL, "kill it first; an unknown id is fine"),
            Flag(("regex", "r"), BOOL, "ID is a regular expression: delete all that match"),
        ),
    ),
    "exec": Command(
        "exec", "ID [COMMAND ARG...]", "start one more process in a running container",
        (
            Flag(("process", "p"), TEXT, "file with the process as JSON"),
            Flag(("detach", "d"), BOOL, "return when the process runs"),
            Flag(("tty", "t"), BOOL, "give it a terminal"),
            Flag(("user", "u"), TEXT, "UID[:GID]"),
            Flag(("additional-gids", "g"), LIST, "supplementary group id, may be repeated"),
            Flag(("cwd",), TEXT, "working directory"),
            Flag(("env", "e"), LIST, "NAME=VALUE, may be repeated"),
            Flag(("cap", "c"), LIST, "capability to add, may be repeated"),
            Flag(("no-new-privs",), BOOL, "set no_new_privs"),
            Flag(("pid-file",), TEXT, "file to write the pid to"),
            Flag(("console-socket",), TEXT, "socket that receives the master of the terminal"),
            Flag(("preserve-fds",), NUMBER, "pass this many file descriptors after 2"),
            Flag(("pidfd-socket",), TEXT, "socket that receives a pidfd of the process"),
            Flag(("apparmor",), TEXT, "AppArmor profile, instead of the container's"),
            Flag(("process-label",), TEXT, "SELinux label, instead of the container's"),
            Flag(("cgroup",), LIST, "[CONTROLLER,...:]PATH below the container's cgroup"),
            Flag(("ignore-paused",), BOOL, "do not refuse a paused container"),
        ),
        most=1 << 20, interspersed=False,
    ),
    "pause": Command("pause", "ID", "freeze all processes of a container"),
    "resume": Command("pause", "ID", "let a paused container go on"),
    "update": Command("update", "ID", "change limits of a container that lives", _UPDATE),
    "events": Command(
        "events", "ID", "print figures every few seconds, and when memory runs out, until it ends",
        (
            Flag(("stats",), BOOL, "print the figures once and end"),
            Flag(("interval",), TEXT, "time between two of them, such as 5s (the default)"),
        ),
    ),
    "mounts": Command(
        "mounts", "add|remove ID FILE", "mount, or detach, what a JSON array of mounts lists",
        least=3, most=3,
    ),
    "checkpoint": Command(
        "checkpoint", "ID", "save a running container as files, by criu", depends=True
    ),
    "restore": Command(
        "restore", "ID", "start a container from what checkpoint saved", depends=True
    ),
    "list": Command(
        "list", "", "list the containers",
        (_FORMAT, Flag(("quiet", "q"), BOOL, "print only ids")), least=0, most=0,
    ),
    "ps": Command(
        "ps", "ID [PS-OPTION...]", "list the processes of a container",
        (_FORMAT,), most=1 << 20, interspersed=False,
    ),
    "spec": Command(
        "spec", "", "write a config.json to start from",
        (_BUNDLE, Flag(("rootless",), BOOL, "for a user without privileges")), least=0, most=0,
    ),
    "features": Command("features", "", "print what this runtime can do as JSON", (), 0, 0),
    "plan": Command(
        "plan", "BUNDLE", "print what create would do, and do nothing",
        (Flag(("format", "f"), TEXT, "text or json"), *_PLAN), least=0,
    ),
    "validate": Command("validate", "BUNDLE", "report every error of a config.json", (), 0),
    "explain": Command(
        "explain", "BUNDLE", "say in words what the sandbox allows, and what could let it out",
        (Flag(("format", "f"), TEXT, "text or json"),), least=0,
    ),
    "doctor": Command(
        "doctor", "", "tell what this host can and cannot enforce, and the remedy",
        (Flag(("json",), BOOL, "print it as JSON"),), least=0, most=0,
    ),
    "register": Command(
        "register", "podman|containerd|docker|buildah|cri-o",
        "tell an engine of this runtime, and start a container through it",
        (
            Flag(("print",), BOOL, "print what would be written, and write nothing"),
            Flag(("remove",), BOOL, "take back what register wrote"),
            Flag(("no-check",), BOOL, "start no container"),
            Flag(("format", "f"), TEXT, "text or json"),
        ),
    ),
}  # fmt: skip


@record
class Call:
    """One call of the runtime, as the verbs see it."""

    options: Values
    values: Values
    verb: str
    helper: int = 0

    def root(self) -> str:
        """Return the directory of the containers."""
        from aisbx_runtime.oci.container import root_directory

        return root_directory(self.options.text("root"))

    def cgroup_manager(self) -> str:
        """Return cgroupfs, systemd or disabled. Raises UsageError for another word."""
        manager = self.options.text("cgroup-manager") or "cgroupfs"
        if manager not in {"cgroupfs", "systemd", "disabled"}:
            raise UsageError(
                f"--cgroup-manager {manager}: no such manager",
                hint="write cgroupfs, systemd or disabled",
            )
        return "systemd" if self.options.flag("systemd-cgroup") else manager


def main(words: list[str], helper: int = 0) -> NoReturn:
    """Carry out one call and end the process with its exit code.

    `helper` is a child of ours, see `launch`, to be reaped before the end; 0: there is none.
    """
    code = 1
    options = Values()
    subject = ""
    try:
        options = parse(words, GLOBAL_FLAGS, interspersed=False)
        subject = " ".join(options.words[:1])
        code = _dispatch(options, helper)
    except Failure as failure:
        code = failure.exit_code
        report.failed(failure, options, subject)
    except OSError as error:
        unforeseen = Failure(f"cannot {subject}", why=why_of(error), hint=hint_of(error))
        for note in getattr(error, "__notes__", ()):
            unforeseen.add_note(note)
        report.failed(unforeseen, options, subject)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001  (the top: a defect is reported like any failure)
        report.failed(_defect(error), options, subject)
    finally:
        reap_helper(helper)
        # Not exit(): the interpreter's own end takes 2 ms, and fails with 120 where stdout is
        # not writable (contract.md 4).
        os._exit(code)


def _defect(error: Exception) -> Failure:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace is not None else None
    place = f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}" if code and trace else ""
    return Failure(
        f"{type(error).__name__}: {error}",
        where=place,
        hint="this is a defect of the runtime: report it with this line",
    )


def _dispatch(options: Values, helper: int) -> int:
    if options.flag("version"):
        from aisbx_runtime.oci.lifecycle import version

        return version.show()
    if options.flag("help") or not options.words:
        report.out(usage())
        return 0 if options.flag("help") else 1
    report.check_format(options)
    verb = options.words[0]
    if verb == "help":
        report.out(usage())
        return 0
    command = COMMANDS.get(verb)
    if command is None:
        raise UsageError(f"unknown command {verb!r}", hint="see aisbx-runtime --help")
    flags = (*_flags_of(command), _HELP)
    values = parse(options.words[1:], flags, interspersed=command.interspersed)
    if values.flag("help"):
        if command.depends:
            _module_of(command).require()
        report.out(usage_of(verb, command))
        return 0
    if not command.least <= len(values.words) <= command.most:
        raise UsageError(
            f"{verb}: expected {command.usage or 'no argument'}, got {len(values.words)} words",
            hint=f"see aisbx-runtime {verb} --help",
        )
    return int(_module_of(command).main(Call(options, values, verb, helper)))


def _module_of(command: Command) -> ModuleType:
    name = f"aisbx_runtime.oci.lifecycle.{command.module}"
    __import__(name)
    return sys.modules[name]


def _flags_of(command: Command) -> tuple[Flag, ...]:
    # Tables of verbs that are rare: no other verb is to pay for them.
    if not command.depends:
        return command.flags
    flags: tuple[Flag, ...] = _module_of(command).FLAGS
    return flags


def usage() -> str:
    """Return the help of the program."""
    lines = ["usage: aisbx-runtime [FLAG...] COMMAND [FLAG...] [ARGUMENT...]", "", "commands:"]
    lines.extend([f"  {verb:<10} {command.help}" for verb, command in COMMANDS.items()])
    return "\n".join([*lines, "", "flags before the command:", *_flag_lines(GLOBAL_FLAGS), ""])


def usage_of(verb: str, command: Command) -> str:
    """Return the help of one command."""
    flags = (*_flags_of(command), _HELP)
    lines = [f"usage: aisbx-runtime {verb} [FLAG...] {command.usage}".rstrip(), command.help]
    return "\n".join([*lines, "", "flags:", *_flag_lines(flags), ""])


def _flag_lines(flags: tuple[Flag, ...]) -> list[str]:
    lines: list[str] = []
    for flag in flags:
        names = ", ".join([f"--{name}" if len(name) > 1 else f"-{name}" for name in flag.names])
        value = "" if flag.kind == BOOL else f" {flag.kind.upper()}"
        lines.append(f"  {names + value:<26} {flag.help}")
    return lines
