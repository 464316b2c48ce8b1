"""The binary under test, called as engines call it; and a container it made."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from integration.leaks import reap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.bundle import Bundle

TIMEOUT_S = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Result:
    """What a finished program left: its exit code and its two outputs."""

    def __init__(self, argv: Sequence[str], code: int, out: str, err: str) -> None:
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)}\n  exit {self.code}\n  out {self.out!r}\n  err {self.err!r}"

    def ok(self) -> Result:
        assert self.code == 0, self
        return self

    @property
    def message(self) -> str:
        """Return stderr without the quoting of log lines."""
        return self.err.replace('\\"', '"')

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def call(argv: Sequence[str], **options: Any) -> Result:
    """Run a program to its end; its outputs go to files, which containers may keep open."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("env", {"PATH": PATH})
    timeout = options.pop("timeout", TIMEOUT_S)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        options.setdefault("stdout", out)
        options.setdefault("stderr", err)
        text = options.pop("text", None)
        if text is not None:
            options["stdin"] = subprocess.PIPE
        with subprocess.Popen(argv, **options) as process:
            try:
                process.communicate(None if text is None else text.encode(), timeout)
            except BaseException:
                process.kill()
                raise
        out.seek(0)
        err.seek(0)
        written = [stream.read().decode(errors="replace") for stream in (out, err)]
        return Result(argv, process.returncode, *written)


class Runtime:
    """A runtime binary with a state root of its own."""

    def __init__(self, program: str, root: str) -> None:
        self.program = program
        self.root = root
        self.made: list[str] = []

    @property
    def name(self) -> str:
        """Return the first word of --version: only for documented differences."""
        return self("--version").ok().out.split()[0]

    def argv(self, *words: str) -> list[str]:
        return [self.program, "--root", self.root, *words]

    def __call__(self, *words: str, **options: Any) -> Result:
        return call(self.argv(*words), **options)

    def create(self, bundle: Bundle, *flags: str, **options: Any) -> Container:
        """Create a container, which must succeed in silence."""
        result = self.try_create(bundle, *flags, **options)
        result.ok()

        assert (result.out, result.err) == ("", "")
        return Container(self, bundle)

    def try_create(self, bundle: Bundle, *flags: str, **options: Any) -> Result:
        bundle.save()
        self.made.append(bundle.id)
        words = ["create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid"]
        return self(*words, *flags, bundle.id, **options)

    def run(self, bundle: Bundle, script: str | None = None, *flags: str, **options: Any) -> Result:
        """Run a script in the foreground and return what it wrote and its exit code."""
        if script is not None:
            bundle.script(script)
        bundle.save()
        self.made.append(bundle.id)
        return self("run", "--bundle", bundle.path, *flags, bundle.id, **options)

    def started(self, bundle: Bundle, script: str = "exec sleep 1000", **options: Any) -> Container:
        bundle.script(script)
        container = self.create(bundle, **options)
        container.start()
        return container

    def ready(self, bundle: Bundle, script: str, **options: Any) -> Container:
        """Start a script and return when it has written its first line, `ready`."""
        read_fd, write_fd = os.pipe()
        try:
            container = self.started(bundle, script, stdout=write_fd, **options)
        finally:
            os.close(write_fd)
        try:
            readable, _, _ = select.select([read_fd], [], [], TIMEOUT_S)
            assert readable, "nothing written"
            assert os.read(read_fd, 4096).startswith(b"ready")
        finally:
            os.close(read_fd)
        return container

    def clean(self, spared: set[int]) -> None:
        """Delete what was made, reaping as an engine does; the spared processes live on.

        The init of a pid namespace cannot end before exec'd processes, our children, are reaped:
        pid_namespaces(7).
        """
        for container_id in dict.fromkeys(self.made):
            argv = self.argv("delete", "--force", container_id)
            with subprocess.Popen(argv, stderr=subprocess.DEVNULL, env={"PATH": PATH}) as process:
                pidfd = os.pidfd_open(process.pid)
                deadline = time.monotonic() + TIMEOUT_S / 3
                while not select.select([pidfd], [], [], 0.02)[0]:
                    reap(spared | {process.pid})
                    if time.monotonic() > deadline:
                        process.kill()  # the leak check will tell what is left
                os.close(pidfd)


class Container:
    """A created container: its init is a child of this process, held by pidfd."""

    def __init__(self, runtime: Runtime, bundle: Bundle) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = bundle.id
        with open(f"{bundle.path}/pid") as text:
            self.pid = int(text.read())
        self._pidfd = os.pidfd_open(self.pid)

    def __del__(self) -> None:
        os.close(self._pidfd)

    def verb(self, *words: str, **options: Any) -> Result:
        """Call VERB [FLAGS] ID; a success must be silent unless it is there to print."""
        return self.runtime(*words, self.id, **options)

    def start(self, **options: Any) -> Container:
        result = self.verb("start", **options).ok()

        assert (result.out, result.err) == ("", "")
        return self

    def kill(self, signal: str = "KILL", *flags: str) -> Result:
        return self.runtime("kill", *flags, self.id, signal)

    def delete(self, *flags: str) -> Result:
        return self.verb("delete", *flags)

    def exec(self, *words: str, flags: Sequence[str] = (), **options: Any) -> Result:
        return self.runtime("exec", *flags, self.id, *words, **options)

    def sh(self, script: str) -> str:
        """Return what a script prints that is executed in the running container."""
        return self.exec("/bin/sh", "-c", script).ok().out

    def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.verb("state").ok().out)
        return answer

    @property
    def status(self) -> str:
        status: str = self.state()["status"]
        return status

    def wait_ended(self) -> None:
        """Return when init has ended; it stays a zombie."""
        readable, _, _ = select.select([self._pidfd], [], [], TIMEOUT_S)
        assert readable, f"{self.id} did not end"

    def wait(self) -> int:
        """Reap init, as an engine does, and return 128+signal or its exit code."""
        self.wait_ended()
        ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        assert ended is not None
        return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)

    def namespace(self, kind: str) -> str:
        return os.readlink(f"/proc/{self.pid}/ns/{kind}")
