"""A private containerd, and `ctr` as its client."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import Any

from integration import host
from integration.runtime import PATH, TIMEOUT_S, Result, call

IMAGE = "localhost/box:latest"

CONFIG = """\
version = 2
root = "{top}/root"
state = "{top}/state"
disabled_plugins = [
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "{top}/sock"
[ttrpc]
  address = "{top}/ttrpc"
"""


class Daemon:
    """containerd with root, state and sockets below one directory."""

    def __init__(self, top: str, directory: str) -> None:
        """Start it; it looks for shims, and these for runc, in `directory` first."""
        self.address, self.directory = f"{top}/sock", directory
        os.makedirs(top, exist_ok=True)
        with open(f"{top}/config.toml", "w") as out:
            out.write(CONFIG.format(top=top))
        self.log_path = f"{top}/log"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                ["containerd", "--config", f"{top}/config.toml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": f"{directory}:{PATH}"},
            )

    def wait_ready(self) -> None:
        """Return when the daemon answers; ctr 2 refuses a socket that is not there yet."""
        deadline = time.monotonic() + TIMEOUT_S
        while not os.path.exists(self.address) and self.process.poll() is None:
            assert time.monotonic() < deadline, "containerd makes no socket"
            time.sleep(0.02)
        words = ["ctr", "--address", self.address, "--connect-timeout", "30s", "version"]
        done = call(words, timeout=TIMEOUT_S)
        with open(self.log_path) as log:
            assert done.code == 0, f"{done}\n{log.read()[-2000:]}"

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        pidfd = os.pidfd_open(self.process.pid)
        if not select.select([pidfd], [], [], 10)[0]:
            self.process.kill()
        os.close(pidfd)
        self.process.wait(TIMEOUT_S)


class Ctr:
    """`ctr` with the namespace of this session; `runtime`: the flags that name the runtime."""

    def __init__(self, daemon: Daemon, runtime: list[str]) -> None:
        self.runtime = runtime
        self.address, self.directory = daemon.address, daemon.directory
        self.prefix = ["ctr", "--address", daemon.address, "--namespace", f"{host.MARK}-ctr"]
        self._number = 0

    def __call__(self, *words: str, **options: Any) -> Result:
        return call([*self.prefix, *words], **options)

    def import_image(self, archive: str) -> None:
        # From 2.0 on another service than ours of the daemon would import: it must be configured.
        of_client = "--local" in self("images", "import", "--help").out
        self("images", "import", *(["--local"] if of_client else []), archive).ok()

    def name(self) -> str:
        self._number += 1
        return f"c{self._number}"

    def run(self, flags: list[str], *command: str, **options: Any) -> Result:
        """Run a container in the foreground that is removed at its end."""
        return call(self.argv([*flags, "--rm"], self.name(), *command), **options)

    def argv(self, flags: list[str], name: str, *command: str) -> list[str]:
        words = ["run", *self.runtime, *flags, IMAGE, name, *command]
        return [*self.prefix, *words]

    def up(self, *flags: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Start a container in the background and return its name."""
        name = self.name()
        call(self.argv(["-d", *flags], name, *command)).ok()
        return name

    def status(self, name: str) -> str:
        lines = self("tasks", "ls").ok().lines
        return next((line.split()[2] for line in lines if line.split()[0] == name), "")

    def clean(self) -> None:
        """Remove every task and container."""
        for name in self("tasks", "ls", "-q").lines:
            self("tasks", "delete", "--force", name)
        for name in self("containers", "ls", "-q").lines:
            self("containers", "delete", name).ok()
        for top in set(host.hierarchies().values()):
            with contextlib.suppress(OSError):  # not made, or a leak of which we shall be told
                os.rmdir(f"{top}/{host.MARK}-ctr")  # the parent, which runc keeps
