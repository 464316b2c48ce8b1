"""One bundle under one runtime: created, looked at, started, entered, ended, deleted."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from typing import TYPE_CHECKING, Any

from integration.bundle import Bundle
from integration.differential import outside, report
from integration.leaks import reap
from integration.runtime import TIMEOUT_S, Result, call
from integration.terminal import ConsoleSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.differential.views import View

UNNAMED = re.compile(r"\S*/#\d+ \(deleted\)")
SENTENCES = ("no such file or directory", "not found", "permission denied", "does not exist")


class Template:
    """The smallest rootfs: the probe, a shell, and the usual directories."""

    def __init__(self, probe: str, busybox: str) -> None:
        self.probe, self.busybox = probe, busybox

    def fill(self, rootfs: str) -> None:
        for name in ["bin", "dev", "etc", "home", "opt", "proc", "srv", "sys", "tmp", "var"]:
            os.mkdir(f"{rootfs}/{name}")
        os.chmod(f"{rootfs}/tmp", 0o1777)
        os.link(self.probe, f"{rootfs}/probe")
        os.link(self.busybox, f"{rootfs}/bin/busybox")
        os.symlink("busybox", f"{rootfs}/bin/sh")
        for name, text in (("passwd", "root:x:0:0::/root:/bin/sh\n"), ("group", "root:x:0:\n")):
            with open(f"{rootfs}/etc/{name}", "w") as out:
                out.write(text)


class Subject(Bundle):
    """A bundle whose program is the probe."""

    def __init__(self, path: str, container_id: str, template: Any, view: View) -> None:
        super().__init__(path, container_id, template)
        self.view = view
        self.questions: list[str] = []
        self.caller: list[str] = []  # a program that starts the runtime
        self.flags: list[str] = []
        self.exec_words: list[list[str]] = []
        self.args("/probe", "two words", "")

    def ask(self, verb: str, *paths: str) -> Subject:
        self.questions += [f"{verb} {path}" for path in paths]
        return self

    def ask_all(self) -> None:
        """Ask for every path that config.json names."""
        linux = self.config["linux"]
        for key in ("maskedPaths", "readonlyPaths"):
            self.ask("try", *linux.get(key, []))
        self.ask("try", "/", *[one["destination"] for one in self.config["mounts"]])
        self.ask("read", *[f"/proc/sys/{key.replace('.', '/')}" for key in linux.get("sysctl", {})])
        if os.path.isdir(self.rootfs):
            self.file("ask", "".join(f"{line}\n" for line in self.questions))


class Pipes:
    """Input and output of a process in the container: the input is held open until it may end."""

    def __init__(self) -> None:
        self.stdin, self._hold = os.pipe()
        self._output, self.stdout = os.pipe()
        for fd in (self.stdin, self.stdout):
            os.set_inheritable(fd, False)

    def report(self) -> str:
        """Return what was written up to the line `end`, or until all writers are gone."""
        os.close(self.stdin)
        os.close(self.stdout)
        return read_report(self._output)

    def let_end(self) -> None:
        os.close(self._hold)
        os.close(self._output)


def read_report(fd: int) -> str:
    text = b""
    deadline = time.monotonic() + TIMEOUT_S
    while b"\nend\t" not in text:
        readable, _, _ = select.select([fd], [], [], deadline - time.monotonic())
        assert readable, f"no end in {text[-300:]!r}"
        try:
            chunk = os.read(fd, 1 << 16)
        except OSError:  # EIO: nobody holds the terminal any more, pty(7)
            chunk = b""
        if not chunk:
            break
        text += chunk
    return text.decode(errors="replace")


class Trial:
    """A runtime and a subject; `facts` grows with every step."""

    def __init__(self, program: str, root: str, subject: Subject, words: list[str]) -> None:
        self.subject = subject
        self.prefix = [*subject.view.prefix, *words, program, "--root", root]
        self.facts: outside.Facts = {}

    def verb(self, *words: str, **options: Any) -> Result:
        return call([*self.prefix, *words], **options)

    def note(self, what: str, result: Result) -> bool:
        """Note how a verb ended, and what engines would make of its words."""
        self.facts[what] = "ok" if result.code == 0 else f"fails with {result.code}"
        if result.code:
            said = result.message.lower()
            words = [one for one in SENTENCES if one in said]
            self.facts[f"{what} says"] = ", ".join(words)
        elif result.err.strip():
            self.facts[f"{what} warns"] = "yes"
        return result.code == 0

    def add(self, prefix: str, facts: outside.Facts) -> None:
        self.facts.update({f"{prefix} {key}": value for key, value in facts.items()})

    def state(self, when: str) -> None:
        result = self.verb("state", self.subject.id)
        if result.code:
            self.facts[f"state {when}"] = f"fails with {result.code}"
        else:
            self.facts.update(report.state_facts(when, result.out))

    def go(self) -> outside.Facts:
        """Lead the container through its life and return all facts."""
        subject = self.subject
        subject.save()
        if subject.config["process"].get("terminal"):
            console = ConsoleSocket(f"{subject.path}/console")
            try:
                self._with_terminal(console)
            finally:
                console.close()
        else:
            self._with_pipes()
        self.add("rootfs", outside.tree(subject.rootfs))
        return {self._plain(key): self._plain(value) for key, value in self.facts.items()}

    def _plain(self, text: str) -> str:
        """Return a text without what differs from run to run."""
        known = text.replace(self.subject.path, "BUNDLE").replace(self.subject.id, "ID")
        return UNNAMED.sub("a file", known)

    def _create(self, *flags: str, **options: Any) -> int | None:
        subject = self.subject
        words = ["create", "--bundle", subject.path, "--pid-file", f"{subject.path}/pid"]
        argv = [*subject.caller, *self.prefix, *words, *subject.flags, *flags, subject.id]
        if not self.note("create", call(argv, **options)):
            self.state("after a failed create")
            self.verb("delete", "--force", subject.id)
            return None
        with open(f"{subject.path}/pid") as text:
            return int(text.read())

    def _with_pipes(self) -> None:
        pipes = Pipes()
        pid = self._create(stdin=pipes.stdin, stdout=pipes.stdout)
        if pid is None:
            pipes.report()
            pipes.let_end()
        else:
            self._live(pid, pipes.report, pipes.let_end)

    def _with_terminal(self, console: ConsoleSocket) -> None:
        # Not /dev/null as the caller's stdin: crun gives it to the user, on the host.
        unused, other = os.pipe()
        pid = self._create("--console-socket", console.path, stdin=unused)
        os.close(unused)
        os.close(other)
        if pid is not None:
            master = console.take()
            self._live(pid, lambda: read_report(master), lambda: end_line(master))

    def _live(self, pid: int, read: Callable[[], str], let_end: Callable[[], None]) -> None:
        subject = self.subject
        pidfd = os.pidfd_open(pid)
        try:
            self.state("created")
            self.add("created", outside.cgroup_files(pid, subject.id))
            self.note("start", self.verb("start", subject.id))
            text = read()
            if "\nend\t" in text:
                self.add("init", report.facts_of(text, is_init=True))
                self.add("init", outside.process(pid))
                self.state("running")
                for number, words in enumerate(subject.exec_words):
                    kind = "exec of a file" if "--process" in words else "exec"
                    self._enter(f"{kind} {number}", words, pid)
            let_end()
            self.facts["exit"] = ended(pid, pidfd)
            self.state("stopped")
            self.note("delete", self.verb("delete", subject.id))
        finally:
            os.close(pidfd)

    def _enter(self, name: str, words: list[str], init: int) -> None:
        pipes = Pipes()
        subject = self.subject
        file = f"{subject.path}/exec-pid"
        flags, command = words[: words.index("--")], words[words.index("--") + 1 :]
        argv = ["exec", "--detach", "--pid-file", file, *flags, subject.id, *command]
        done = self.verb(*argv, stdin=pipes.stdin, stdout=pipes.stdout)
        entered = self.note(name, done)
        text = pipes.report()
        if entered and "\nend\t" in text:
            with open(file) as number:
                pid = int(number.read())
            pidfd = os.pidfd_open(pid)
            self.add(name, report.facts_of(text, is_init=False))
            self.add(name, outside.process(pid, init))
            pipes.let_end()
            self.facts[f"{name} exit"] = ended(pid, pidfd)
            os.close(pidfd)
        else:
            pipes.let_end()


def end_line(master: int) -> None:
    os.write(master, b"\n")


def ended(pid: int, pidfd: int) -> str:
    """Reap a process that became ours, and return how it ended."""
    deadline = time.monotonic() + TIMEOUT_S
    while not select.select([pidfd], [], [], 0.02)[0]:
        reap({pid})  # pid_namespaces(7): its init waits for those that became our children
        assert time.monotonic() < deadline, "did not end"
    status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert status is not None
    if status.si_code == os.CLD_EXITED:
        return f"exit {status.si_status}"
    return f"signal {signal.Signals(status.si_status).name}"
