"""One place to run spoilt bundles in, and everything that must be as before afterwards."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from integration import host, leaks
from integration.bundle import Bundle
from integration.fuzz.contract import breaches, logged
from integration.fuzz.values import BUNDLE, ID
from integration.leaks import reap

if TYPE_CHECKING:
    from integration.bundle import Template
    from integration.runtime import Result, Runtime

# Nothing that is run here takes a second.
TIMEOUT_S = 30
MARKER = "untouched\n"


def tree_of(path: str) -> list[tuple[str, int, int, int]]:
    """Return name, mode, size and links of all that is below a directory."""
    found = []
    for parent, directories, files in os.walk(path):
        for name in sorted([*directories, *files]):
            status = os.lstat(f"{parent}/{name}")
            found.append((f"{parent}/{name}", status.st_mode, status.st_size, status.st_ino))
    return sorted(found)


class Ground:
    """TOP/bundle is thrown away with each example; TOP/outside must stay as it is."""

    def __init__(self, runtime: Runtime, top: str, template: Template) -> None:
        self.runtime, self.top, self.template = runtime, top, template
        self.id = f"{host.MARK}-fuzz"
        self.log = f"{top}/log"
        os.mkdir(top)
        os.mkdir(f"{top}/outside")
        for name in ("etc", "tmp"):
            os.mkdir(f"{top}/outside/{name}")
        with open(f"{top}/outside/marker", "w") as text:
            text.write(MARKER)
        self.before = leaks.Snapshot(runtime.root)
        self.outside = tree_of(f"{top}/outside")
        self.bundle = self._new_bundle()
        self.init = 0

    def close(self) -> None:
        """Delete the container, and see that all of it is gone."""
        self.runtime("delete", "--force", self.id)
        left = self.before.leaks()
        outside = tree_of(f"{self.top}/outside")
        shutil.rmtree(self.top)

        assert (left, outside) == ([], self.outside)

    def _new_bundle(self) -> Bundle:
        bundle = Bundle(f"{self.top}/bundle", self.id, self.template)
        for name, target in {
            "loop": "loop",
            "up": "../../..",
            "dangling": "../../../../outside/made",
            "etc/mtab": "/proc/mounts",
        }.items():
            os.symlink(target, f"{bundle.rootfs}/{name}")
        os.symlink("loop", f"{bundle.path}/loop")
        return bundle

    def filled(self, text: bytes) -> bytes:
        """Put in what a placeholder stands for."""
        return text.replace(ID.encode(), self.id.encode()).replace(
            BUNDLE.encode(), self.bundle.path.encode()
        )

    def write(self, name: str, text: bytes) -> str:
        path = f"{self.bundle.path}/{name}"
        with open(path, "wb") as out:
            out.write(self.filled(text))
        return path

    def call(self, *words: str, silent: bool = True, **options: Any) -> Outcome:
        """Call the runtime, which must keep its contract."""
        argv = ("--log", self.log, "--log-format", "json", *words)
        result = self.runtime(*argv, timeout=TIMEOUT_S, **options)
        entries = logged(self.log)
        wrong = breaches(result, entries, silent=silent)

        assert wrong == [], (result, entries)
        return Outcome(result, entries)

    def delete(self) -> None:
        self.call("delete", "--force", self.id)

    # -- a container that lives

    def live(self) -> None:
        """Make the container, or make it anew when it does not run any more."""
        if self.init and self.state().get("status") == "running":
            return
        self.delete()
        reap(self.before.processes)
        self.bundle.args("/bin/sleep", "1000").save()
        self.call("run", "--detach", "--bundle", self.bundle.path, self.id)
        self.init = self.state()["pid"]

    def state(self) -> dict[str, Any]:
        outcome = self.call("state", self.id)
        state: dict[str, Any] = json.loads(outcome.out) if outcome.code == 0 else {}
        return state

    def processes(self) -> list[int]:
        """Return the pids of what runs in the container."""
        pids: list[int] = json.loads(self.call("ps", "--format", "json", self.id).out)
        return pids

    def forget(self, container_id: str) -> None:
        """Delete what a command line may have made under another id."""
        if os.path.exists(f"{self.runtime.root}/{container_id}"):
            self.call("delete", "--force", container_id)

    def check(self) -> None:
        """Nothing is left, nothing outside was touched. Makes the bundle anew."""
        left = self.before.leaks()
        outside = tree_of(f"{self.top}/outside")
        extra = set(os.listdir(self.top)) - {"bundle", "outside", "log"}
        names = set(os.listdir(self.bundle.path)) - {"rootfs", "loop", "config.json"}
        shutil.rmtree(self.bundle.path)
        self.bundle = self._new_bundle()

        assert left == []
        assert outside == self.outside
        assert (extra, names) == (set(), set())


class Outcome:
    """What one call came to."""

    def __init__(self, result: Result, entries: list[dict[str, str]]) -> None:
        self.code, self.out, self.err = result.code, result.out, result.err
        self.entry = entries[0] if entries else {}

    @property
    def message(self) -> str:
        """Return what failed, whichever verb it was."""
        return self.entry.get("msg", "")

    @property
    def in_a_step(self) -> bool:
        """Tell whether the plan was made, and the kernel or the rootfs is to blame."""
        return self.entry.get("where", "").startswith("step ")

    def __repr__(self) -> str:
        return f"exit {self.code}: {self.err}{self.entry.get('where', '')}"
