"""A private dockerd with a containerd of its own, and `docker` as its client."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from aisbx_runtime.oci.register.docker import with_runtime
from integration import host
from integration.runtime import PATH, TIMEOUT_S, Result, call

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "box"
SLOW_S = 120  # one CPU, and system calls that take five times as long
CGROUP = f"/{host.MARK}-docker"


class Daemon:
    """dockerd with everything below one directory; no bridge, no firewall.

    driver: cgroupfs or systemd. parent: the cgroup, or the slice, of all containers.
    """

    def __init__(
        self,
        top: str,
        config: str,
        environment: dict[str, str],
        driver: str = "cgroupfs",
        parent: str = CGROUP,
    ) -> None:
        self.top = top
        self.address = f"unix://{top}/sock"
        os.makedirs(top, exist_ok=True)
        self.log_path = f"{top}/log"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [
                    "dockerd",
                    f"--config-file={config}",
                    f"--host={self.address}",
                    f"--data-root={top}/data",
                    f"--exec-root={top}/exec",
                    f"--pidfile={top}/pid",
                    f"--cgroup-parent={parent}",
                    f"--exec-opt=native.cgroupdriver={driver}",
                    "--bridge=none",
                    "--iptables=false",
                    "--ip6tables=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH, **environment},
            )

    def client(self) -> dict[str, str]:
        """Return the environment of its clients."""
        return {"PATH": PATH, "HOME": self.top, "DOCKER_HOST": self.address}

    def wait_for(self, template: str, expected: str) -> str:
        """Return what `docker info` says, once this is in it."""
        words = ["docker", "info", "--format", template]
        deadline = time.monotonic() + SLOW_S
        done = call(words, env=self.client())
        while done.code or expected not in done.out:
            with open(self.log_path) as log:
                assert self.process.poll() is None, log.read()[-3000:]
                assert time.monotonic() < deadline, f"{done}\n{log.read()[-3000:]}"
            done = call(words, env=self.client())
        return done.out

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        pidfd = os.pidfd_open(self.process.pid)
        if not select.select([pidfd], [], [], 30)[0]:
            self.process.kill()
        os.close(pidfd)
        self.process.wait(TIMEOUT_S)


def write_config(path: str, program: str, **settings: Any) -> None:
    """Write a daemon.json as `register` leaves it, with the runtime as the default one."""
    text = json.dumps({"default-runtime": "aisbx", **settings}, indent=2)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(with_runtime(text, program, path))


class Docker:
    """`docker` with the runtime under test."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.environment = daemon.client()

    def argv(self, *words: str) -> list[str]:
        return ["docker", *words]

    def run_words(self, *words: str) -> list[str]:
        return self.argv("run", "--rm", "--runtime=aisbx", "--network=none", *words)

    def __call__(self, *words: str, **options: Any) -> Result:
        options.setdefault("timeout", SLOW_S)
        options.setdefault("env", self.environment)
        return call(self.argv(*words), **options)

    def run(self, *words: str, **options: Any) -> Result:
        """Run a container that is removed at its end, without a network of its own."""
        options.setdefault("timeout", SLOW_S)
        return call(self.run_words(*words), env=self.environment, **options)

    def up(self, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Start a container in the background and return its id."""
        flags = ["--detach", "--runtime=aisbx", "--network=none"]
        return self("run", *flags, *words, IMAGE, *command).ok().out.strip()

    def inspect(self, container: str, template: str) -> str:
        return self("inspect", "--format", template, container).ok().out.strip()

    def wait_for(self, container: str, template: str, expected: str) -> None:
        """Return when the container's facts say this."""
        deadline = time.monotonic() + SLOW_S
        while (found := self.inspect(container, template)) != expected:
            assert time.monotonic() < deadline, f"{template} is {found}, not {expected}"

    def cgroup(self, container: str) -> str:
        """Return the container's cgroup (v2)."""
        pid = self.inspect(container, "{{.State.Pid}}")
        return host.text_of(f"/proc/{pid}/cgroup").split("::", 1)[1].strip()

    def limit(self, container: str, name: str) -> str:
        """Return a file of the container's cgroup (v2)."""
        return host.text_of(f"/sys/fs/cgroup{self.cgroup(container)}/{name}").strip()

    def clean(self) -> None:
        """Remove every container."""
        for name in self("ps", "--all", "--quiet").ok().lines:
            self("rm", "--force", name)


@contextlib.contextmanager
def serving(
    top: str,
    image_tar: str,
    program: str,
    driver: str = "cgroupfs",
    parent: str = CGROUP,
    **settings: Any,
) -> Iterator[Docker]:
    """Yield a client of a daemon that has the runtime and the image; skip where there is none."""
    reason = host.lacks_program("dockerd", "docker", "containerd")
    if reason:
        pytest.skip(reason)
    config = f"{top}/daemon.json"
    write_config(config, program, **settings)
    # Docker's BuildKit does not ask daemon.json (moby, pull request 47563).
    environment = {"DOCKER_BUILDKIT_RUNC_COMMAND": program}
    with contextlib.closing(Daemon(top, config, environment, driver, parent)) as daemon:
        daemon.wait_for("{{json .Runtimes}}", program)
        made = Docker(daemon)
        made("import", image_tar, IMAGE).ok()
        yield made
