"""What holds for every text: one result or one SpecError; never stricter schema than parser."""

from __future__ import annotations

import copy
import json
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import explain, mount_options, parse
from aisbx_runtime.oci.spec.model import Process, Resources, Spec
from tests.strategies import (
    base_config,
    json_values,
    mount_option_lists,
    mutated,
    places,
    processes,
    resources,
    valid_configs,
)

DATA = os.path.join(os.path.dirname(__file__), "data")


def read_text(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return file.read()


def engine_configs():
    for name in sorted(os.listdir(DATA)):
        if not name.startswith(("exec-", "update-")):
            yield json.loads(read_text(name))


some_config = valid_configs | st.sampled_from(list(engine_configs()))


def read(reader, text):
    """Return what `reader` makes of `text`, or its error after checking how the error looks."""
    try:
        return reader(text, "config.json")
    except SpecError as refusal:
        error = refusal
    place, _, problem = error.what.partition(": ")
    assert place, error.what
    assert problem, error.what
    assert error.what.isascii(), error.what
    assert error.what.isprintable(), error.what
    assert error.where.startswith("config.json"), error.where
    return error


@given(json_values)
@example(1e999)
@example({"ociVersion": "1.0.0", "root": {"path": "\ud800"}})
def test_any_json_gives_a_spec_or_one_spec_error(value):
    text = json.dumps(value)

    assert isinstance(read(parse.spec_of, text), Spec | SpecError)
    assert isinstance(read(parse.process_of, text), Process | SpecError)
    assert isinstance(read(parse.resources_of, text), Resources | SpecError)


@given(st.text() | st.text(st.sampled_from('{}[]":,0123456789.eE+-\\u truefalsn\n')))
@example("")
@example("\ufeff{}")
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("1" * 5000)
@example('{"a":NaN}')
@example('{"a":-Infinity}')
@example("{} {}")
@example('{"a": "\t"}')
@example('{"a"')
def test_any_text_gives_a_spec_or_one_spec_error(text):
    assert isinstance(read(parse.spec_of, text), Spec | SpecError)


@given(st.binary())
@example(b"\xff")
def test_any_bytes_give_text_or_one_spec_error(data):
    assert isinstance(read(parse.text_of, data), str | SpecError)


@given(valid_configs)
def test_a_valid_config_is_accepted_by_parser_and_schema(config):
    parse.spec_of(json.dumps(config), "config.json")

    assert [] == explain.schema_errors(config)


@given(mutated(some_config))
def test_whatever_the_schema_refuses_the_parser_refuses(config):
    outcome = read(parse.spec_of, json.dumps(config))

    assert isinstance(outcome, Spec | SpecError)
    if isinstance(outcome, Spec):
        assert [] == explain.schema_errors(config)


EVERYTHING = json.loads(read_text("everything.json"))
WRONG = [None, "", "x", "x\n", 0, -1, 1.0, 2**64, True, [], [None], [0], {}, {"x": None}, {"x": 0}]


@pytest.mark.parametrize("at", range(len(places(EVERYTHING))))
def test_at_every_place_the_parser_refuses_what_the_schema_refuses(at):
    for wrong in (*WRONG, ...):
        config = copy.deepcopy(EVERYTHING)
        container, key = places(config)[at]
        if wrong is ...:
            del container[key]
        else:
            container[key] = wrong
        outcome = read(parse.spec_of, json.dumps(config))
        if isinstance(outcome, Spec):
            assert [] == explain.schema_errors(config)


@given(mutated(processes))
def test_a_process_alone_is_read_as_it_is_inside_a_config(process):
    config = base_config()
    config["process"] = process
    inside = read(parse.spec_of, json.dumps(config))
    alone = read(parse.process_of, json.dumps(process))

    if isinstance(inside, Spec):
        assert inside.process == alone
    else:
        assert inside.what == f"process.{alone.what}".replace("process.the top level", "process")


@given(mutated(resources))
def test_resources_alone_are_read_as_they_are_inside_a_config(limits):
    config = base_config()
    config["linux"]["resources"] = limits
    inside = read(parse.spec_of, json.dumps(config))
    alone = read(parse.resources_of, json.dumps(limits))

    if isinstance(inside, Spec):
        assert inside.linux.resources == alone
    else:
        assert inside.what == f"linux.resources.{alone.what}"


@given(mutated(some_config))
def test_explain_finds_an_error_exactly_where_the_parser_does(config):
    text = json.dumps(config)
    outcome = read(parse.spec_of, text)
    explained = explain.explain(text, "config.json")

    assert isinstance(outcome, SpecError) == bool(explained)
    if isinstance(outcome, SpecError):
        assert outcome.what == explained[0].what


KNOWN_OPTIONS = (
    *mount_options.ATTRIBUTES,
    *mount_options.RECURSIVE_ATTRIBUTES,
    *mount_options.SUPERBLOCK,
    *mount_options.PROPAGATION,
    *mount_options.WAYS,
    *mount_options.IGNORED,
)


@given(mount_option_lists(KNOWN_OPTIONS), mount_option_lists(KNOWN_OPTIONS))
def test_the_last_word_on_a_mount_option_counts(first, last):
    both = mount_options.resolve(first + last)
    alone = mount_options.resolve(last)

    assert both.attr_set & alone.attr_clr & ~mount_options.MOUNT_ATTR__ATIME == (
        alone.attr_set & alone.attr_clr & ~mount_options.MOUNT_ATTR__ATIME
    )
    assert alone.propagation in (0, both.propagation)
    assert both.data[len(both.data) - len(alone.data) :] == alone.data


@given(mount_option_lists(KNOWN_OPTIONS))
def test_the_kernel_can_take_every_pair_of_attributes(options):
    resolved = mount_options.resolve(options)

    for set_, clear in (
        (resolved.attr_set, resolved.attr_clr),
        (resolved.rec_attr_set, resolved.rec_attr_clr),
    ):
        # mount_setattr(2), EINVAL: the atime bits may only be cleared all together,
        # and one of them may only be set when all are cleared.
        group = mount_options.MOUNT_ATTR__ATIME
        assert clear & group in (0, group)
        assert not set_ & group or clear & group == group
        assert set_ & clear & ~group == 0
