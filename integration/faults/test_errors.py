"""What a failure says: one line, one JSON object, no word that engines read as another error."""

from __future__ import annotations

import ast
import json
import os

import pytest

from integration.conftest import ROOT
from integration.terminal import OnPty

# podman and docker turn these into exit codes 126 and 127 wherever they stand.
RESERVED = (
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "not found",
    "is a directory",
    "not a directory",
)
FAILURES = {"Failure", "SpecError", "UsageError", "StateError", "HostError", "StepError"}
ALIVE = "--bundle BUNDLE ID"


def reserved_in(text):
    return [word for word in RESERVED if word in text.lower()]


def bad_mount(bundle):
    bundle.mount("/mnt", "bind", "/no/such/source", "bind")


def bad_filesystem(bundle):
    bundle.mount("/mnt", "nosuchfs", "none")


def bad_mount_data(bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", "size=nonsense")


def bad_mount_option(bundle):
    bundle.mount("/mnt", "bind", "/etc", "bind", "nosuchoption=1")


def file_over_directory(bundle):
    bundle.mount("/etc/passwd", "bind", "/usr", "bind")


def bad_namespace(bundle):
    bundle.namespace("network", "/no/such/namespace")


def foreign_namespace(bundle):
    bundle.namespace("network", "/proc/self/ns/ipc")


def no_namespace(bundle):
    bundle.namespace("network", "/etc/passwd")


def bad_rlimit(bundle):
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]


def bad_cgroup(bundle):
    bundle.config["linux"]["cgroupsPath"] = "/../../outside"


def bad_limit(bundle):
    bundle.resources(cpu={"quota": 1, "period": 1})


def bad_cpus(bundle):
    bundle.resources(cpu={"cpus": "999"})


