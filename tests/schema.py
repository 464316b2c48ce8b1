"""Hold JSON against an entry of spec/aisbx.schema.json."""

from __future__ import annotations

import json
import os

import jsonschema

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check_json(definition: str, value: object) -> None:
    """Raise jsonschema.ValidationError unless value is what `$defs/DEFINITION` describes."""
    with open(f"{ROOT}/spec/aisbx.schema.json", encoding="utf-8") as file:
        schema = json.load(file)

    assert definition in schema["$defs"]
    jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    ).validate(value)
