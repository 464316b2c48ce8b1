"""What probe.c writes, as facts; and what a state document says."""

from __future__ import annotations

import json
import re

from integration.differential.outside import Facts

_NUMBERED = re.compile(r"^(pipe|socket|anon_inode):\[\d+\]")


def facts_of(text: str, *, is_init: bool) -> Facts:
    """Return the probe's lines; numbers of processes are made relative."""
    facts: Facts = {}
    arguments = 0
    for line in text.replace("\r\n", "\n").splitlines():
        key, tab, value = line.partition("\t")
        if not tab:
            facts["stray output"] = line
            continue
        if key == "argument":
            key, arguments = f"argument {arguments}", arguments + 1
        if key.startswith("fd:"):
            value = _NUMBERED.sub(r"\1", value)
        facts[key] = value
    facts.pop("end", None)
    own = facts.get("pid")
    for key in ("sid", "pgid"):
        if key in facts:
            facts[key] = {own: "own", "0": "0"}.get(facts[key], "another's")
    if "ppid" in facts:
        facts["ppid"] = "0" if facts["ppid"] == "0" else "another"
    if own is not None and not (is_init and own == "1"):
        facts["pid"] = "another"
    keyring = facts.get("keyring", "").split(";")
    if len(keyring) == 5:
        facts["keyring"] = " ".join(keyring)
    return facts


def state_facts(when: str, text: str) -> Facts:
    """Return a state document by key; what differs by nature (pid, times) by kind."""
    facts: Facts = {}
    try:
        state = json.loads(text)
    except ValueError:
        return {f"state {when}": f"no JSON: {text[:80]!r}"}
    for key, value in state.items():
        shown = value
        if key == "pid":
            shown = "positive" if value > 0 else str(value)
        elif key == "created":
            shown = re.sub(r"\d", "9", value.split(".")[0])
        facts[f"state {when}.{key}"] = json.dumps(shown, sort_keys=True)
    return facts
