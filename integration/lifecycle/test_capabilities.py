"""The five capability sets, as the kernel shows them."""

from __future__ import annotations

import json

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.host import text_of

NUMBERS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_AUDIT_WRITE": 29}
SETS = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}


def mask(*names):
    return sum(1 << NUMBERS[name] for name in names)


def masks(runtime, bundle):
    """Return the sets of a program that is executed without a shell."""
    result = runtime.run(bundle.args("/bin/grep", "Cap", "/proc/self/status")).ok()
    found = dict(line.split(":\t") for line in result.lines)
    return {name: int(found[field], 16) for name, field in SETS.items()}


def test_bounding_effective_and_permitted_are_set(runtime, bundle):
    bundle.all_capabilities("CAP_CHOWN", "CAP_KILL")
    both = mask("CAP_CHOWN", "CAP_KILL")

    assert masks(runtime, bundle) == {
        "inheritable": 0,
        "permitted": both,
        "effective": both,
        "bounding": both,
        "ambient": 0,
    }


def test_all_five_sets_are_set(runtime, bundle):
    names = ["CAP_CHOWN", "CAP_KILL"]
    bundle.capabilities(**dict.fromkeys(SETS, names))

    assert masks(runtime, bundle) == dict.fromkeys(SETS, mask(*names))


@needs.ids
def test_the_bounding_set_may_be_larger(runtime, bundle):
    one, two = ["CAP_KILL"], ["CAP_KILL", "CAP_CHOWN"]
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.capabilities(bounding=two, permitted=one, effective=one, inheritable=one, ambient=one)
    found = masks(runtime, bundle)

    assert found["bounding"] == mask(*two)
    assert found["permitted"] == found["effective"] == found["ambient"] == mask(*one)


def test_no_capabilities_leave_none(runtime, bundle):
    bundle.capabilities(bounding=[], permitted=[], effective=[])

    assert masks(runtime, bundle) == dict.fromkeys(SETS, 0)


def test_absent_sets_are_empty(runtime, bundle):
    bundle.capabilities()

    assert set(masks(runtime, bundle).values()) == {0}


def test_the_sets_of_the_caller_are_not_inherited(runtime, bundle):
    bundle.all_capabilities("CAP_KILL")

    assert masks(runtime, bundle)["inheritable"] == 0


@needs.ids
def test_another_user_keeps_nothing_without_ambient(runtime, bundle):
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.all_capabilities("CAP_KILL")
    found = masks(runtime, bundle)

    assert found["effective"] == found["permitted"] == 0
    assert found["bounding"] == mask("CAP_KILL")


@needs.ids
def test_another_user_has_ambient_capabilities(runtime, bundle):
    # podman: --user 1000 --cap-add
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    names = ["CAP_NET_BIND_SERVICE"]
    bundle.capabilities(**dict.fromkeys(SETS, names))

    assert masks(runtime, bundle)["effective"] == mask("CAP_NET_BIND_SERVICE")


def test_a_dropped_capability_is_missed(runtime, bundle):
    bundle.all_capabilities("CAP_KILL")

    assert runtime.run(bundle, "chown 5 /tmp").code != 0


@needs.ids
def test_a_given_capability_works(runtime, bundle):
    bundle.all_capabilities("CAP_CHOWN")

    assert runtime.run(bundle, "chown 5 /tmp").code == 0


@pytest.mark.parametrize("name", ["CAP_NOSUCH", "CAP_9999"])
def test_an_unknown_capability_is_left_out(runtime, bundle, name):
    bundle.all_capabilities("CAP_KILL", name)

    assert masks(runtime, bundle)["effective"] == mask("CAP_KILL")


def test_an_unknown_capability_brings_no_failure_and_at_most_a_warning(runtime, bundle):
    bundle.all_capabilities("CAP_KILL", "CAP_NOSUCH")
    result = runtime.run(bundle, "true")

    assert result.code == 0
    assert result.err == "" or "CAP_NOSUCH" in result.err


@pytest.mark.parametrize("name", ["cap_kill", "KILL"])
def test_a_name_in_another_spelling_is_not_silently_taken_for_all(runtime, bundle, name):
    bundle.all_capabilities(name)
    result = runtime.run(bundle.args("/bin/grep", "CapEff", "/proc/self/status"))
    known_of_runc(runtime, "it takes lower case", seen=result.code == 0 and name.islower())

    assert result.code != 0 or int(result.out.split()[1], 16) in {0, mask("CAP_KILL")}


def test_an_unknown_capability_is_a_warning_in_the_log(runtime, bundle):
    # config.md, Linux process: what cannot be given MUST be logged as a warning.
    bundle.all_capabilities("CAP_KILL", "CAP_NOSUCH")
    bundle.script("true").save()
    runtime.made.append(bundle.id)
    words = ["create", "--bundle", bundle.path, bundle.id]

    assert any("CAP_NOSUCH" in told for told in warnings_of(runtime, bundle, *words))


def warnings_of(runtime, bundle, *words):
    """Run a verb that succeeds, and return the warnings in its log."""
    log = f"{bundle.path}/log-of-{words[0]}"
    runtime("--log", log, "--log-format", "json", *words).ok()
    entries = [json.loads(line) for line in text_of(log).splitlines()]
    return [one["msg"] for one in entries if one["level"] == "warning"]


@pytest.fixture
def not_inheritable(bundle):
    # What `runc spec` writes.
    bundle.all_capabilities("CAP_KILL")
    bundle.config["process"]["capabilities"]["ambient"] = ["CAP_KILL"]
    return bundle


