"""A container that counts, its checkpoint images, and going there and back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from integration import host
from integration.runtime import PATH, TIMEOUT_S, Container


def counter_of(path: str) -> str:
    """Return a script whose init counts in a variable, and shows it in a file of the container.

    The number in the last line goes up, and whoever starts anew begins with 1. Init makes no
    process: criu waits in vain for one that is frozen in its vfork(2), which busybox uses.
    """
    return f"""
[ -p {path}.wait ] || mkfifo {path}.wait
exec 9<>{path}.wait
pause() {{ read -t 0.02 -u 9 nothing; }}
i=0
while :; do
    i=$((i + 1))
    echo $i >>{path}
    pause
done
"""


COUNTER = counter_of("/tmp/number")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Checkpoints:
    """A bundle with a counter, and the directories of its image."""

    def __init__(self, runtime, bundle, bin_directory):
        self.runtime, self.bundle = runtime, bundle
        self.path = f"{bin_directory}:{PATH}"
        self.image, self.work = f"{bundle.path}/image", f"{bundle.path}/work"

    def started(self, script=COUNTER, **options):
        container = self.runtime.started(self.bundle, script, **{**QUIET, **options})
        if "/tmp/number" in script:
            self.wait_for(lambda: self.number() > 1)
        return container

    def number(self):
        try:
            with open(f"{self.bundle.rootfs}/tmp/number") as text:
                lines = text.read().split("\n")[:-1]
        except FileNotFoundError:
            return 0
        return int(lines[-1]) if lines else 0

    def wait_for(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, "it does not come"
            time.sleep(0.01)  # files of the container: there is no event across its mounts

    def counts_on(self):
        """Tell that the counter goes up, which it does only while it runs."""
        before = self.number()
        self.wait_for(lambda: self.number() > before)
        return True

    def checkpoint(self, *flags, **options):
        words = ("checkpoint", "--image-path", self.image, "--work-path", self.work)
        env = options.pop("env", {"PATH": self.path})
        return self.runtime(*words, *flags, self.bundle.id, env=env, **options)

    def restore(self, *flags, container_id=None, **options):
        log = ("--log", f"{self.bundle.path}/log")
        words = (*log, "restore", "--detach", "--bundle", self.bundle.path)
        places = ("--image-path", self.image, "--work-path", self.work)
        pid_file = ("--pid-file", f"{self.bundle.path}/pid")
        name = container_id or self.bundle.id
        self.runtime.made.append(name)
        options.setdefault("env", {"PATH": self.path})
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.bundle.path}/pid")
        return self.runtime(*words, *places, *pid_file, *flags, name, **options)

    def restored(self, *flags, **options):
        result = self.restore(*flags, **{**QUIET, **options})
        assert result.code == 0, host.text_of(f"{self.bundle.path}/log")
        return Container(self.runtime, self.bundle)

    def there_and_back(self, *flags, script=COUNTER):
        """Start, checkpoint and restore a container."""
        container = self.started(script)
        self.checkpoint(*flags).ok()
        container.wait()
        return self.restored(*flags)


def connected(checkpoints):
    """Start a counter that has a TCP connection to itself, through its loopback interface."""
    script = f"""
mkfifo /tmp/say /tmp/hold
nc -l -p 98 <>/tmp/hold >/tmp/heard &
until grep -q :0062 /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done
nc 127.0.0.1 98 <>/tmp/say &
{COUNTER}"""
    container = checkpoints.started(script)
    checkpoints.wait_for(lambda: ":0062 " in container.sh("grep ' 01 ' /proc/net/tcp; true"))
    return container
