"""The verb: what it prints, for people and for machines."""

from __future__ import annotations

import json
import os
import subprocess

import jsonschema
import pytest

from aisbx_runtime.oci.lifecycle import register
from aisbx_runtime.oci.register import podman
from aisbx_runtime.oci.register.change import marked
from aisbx_runtime.oci.register.engine import ENGINES
from tests.oci.runtime import PROGRAM

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
with open(f"{ROOT}/spec/register.schema.json", encoding="utf-8") as _file:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(_file))
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def call(*words, home, before=()):
    if not os.path.exists(PROGRAM):
        pytest.skip(f"{PROGRAM} is missing: make build")
    return subprocess.run(
        [*before, PROGRAM, "register", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home)},
    )  # fmt: skip


@pytest.fixture
def person(tmp_path_factory):
    """The verb as a plain user: what it writes lies below a home of its own."""
    home = tmp_path_factory.mktemp("home")
    before = ()
    if os.geteuid() == 0:
        # pytest's own directories are 0700.
        home = f"/tmp/aisbx-register-{os.getpid()}"
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        before = NOBODY
    yield lambda *words: call(*words, home=home, before=before)
    subprocess.run(["rm", "-rf", str(home)], check=True)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


def test_what_is_printed_is_what_would_be_written(person):
    done = person("podman", "--print")

    assert done.stdout == marked(podman.text(PROGRAM)).decode()


def test_a_life_in_json(person):
    states = []
    for flags in (["--print"], ["--no-check"], ["--no-check"], ["--remove"], ["--remove"]):
        done = person("podman", "--format", "json", *flags)
        document = json.loads(done.stdout)
        VALIDATOR.validate(document)
        states.append(document["files"][0]["state"])

    assert states == ["written", "written", "unchanged", "removed", "absent"]
    assert document["runtime"] == PROGRAM


def test_a_person_is_told_what_was_done(person):
    done = person("podman", "--no-check")

    assert "aisbx.conf: written\n" in done.stdout
    assert f"runtime: {PROGRAM}\n" in done.stdout
    assert "check: left out: --no-check\n" in done.stdout


def test_what_needs_root_says_so(person):
    done = person("docker")

    assert (done.returncode, done.stdout) == (1, "")
    assert "needs root" in done.stderr


@pytest.mark.parametrize("words", [["rkt"], [], ["podman", "--format", "xml"],
                                   ["podman", "--print", "--remove"]])  # fmt: skip
def test_a_wrong_call_is_refused(person, words):
    assert person(*words).returncode == 1


def test_print_changes_nothing_and_tells_every_engine_something(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the engines of the machine are for root")
    for engine in ENGINES:
        done = call(engine, "--print", "--format", "json", home=tmp_path)
        VALIDATOR.validate(json.loads(done.stdout))


def test_the_library_is_where_the_package_lies():
    assert register.library() == ROOT
