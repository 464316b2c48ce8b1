"""Any command line: every verb and flag of the tables, with values that fit and that do not."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisbx_runtime.oci.cli import COMMANDS, GLOBAL_FLAGS
from aisbx_runtime.oci.flags import BOOL
from integration.fuzz.documents import process_document, resources_document, text_of
from integration.fuzz.effort import effort
from integration.fuzz.values import BUNDLE, ID

IDS = [
    *(ID, ID, ID, ID, f"{ID}-new", "nosuch", "", ".", "..", "../x", "a/b", "/", "-", "--", "a b"),
    *("\u00e9", "x" * 255, "x" * 256, "x" * 70000, "a\nb", "\udcff", "$(id)", "a\\b", ".cache"),
]
VALUES = [
    *("", "0", "1", "-1", "3", "99", "true", "false", "TRUE", "x", "json", "table", "text", "a=b"),
    *(
        "999999999",
        "99999999999999999999",
        "\u0661",
        "1:2",
        "1000",
        "4294967295",
        "64M",
        "1.5g",
        "5s",
    ),
    *(
        "0.0001s",
        "1e3",
        "\u00e9",
        "\udcff",
        "a\nb",
        "CAP_KILL",
        "KILL",
        "SIGRTMIN+3",
        "65",
        "/",
        ".",
    ),
    *(BUNDLE, f"{BUNDLE}/nosuch", f"{BUNDLE}/nosuch/x", f"{BUNDLE}/process.json", "-"),
    *(
        f"{BUNDLE}/resources.json",
        f"{BUNDLE}/config.json",
        "/dev/null",
        "/dev/full",
        "/proc/self/mem",
    ),
    *("systemd", "cgroupfs", "disabled", "x" * 5000, "0-1", "cpu:/x", "memory,cpu:x", "../x"),
]
WORDS = st.sampled_from([*IDS, *VALUES, "add", "remove", "true", "/bin/true", "-ef", "-9"])
# What --root, --log and the pid files may name: nothing that others could miss.
PATHS = st.sampled_from(
    [f"{BUNDLE}/pid", f"{BUNDLE}/nosuch/pid", BUNDLE, "", "/dev/full", "/proc/self/mem", "x" * 5000]
)
NAMES = ["root", "log", "pid-file", "console-socket", "pidfd-socket"]


@st.composite
def flags(draw, table, most):
    """Draw words that set some flags of a table, or that look like it."""
    found = []
    for flag in draw(st.lists(st.sampled_from(table), max_size=most)) if table else ():
        dashes = draw(st.sampled_from(["--", "--", "-"]))
        name = draw(st.sampled_from(flag.names))
        value = draw(PATHS if flag.names[0] in NAMES else st.sampled_from(VALUES))
        form = draw(st.integers(0, 9))
        if form < 4:
            found.append(f"{dashes}{name}={value}")
        elif flag.kind == BOOL or form == 9:
            found.append(f"{dashes}{name}")
        else:
            found += [f"{dashes}{name}", value]
    return found


@st.composite
def command_lines(draw):
    verb = draw(st.sampled_from(sorted(COMMANDS)))
    command = COMMANDS[verb]
    table = [one for one in GLOBAL_FLAGS if one.names[0] not in {"log", "log-format", "root"}]
    words = [*draw(flags(table, 1)), verb, *draw(flags(list(command.flags), 4))]
    if draw(st.booleans()):
        words += ["--"]
    first = draw(st.sampled_from([[], ["add"], ["remove"]])) if verb == "mounts" else []
    rest = draw(st.lists(WORDS, max_size=3))
    place = {"plan": BUNDLE, "explain": BUNDLE, "validate": BUNDLE}.get(verb)
    words += [*first, place or draw(st.sampled_from(IDS)), *rest][: draw(st.integers(0, 4))]
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(words)))
        words.insert(
            at, draw(WORDS | st.sampled_from(["--nosuch", "-x=1", "---", "-", "--=", "-="]))
        )
    return words


def is_endless(words):
    """Tell whether the call ends only with the container: the figures of one that runs."""
    return "events" in words and not {"--stats", "-stats"} & set(words)


@pytest.fixture
def alive(ground):
    ground.live()
    return ground


@effort(150)
@given(words=command_lines())
@example(words=[])
@example(words=["--"])
@example(words=["create"])
@example(words=["state", ""])
@example(words=["kill", ID, "\u0663"])
def test_any_command_line_is_carried_out_or_refused(alive, words):
    for name, document in (("process", process_document()), ("resources", resources_document())):
        alive.write(f"{name}.json", text_of(document))
    words = [os.fsdecode(alive.filled(os.fsencode(word))) for word in words if "\0" not in word]
    if is_endless(words):
        alive.call("kill", alive.id, "KILL")
    alive.call(*words, silent=False)
    alive.forget(f"{alive.id}-new")
    alive.live()
