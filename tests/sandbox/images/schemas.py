"""The image-spec's own schemas, as validators."""

from __future__ import annotations

import json
import os

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

SCHEMAS = os.path.join(os.path.dirname(__file__), "../../../spec/image-spec/schema")


def _loaded():
    for name in sorted(os.listdir(SCHEMAS)):
        with open(os.path.join(SCHEMAS, name), encoding="utf-8") as file:
            yield name, json.load(file)


def validator(name):
    """Return the validator of a schema such as `image-manifest`."""
    schemas = dict(_loaded())

    def retrieve(uri):
        # Whatever address a schema gives itself, its neighbours are the files beside it.
        return DRAFT4.create_resource(schemas[os.path.basename(uri)])

    return Draft4Validator(schemas[f"{name}-schema.json"], registry=Registry(retrieve=retrieve))


def errors(name, document):
    return [error.message for error in validator(name).iter_errors(document)]
