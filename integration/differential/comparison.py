"""The comparison: trials of one case under every runtime of every view, and what differs."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from integration import host
from integration.differential import known, outside, views
from integration.differential.trial import Subject, Template, Trial
from integration.runtime import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.differential.outside import Facts
    from integration.differential.views import View


class Difference:
    """One fact that a peer shows otherwise than we do; None: it does not show it at all."""

    def __init__(
        self, view: str, peer: str, fact: str, ours: str | None, theirs: str | None
    ) -> None:
        self.view, self.peer, self.fact = view, peer, fact
        self.ours, self.theirs = ours, theirs

    def __repr__(self) -> str:
        return f"[{self.view}] {self.peer}: {self.fact}: ours {self.ours!r}, theirs {self.theirs!r}"


def compare(ours: Facts, theirs: Facts) -> list[str]:
    """Return the facts that differ; of what only one of the two did, only that it did not."""
    found = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
    for step in sorted({*ours, *theirs} & _STEPS, key=_ORDER.index):
        if (ours.get(step) == "ok") != (theirs.get(step) == "ok"):
            if not step.startswith("exec"):
                return [step]
            found = [key for key in found if not key.startswith(f"{step} ")]
    return found


_ORDER = ["create", "start", *[f"exec{kind} {n}" for n in range(9) for kind in ("", " of a file")]]
_STEPS = set(_ORDER)


class Comparison:
    """All that one session compares; remembers which listed differences were seen."""

    def __init__(self, scratch: str, probe: str, library: str, busybox: str, program: str) -> None:
        self.scratch = scratch
        self.library = library
        self.template = Template(probe, busybox)
        self.program = program
        self.views = views.views()
        self.seen: set[known.Known] = set()
        self.done: dict[str, str] = {}

    def close(self) -> None:
        for view in self.views:
            view.close()

    def stale(self) -> list[known.Known]:
        """Return the listed differences that nothing has shown."""
        return [one for one in known.KNOWN if one not in self.seen and not one.sometimes]

    def versions(self) -> dict[str, str]:
        """Return the version of each peer."""
        found = {}
        for peer in self.views[-1].peers:
            found[peer] = call([peer, "--version"]).ok().lines[0].split()[-1].partition("+")[0]
        return found

    def facts(self, view: View, program: str, case: Callable[[Subject], None]) -> Facts:
        path = f"{self.scratch}/differential"
        name = os.path.basename(program)
        subject = Subject(path, f"{host.MARK}-differential", self.template, view)
        try:
            case(subject)
            subject.ask_all()
            words = views.prefix_of(name, self.library)
            found = Trial(program, f"{self.scratch}/state-{name}", subject, words).go()
            found.update(outside.left_cgroups(subject.id))
            found["null device of the host"] = outside.file_status("/dev/null")
            return found
        finally:
            host.remove_cgroups(subject.id)
            shutil.rmtree(path)

    def unknown(self, name: str, case: Callable[[Subject], None], *, everywhere: bool) -> str:
        """Return the differences of a case that are not listed, as lines. A case is run once."""
        if name not in self.done:
            chosen = self.views if everywhere else self.views[-1:]
            found = [repr(one) for view in chosen for one in self._unknown(view, case)]
            self.done[name] = "\n".join(found)
        return self.done[name]

    def _unknown(self, view: View, case: Callable[[Subject], None]) -> list[Difference]:
        ours = self.facts(view, self.program, case)
        left = []
        for peer in view.peers:
            theirs = self.facts(view, peer, case)
            for fact in compare(ours, theirs):
                one = Difference(view.name, peer, fact, ours.get(fact), theirs.get(fact))
                reasons = [entry for entry in known.KNOWN if entry.explains(one)]
                self.seen.update(reasons)
                if not reasons:
                    left.append(one)
        return left