def test_an_ambient_capability_that_cannot_be_raised_is_a_warning_in_the_log(
    runtime, not_inheritable
):
    found = not_inheritable
    runtime.made.append(found.script("true").save().id)
    told = warnings_of(runtime, found, "create", "--bundle", found.path, found.id)
    known_of_runc(runtime, "runc before 1.3 says nothing", seen=told == [])

    assert [True] == ["CAP_KILL" in one and "ambient" in one for one in told]


def test_such_a_capability_of_an_executed_process_is_a_warning_too(runtime, not_inheritable):
    found = runtime.started(not_inheritable.script("exec sleep 1000"))
    told = warnings_of(runtime, not_inheritable, "exec", found.id, "true")
    known_of_runc(runtime, "runc before 1.3 says nothing", seen=told == [])

    assert [True] == ["CAP_KILL" in one and "ambient" in one for one in told]


def test_such_a_capability_is_not_there(runtime, not_inheritable):
    assert masks(runtime, not_inheritable)["ambient"] == 0


PR_CAPBSET_DROP = 24


def restricted():
    """Be a root without CAP_AUDIT_WRITE from execve(2) on, as in a container of containers."""
    host.check(host.libc.prctl(PR_CAPBSET_DROP, NUMBERS["CAP_AUDIT_WRITE"], 0, 0, 0), "prctl")


@needs.rights
def test_what_the_caller_cannot_give_is_left_out_with_a_warning(runtime, bundle):
    # config.md, Linux process: SHOULD NOT fail, and MUST log a warning.
    names = ["CAP_KILL", "CAP_AUDIT_WRITE"]
    bundle.capabilities(**dict.fromkeys(SETS, names))
    bundle.args("/bin/grep", "Cap", "/proc/self/status").save()
    runtime.made.append(bundle.id)
    log = f"{bundle.path}/log"
    words = ["--log", log, "--log-format", "json", "run", "--bundle", bundle.path, bundle.id]
    result = runtime(*words, preexec_fn=restricted)
    known_of_runc(runtime, "it fails", seen=result.code != 0)
    shown = dict(line.split(":\t") for line in result.ok().lines)
    entries = [json.loads(line) for line in text_of(log).splitlines()]

    assert {int(shown[field], 16) for field in SETS.values()} == {mask("CAP_KILL")}
    assert any(one["level"] == "warning" and "CAP_AUDIT_WRITE" in one["msg"] for one in entries)


@needs.rights
def test_a_restricted_caller_executes_with_what_it_has(runtime, bundle):
    container = runtime.started(bundle.all_capabilities("CAP_KILL", "CAP_AUDIT_WRITE"))
    result = runtime("exec", container.id, "grep", "CapPrm", "/proc/self/status",
                     preexec_fn=restricted)  # fmt: skip
    known_of_runc(runtime, "it fails", seen=result.code != 0)

    assert int(result.ok().out.split()[1], 16) == mask("CAP_KILL")


def test_a_failure_is_the_only_entry_of_the_log(runtime, bundle):
    # podman reads the file as one JSON object.
    bundle.all_capabilities("CAP_KILL", "CAP_NOSUCH")
    bundle.args("/no/such/program").save()
    log = f"{bundle.path}/log"
    words = ["create", "--bundle", bundle.path, bundle.id]
    result = runtime("--log", log, "--log-format", "json", *words)
    lines = text_of(log).splitlines()
    known_of_runc(runtime, "it logs the warning as well", seen=len(lines) > 1)

    assert result.code == 1
    assert [json.loads(line)["level"] for line in lines] == ["error"]


# ---- what a user may execute ---------------------------------------------------------------------


@pytest.fixture
def closed(bundle):
    """A bundle whose user may look at a file by CAP_DAC_OVERRIDE alone, and nowhere else."""
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.file("opt/mine", "#!/bin/sh\nexec grep Cap /proc/self/status\n", 0o744)
    names = ["CAP_DAC_OVERRIDE", "CAP_KILL"]
    bundle.capabilities(bounding=names, permitted=names, effective=names)
    return bundle


@needs.ids
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_program_of_somebody_else_s_is_executed_with_the_capabilities_of_the_user(
    runtime, closed, no_new_privileges
):
    closed.config["process"]["noNewPrivileges"] = no_new_privileges
    closed.config["process"]["args"] = ["/opt/mine"]
    shown = dict(line.split(":\t") for line in runtime.run(closed).ok().lines)

    # execve(2) leaves a user none of them, and CVE-2022-29162: none to inherit.
    assert {name: int(shown[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {
        "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0,
    }  # fmt: skip
    assert int(shown["CapBnd"], 16) == 1 << 1 | 1 << 5


@needs.ids
def test_an_executed_program_may_be_somebody_else_s_as_well(runtime, closed):
    container = runtime.started(closed.script("exec sleep 1000"))
    shown = dict(line.split(":\t") for line in container.exec("/opt/mine").ok().lines)

    assert int(shown["CapInh"], 16) == int(shown["CapAmb"], 16) == 0


@needs.ids
@pytest.mark.parametrize("dropped", ["bounding", "permitted", "effective"])
def test_a_capability_that_the_user_does_not_have_opens_nothing(runtime, closed, dropped):
    closed.config["process"]["args"] = ["/opt/mine"]
    for name in ("bounding", "permitted", "effective"):
        if name in {dropped, "effective" if dropped == "permitted" else dropped}:
            closed.config["process"]["capabilities"][name] = ["CAP_KILL"]

    code = runtime.run(closed).code
    if dropped == "bounding":
        known_of_runc(runtime, "executes by what is not in the bounding set", seen=code == 0)
    assert code != 0
