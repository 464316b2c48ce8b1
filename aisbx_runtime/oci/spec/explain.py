"""Explain all errors of a config.json with the vendored schemas: for `validate`, and for a refusal.

Never on the hot path: `jsonschema` takes 100 ms to import. The parser alone decides what is
accepted; the schemas say what else is wrong with a text that it refuses.
"""

from __future__ import annotations

import functools
import os
import sys

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci.errors import Failure, SpecError
from aisbx_runtime.oci.jsontext import is_array, is_object
from aisbx_runtime.oci.spec import parse, validate
from aisbx_runtime.oci.spec.node import node_of, shown
from aisbx_runtime.oci.spec.parse_linux import PROPAGATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from aisbx_runtime.oci.spec.node import Path

    class _SchemaError(Protocol):
        """What we read of a `jsonschema.ValidationError`."""

        absolute_path: Iterable[str | int]
        message: str
        validator: str
        instance: object

    class _Validator(Protocol):
        """What we use of a `jsonschema.Draft4Validator`."""

        def iter_errors(self, instance: object) -> Iterable[_SchemaError]: ...


_TOP = "config-schema.json"


def schema_directory() -> str:
    """Return the directory of the runtime-spec schemas. Raises Failure when it is not there."""
    # It is beside the package: in a checkout, and in PREFIX/lib/aisbx.
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    directory = os.path.join(os.path.dirname(package), "spec", "runtime-spec", "schema")
    if not os.path.exists(os.path.join(directory, _TOP)):
        raise Failure(
            f"cannot explain: there are no schemas in {directory}",
            hint="install aisbx-runtime again: `make install` copies them",
        )
    return directory


def explain(text: str, where: str) -> list[SpecError]:
    """Return the errors of the config.json `text`, those of the parser first; empty: none.

    Raises Failure when the schemas or `jsonschema` are missing.
    """
    try:
        spec, document = parse.read_spec(text, where)
        errors = list(validate.broken(spec, document))
    except SpecError as error:
        errors = [error]
    try:
        _, document = node_of(text, where)
    except SpecError:
        return errors  # not JSON, or no object: the schemas have nothing to add
    told = {error.what.partition(":")[0] for error in errors}
    more = [document.error(*found) for found in schema_errors(jsontext.parse(text))]
    return errors + [error for error in more if error.what.partition(":")[0] not in told]


def schema_errors(config: object) -> list[tuple[Path, str]]:
    """Return path and text of what the schemas refuse in `config` and the parser has to refuse."""
    validator = _validator_class()(linux_schema())
    errors = [
        (tuple(error.absolute_path), error.message)
        for error in validator.iter_errors(as_go_reads(config))
        if not _is_tolerated(tuple(error.absolute_path), error)
    ]
    # An index and a name never meet at the same place, but their types could.
    return sorted(errors, key=lambda error: [str(key) for key in error[0]])


def as_go_reads(value: object) -> object:
    """Return `value` without the fields that are null: to a Go program they are absent."""
    if is_object(value):
        return {name: as_go_reads(item) for name, item in value.items() if item is not None}
    if is_array(value):
        return [as_go_reads(item) for item in value]
    return value


def _is_tolerated(path: Path, error: _SchemaError) -> bool:
    """Tell whether the parser accepts on purpose what the schema of 1.3.0 refuses."""
    # podman's modes carry the file type (0o20600), beyond the schema's maximum of 511.
    if path[-1:] == ("fileMode",):
        return error.validator == "maximum"
    # podman and docker send the recursive ones, and runc takes them.
    if path == ("linux", "rootfsPropagation"):
        return isinstance(error.instance, str) and error.instance in {"", *PROPAGATIONS}
    # config-linux.md has had it optional since 1.3.0; the schema was not told.
    if path == ("linux", "resources", "pids"):
        return error.validator == "required"
    # Absent and empty are one thing to a Go program.
    return path == ("linux", "intelRdt", "memBwSchema") and error.instance == ""


@functools.cache
def linux_schema() -> dict[str, object]:
    """Return the schema of config.json for Linux, in one piece, without references."""
    directory = schema_directory()
    files: dict[str, object] = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            files[name] = jsontext.parse(file.read())
    schema = _object(resolved(files[_TOP], _TOP, files))
    # What the parser does not read cannot be wrong on Linux (config.md: unknown properties).
    for path in (
        ("solaris",),
        ("windows",),
        ("vm",),
        ("zos",),
        ("freebsd",),
        ("process", "commandLine"),
        ("process", "user", "username"),
    ):
        properties = _object(schema["properties"])
        for key in path[:-1]:
            properties = _object(_object(properties[key])["properties"])
        del properties[path[-1]]
    return schema


def resolved(schema: object, file: str, files: dict[str, object]) -> object:
    """Return a copy of `schema`, which stands in `file`, with every `$ref` replaced by its target.

    JSON Schema draft 4: what stands beside a `$ref` is ignored. No schema here holds itself.
    """
    if is_array(schema):
        return [resolved(item, file, files) for item in schema]
    if not is_object(schema):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name, _, pointer = reference.partition("#")
        target_file = name or file
        target = files[target_file]
        for key in pointer.strip("/").split("/"):
            target = _object(target)[key]
        return resolved(target, target_file, files)
    return {name: resolved(item, file, files) for name, item in schema.items()}


def _object(value: object) -> dict[str, object]:
    if not is_object(value):
        raise Failure(f"cannot explain: a schema is damaged: {shown(value)} is no object")
    return value


def _validator_class() -> Callable[[dict[str, object]], _Validator]:
    """Return `jsonschema.Draft4Validator`. Raises Failure."""
    # The runtime runs with -IS and so without the directories of installed packages; from here on
    # it reads text for a person, and starts nothing.
    from importlib import import_module
    from site import getsitepackages

    sys.path += [path for path in getsitepackages() if path not in sys.path]
    try:
        found: Callable[[dict[str, object]], _Validator] = import_module(
            "jsonschema"
        ).Draft4Validator
    except ImportError as error:
        raise Failure(
            "cannot explain: the Python package jsonschema is missing",
            why=str(error),
            hint="apt install python3-jsonschema, or pip install jsonschema",
        ) from None
    return found
