"""The vendored schemas are the files we say they are, and are whole."""

from __future__ import annotations

import hashlib
import json
import os
from urllib.parse import urljoin

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.exceptions import InvalidAnchor
from referencing.jsonschema import DRAFT4

from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION

SPEC = os.path.join(os.path.dirname(__file__), "..", "..", "spec")
SPECIFICATIONS = ("runtime-spec", "image-spec")
# A slip in 1.3.0, mended after it (runtime-spec commit 04836b1): of virtual machines, for Linux
# nobody reads it.
MISWRITTEN = {("runtime-spec/schema/defs.json", "#definitions/uint32")}


def listed():
    with open(os.path.join(SPEC, "SHA256SUMS"), encoding="ascii") as file:
        return dict(reversed(line.split()) for line in file)


def present():
    found = []
    for top in SPECIFICATIONS:
        for directory, _, names in os.walk(os.path.join(SPEC, top)):
            found += [os.path.relpath(os.path.join(directory, name), SPEC) for name in names]
    return sorted(found)


def schema_names():
    return [name for name in present() if name.endswith(".json")]


def load(name):
    with open(os.path.join(SPEC, name), encoding="utf-8") as file:
        return json.load(file)


def test_every_vendored_file_is_listed_and_every_listed_file_is_there():
    assert sorted(listed()) == present()


@pytest.mark.parametrize("name", present())
def test_a_vendored_file_is_unmodified(name):
    with open(os.path.join(SPEC, name), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()

    assert listed()[name] == digest


@pytest.mark.parametrize("specification", SPECIFICATIONS)
def test_a_specification_comes_with_its_licence_and_schemas(specification):
    assert f"{specification}/LICENSE" in listed()
    assert any(name.startswith(f"{specification}/schema/") for name in listed())


def test_the_readme_names_the_version_that_the_runtime_speaks():
    with open(os.path.join(SPEC, "README.md"), encoding="utf-8") as file:
        text = file.read()

    assert f"| `runtime-spec/schema` | runtime-spec | {SPEC_VERSION} | " in text


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_is_one(name):
    Draft4Validator.check_schema(load(name))


def references(schema, base):
    """Yield each reference in `schema` with the address it is relative to."""
    if isinstance(schema, list):
        for item in schema:
            yield from references(item, base)
    elif isinstance(schema, dict):
        # A property may be called "id", and then holds a schema.
        if isinstance(schema.get("id"), str):
            base = urljoin(base, schema["id"])
        if isinstance(schema.get("$ref"), str):
            yield base, schema["$ref"]
        for item in schema.values():
            yield from references(item, base)


@pytest.mark.parametrize("name", schema_names())
def test_every_reference_of_a_schema_leads_to_a_schema(name):
    directory = os.path.dirname(name)

    def retrieve(uri):
        # Whatever address a schema gives itself, its neighbours are the files beside it.
        return DRAFT4.create_resource(load(os.path.join(directory, os.path.basename(uri))))

    registry = Registry(retrieve=retrieve)
    lost = set()
    for base, reference in references(load(name), os.path.basename(name)):
        try:
            found = registry.resolver(base).lookup(urljoin(base, reference))
        except InvalidAnchor:
            lost.add((name, reference))
        else:
            assert isinstance(found.contents, dict), reference

    assert lost == {known for known in MISWRITTEN if known[0] == name}