def bad_sysctl(bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.nosuch": "1"}


def bad_sysctl_value(bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "nonsense"}


def bad_cwd(bundle):
    bundle.file("etc/file", "")
    bundle.config["process"]["cwd"] = "/etc/file/below"


def missing_hook(bundle):
    bundle.hook("prestart", "/no/such/hook")


def hook_that_says_so(bundle):
    bundle.hook("createRuntime", "/bin/sh", "-c", "echo boom >&2; exit 3")


def late_hook(bundle):
    bundle.hook("createContainer", "/bin/sh", "-c", "read forever </dev/zero", timeout=1)


def terminal_without_socket(bundle):
    bundle.config["process"]["terminal"] = True


def no_rootfs(bundle):
    bundle.config["root"]["path"] = "nowhere"


def no_process(bundle):
    del bundle.config["process"]


def wrong_type(bundle):
    bundle.config["mounts"] = "none"


def filtered_by_nonsense(bundle):
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_NONSENSE"}


def fine(bundle):
    del bundle


REFUSED = [
    *[
        (one, f"create {ALIVE}")
        for one in (
            bad_mount, bad_filesystem, bad_mount_data, file_over_directory,
            bad_namespace, foreign_namespace, no_namespace, bad_rlimit, bad_cgroup, bad_limit,
            bad_cpus, bad_sysctl, bad_sysctl_value, bad_cwd, missing_hook, hook_that_says_so,
            late_hook, terminal_without_socket, no_rootfs, no_process, wrong_type,
            filtered_by_nonsense,
        )
    ],
    (fine, "create --bundle /no/such/bundle ID"),
    (fine, "create --bundle /etc/passwd ID"),
    (fine, "create --bundle BUNDLE ../ID"),
    (fine, "create --bundle BUNDLE --pid-file /no/such/directory/pid ID"),
    (fine, "create --bundle BUNDLE --pid-file /proc/pid ID"),
    (fine, "create --bundle BUNDLE --console-socket /no/such/socket ID"),
    (terminal_without_socket, "create --bundle BUNDLE --console-socket /no/such/socket ID"),
    (fine, "create --bundle BUNDLE"),
    (fine, "create --nonsense"),
    (fine, "nonsense"),
    (fine, "start ID"),
    (fine, "state ID"),
    (fine, "kill ID"),
    (fine, "kill ID NONSENSE"),
    (fine, "delete ID"),
    (fine, "pause ID"),
    (fine, "resume ID"),
    (fine, "ps ID"),
    (fine, "run --bundle /no/such/bundle ID"),
    (fine, "list --format nonsense"),
    (fine, "plan /no/such/bundle"),
    (fine, "spec --bundle /no/such/bundle"),
]  # fmt: skip


def said(runtime, bundle, words):
    """Return the result of a call with a log, and what the log then holds."""
    log = f"{bundle.path}/log"
    bundle.save()
    runtime.made.append(bundle.id)
    names = {"BUNDLE": bundle.path, "ID": bundle.id, "../ID": f"../{bundle.id}"}
    argv = [
        "--log",
        log,
        "--log-format",
        "json",
        *[names.get(word, word) for word in words.split()],
    ]
    result = runtime(*argv)
    entries = []
    if os.path.exists(log):
        with open(log) as lines:
            entries = [json.loads(line) for line in lines]
    return result, entries


@pytest.mark.parametrize(
    ("change", "words"), REFUSED, ids=lambda one: getattr(one, "__name__", one)
)
def test_a_failure_is_one_line_and_one_object_without_reserved_words(
    runtime, bundle, change, words
):
    change(bundle)
    result, entries = said(runtime, bundle, words)

    assert result.code == 1
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert result.err.startswith("aisbx-runtime: ")
    assert [] == reserved_in(result.err)
    assert [("error", True)] == [
        (one["level"], result.err.endswith(f"{one['msg']}\n")) for one in entries
    ]
    assert [] == reserved_in(json.dumps(entries))
    assert "defect" not in entries[0].get("hint", "")


@pytest.mark.parametrize(
    "words", ["exec ID true", "exec --process /no/such/file ID", "exec --user nobody ID true"]
)
def test_a_failing_exec_is_told_from_a_failing_program(runtime, bundle, words):
    runtime.started(bundle)
    runtime("kill", bundle.id, "KILL") if words == "exec ID true" else None
    result, entries = said(runtime, bundle, words)

    assert (255, "", 1, 1) == (result.code, result.out, result.err.count("\n"), len(entries))
    assert [] == reserved_in(result.err + json.dumps(entries))


@pytest.mark.parametrize(
    ("command", "mode", "sentence"),
    [
        ("nosuch", 0o755, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 0o755, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/plain", 0o644, 'exec: "/etc/plain": permission denied'),
        ("/etc", 0o755, 'exec: "/etc": is a directory'),
    ],
)
def test_only_the_users_command_has_reserved_words(runtime, bundle, command, mode, sentence):
    bundle.file("etc/plain", "", mode=mode)
    result, entries = said(runtime, bundle.args(command), f"create {ALIVE}")

    assert (1, 1) == (result.code, result.err.count("\n"))
    assert sentence in result.err
    assert [sentence] == [one["msg"][: len(sentence)] for one in entries]


def sources():
    for directory, _, names in os.walk(f"{ROOT}/aisbx_runtime/oci"):
        for name in names:
            if name.endswith(".py"):
                yield f"{directory}/{name}"


def test_no_failure_is_written_with_a_reserved_word():
    # Those of CommandError are runc's; a StateError of delete is docker's word for "gone".
    found = []
    for path in sources():
        with open(path) as text:
            tree = ast.parse(text.read())
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in FAILURES:
                continue
            texts = [one.value for one in ast.walk(call) if isinstance(one, ast.Constant)]
            found += [
                (path, call.lineno, one)
                for one in texts
                if isinstance(one, str) and reserved_in(one)
            ]

    assert [] == found


def test_a_terminal_gets_the_place_and_the_hint_on_lines_of_their_own(runtime, bundle):
    bad_mount(bundle)
    bundle.save()
    with OnPty(runtime.argv("create", "--bundle", bundle.path, bundle.id)) as call:
        code, text = call.finish()
    lines = text.splitlines()
    last = len(bundle.config["mounts"]) - 1

    assert code == 1
    assert lines[0].startswith("aisbx-runtime: create: cannot ")
    assert lines[0].endswith(": open_tree: ENOENT /no/such/source")
    assert lines[1].startswith("  at:   step ")
    assert lines[1].endswith(f", mounts[{last}].source")
    assert lines[2].startswith("  hint: the source must exist")
    assert len(lines) == 3
