"""Lines of /proc/self/mountinfo, see proc_pid_mountinfo(5)."""

from __future__ import annotations


class MountLine:
    def __init__(self, line: str) -> None:
        left, right = line.split(" - ", 1)
        fields = left.split()
        self.root, self.target = fields[3], fields[4]
        self.options = set(fields[5].split(","))
        self.propagation = set(fields[6:])
        self.fstype, self.source, rest = right.split(" ", 2)
        self.super_options = set(rest.split(","))


def last_at(target: str, text: str) -> MountLine:
    """Return the uppermost mount at a path."""
    lines = [MountLine(line) for line in text.splitlines() if " - " in line]
    return [line for line in lines if line.target == target][-1]
