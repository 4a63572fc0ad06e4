"""Functions as people write them, as tools: which parameters a model is shown, what it gets, and what it is told.

What a model is told names the place and what there is to choose from, so that it can do better. Beside the table stand
the definitions that pydantic, openai-python and, where it is installed, the Agents SDK make of the same functions.
"""

# ruff: noqa: E501 - what a model is told is one line

import copy
import functools
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import _ensure_strict_json_schema

from stepstream import Toolbox
from stepstream.client.tools.signature import signature_of
from stepstream.wire.tool_calls import FunctionCall, ToolCall
from tests.support import tool_functions as functions
from tests.support.tables import each_row


class Row(NamedTuple):
    function: Callable[..., Any]
    properties: dict[str, Any]
    required: list[str]
    accepted: dict[str, str]
    """Arguments, and the output."""
    refused: dict[str, str]
    """Arguments, and what the model is told."""


TABLE = [
    Row(
        functions.nothing,
        {},
        [],
        {"{}": "null", "": "null"},
        {'{"a": 1}': "Object contains unknown field `a`: expected none", "[]": "Expected `object`, got `array`"},
    ),
    Row(
        functions.text,
        {"a": {"type": "string"}},
        ["a"],
        {'{"a": "x"}': "x", '{"a": ""}': ""},
        {
            "{}": "Object missing required field `a`",
            '{"a": 5}': "Expected `str`, got `int` - at `$.a`",
            '{"a": null}': "Expected `str`, got `null` - at `$.a`",
            '{"a": "x"': "DecodeError: Input data was truncated",
        },
    ),
    Row(
        functions.whole,
        {"a": {"type": "integer"}},
        ["a"],
        {'{"a": 5}': "5", '{"a": 5.0}': "5"},
        {
            '{"a": 5.5}': "Expected `int`, got `float` - at `$.a`",
            '{"a": "5"}': "Expected `int`, got `str` - at `$.a`",
            '{"a": true}': "Expected `int`, got `bool` - at `$.a`",
        },
    ),
    Row(
        functions.number,
        {"a": {"type": "number"}},
        ["a"],
        {'{"a": 5}': "5.0", '{"a": 0.5}': "0.5"},
        {'{"a": "x"}': "Expected `float`, got `str` - at `$.a`"},
    ),
    Row(
        functions.flag,
        {"a": {"type": "boolean"}},
        ["a"],
        {'{"a": true}': "true"},
        {'{"a": 1}': "Expected `bool`, got `int` - at `$.a`", '{"a": "true"}': "Expected `bool`, got `str` - at `$.a`"},
    ),
    Row(
        functions.anything,
        {"a": {}, "b": {"default": 2}},
        ["a"],
        {'{"a": [1, {"x": null}]}': '[[1,{"x":null}],2]', '{"a": 1, "b": null}': "[1,null]"},
        {'{"b": 1}': "Object missing required field `a`"},
    ),
    Row(
        functions.json_value,
        {"a": {}},
        ["a"],
        {'{"a": {"x": [1.5]}}': '{"x":[1.5]}', '{"a": null}': "null"},
        {"{}": "Object missing required field `a`"},
    ),
    Row(
        functions.several,
        {"a": {"type": "array", "items": {"type": "string"}}},
        ["a"],
        {'{"a": ["x", "y"]}': '["x","y"]', '{"a": []}': "[]"},
        {
            '{"a": "x"}': "Expected `array`, got `str` - at `$.a`",
            '{"a": ["x", 1]}': "Expected `str`, got `int` - at `$.a[1]`",
        },
    ),
    Row(
        functions.untyped_list,
        {"a": {"type": "array", "items": {}}},
        ["a"],
        {'{"a": [1, "x"]}': '[1,"x"]'},
        {'{"a": {}}': "Expected `array`, got `object` - at `$.a`"},
    ),
    Row(
        functions.mapping,
        {"a": {"type": "object", "additionalProperties": {"type": "integer"}}},
        ["a"],
        {'{"a": {"x": 1}}': '{"x":1}'},
        {
            '{"a": {"x": "y"}}': "Expected `int`, got `str` - at `$.a[...]`",
            '{"a": []}': "Expected `object`, got `array` - at `$.a`",
        },
    ),
    Row(
        functions.abstract,
        {
            "a": {"type": "array", "items": {"type": "integer"}},
            "b": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        ["a", "b"],
        {'{"a": [1], "b": {"x": 2}}': '[[1],{"x":2}]'},
        {'{"a": 1, "b": {}}': "Expected `array`, got `int` - at `$.a`"},
    ),
    Row(
        functions.pair,
        {
            "a": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
            }
        },
        ["a"],
        {'{"a": [1, "x"]}': '[1,"x"]'},
        {
            '{"a": [1]}': "Expected `array` of length 2 - at `$.a`",
            '{"a": ["x", 1]}': "Expected `int`, got `str` - at `$.a[0]`",
        },
    ),
    Row(
        functions.unique,
        {"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}},
        ["a"],
        {'{"a": [1, 1, 2]}': "2"},
        {'{"a": ["x"]}': "Expected `int`, got `str` - at `$.a[0]`"},
    ),
    Row(
        functions.raw,
        {"a": {"type": "string", "contentEncoding": "base64"}},
        ["a"],
        {'{"a": "eA=="}': '"eA=="'},
        {'{"a": "?"}': "Invalid base64 encoded string - at `$.a`"},
    ),
    Row(
        functions.day,
        {"a": {"type": "string", "format": "date"}},
        ["a"],
        {'{"a": "2026-11-29"}': '"2026-11-29"'},
        {
            '{"a": "tomorrow"}': "Invalid RFC3339 encoded date - at `$.a`",
            '{"a": 5}': "Expected `date`, got `int` - at `$.a`",
        },
    ),
    Row(
        functions.moment,
        {"a": {"format": "date-time", "type": "string"}},
        ["a"],
        {'{"a": "2026-11-29T18:00:00Z"}': '"2026-11-29T18:00:00Z"'},
        {'{"a": "2026-11-29"}': "Invalid RFC3339 encoded datetime - at `$.a`"},
    ),
    Row(
        functions.span,
        {"a": {"type": "string", "format": "duration"}},
        ["a"],
        {'{"a": "PT1H"}': '"PT3600S"'},
        {'{"a": "an hour"}': "Invalid ISO8601 duration - at `$.a`"},
    ),
    Row(
        functions.exact,
        {"a": {"type": "string", "format": "decimal"}},
        ["a"],
        {'{"a": "1.10"}': '"1.10"', '{"a": 1.5}': '"1.5"'},
        {'{"a": "x"}': "Invalid decimal string - at `$.a`"},
    ),
    Row(
        functions.identity,
        {"a": {"type": "string", "format": "uuid"}},
        ["a"],
        {'{"a": "00000000-0000-0000-0000-000000000001"}': '"00000000-0000-0000-0000-000000000001"'},
        {'{"a": "1"}': "Invalid UUID - at `$.a`"},
    ),
    Row(
        functions.optional,
        {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}},
        [],
        {"{}": "null", '{"a": null}': "null", '{"a": 5}': "5"},
        {'{"a": "x"}': "Expected `int | null`, got `str` - at `$.a`"},
    ),
    Row(
        functions.or_none,
        {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        ["a"],
        {'{"a": null}': "null", '{"a": "x"}': "x"},
        {"{}": "Object missing required field `a`", '{"a": 5}': "Expected `str | null`, got `int` - at `$.a`"},
    ),
    Row(
        functions.either,
        {"a": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
        ["a"],
        {'{"a": 1}': "1", '{"a": "x"}': "x"},
        {'{"a": []}': "Expected `int | str`, got `array` - at `$.a`"},
    ),
    Row(
        functions.old_union,
        {
            "a": {
                "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
                "default": 3,
            }
        },
        [],
        {"{}": "3", '{"a": null}': "null", '{"a": [1]}': "[1]"},
        {'{"a": "x"}': "Expected `int | array | null`, got `str` - at `$.a`"},
    ),
    Row(
        functions.literal,
        {"a": {"enum": ["high", "low"], "type": "string", "default": "low"}},
        [],
        {"{}": "low", '{"a": "high"}': "high"},
        {'{"a": "mid"}': 'Invalid enum value \'mid\' - at `$.a`: expected one of "high", "low"'},
    ),
    Row(
        functions.mixed_literal,
        {"a": {"enum": [None, 1, "one"], "type": ["null", "integer", "string"]}},
        ["a"],
        {'{"a": 1}': "1", '{"a": "one"}': "one", '{"a": null}': "null"},
        {
            '{"a": 2}': 'Invalid enum value 2 - at `$.a`: expected one of null, 1, "one"',
            '{"a": "two"}': "Invalid enum value 'two' - at `$.a`: expected one of null, 1, \"one\"",
        },
    ),
    Row(
        functions.choice,
        {"a": {"$ref": "#/$defs/Tide", "default": "low"}},
        [],
        {"{}": '"low"', '{"a": "high"}': '"high"'},
        {'{"a": "mid"}': 'Invalid enum value \'mid\' - at `$.a`: expected one of "high", "low"'},
    ),
    Row(
        functions.size,
        {"a": {"$ref": "#/$defs/Size"}},
        ["a"],
        {'{"a": 2}': "2"},
        {'{"a": 3}': "Invalid enum value 3 - at `$.a`: expected one of 1, 2"},
    ),
    Row(
        functions.tagged,
        {
            "a": {
                "anyOf": [{"$ref": "#/$defs/Sail"}, {"$ref": "#/$defs/Motor"}],
                "discriminator": {
                    "propertyName": "type",
                    "mapping": {"sail": "#/$defs/Sail", "motor": "#/$defs/Motor"},
                },
            }
        },
        ["a"],
        {'{"a": {"type": "motor", "power": 5}}': "Motor"},
        {
            '{"a": {"type": "oars"}}': 'Invalid value \'oars\' - at `$.a.type`: expected one of "sail", "motor"',
            '{"a": {"power": 5}}': "Object missing required field `type` - at `$.a`",
        },
    ),
    Row(
        functions.defaults,
        {
            "a": {"type": "string"},
            "b": {"type": "integer", "default": 2},
            "c": {"type": "number", "default": 0.5},
            "d": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}], "default": None},
        },
        ["a"],
        {'{"a": "x"}': '["x",2,0.5,null]', '{"a": "x", "b": null, "c": 2, "d": [1]}': '["x",2,2.0,[1]]'},
        {'{"a": "x", "e": 1}': "Object contains unknown field `e`: expected a, b, c, d"},
    ),
    Row(
        functions.no_json_default,
        {"a": {"type": "integer"}, "key": {}},
        ["a"],
        {'{"a": 1}': "true"},
        {'{"a": "x"}': "Expected `int`, got `str` - at `$.a`"},
    ),
    Row(
        functions.keyword_only,
        {"a": {"type": "integer"}},
        ["a"],
        {'{"a": 1}': "1"},
        {"{}": "Object missing required field `a`"},
    ),
    Row(
        functions.positional_only,
        {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}, "c": {"type": "integer", "default": 3}},
        ["a"],
        {'{"a": 1}': "[1,2,3]", '{"a": 1, "c": 5}': "[1,2,5]", '{"a": 1, "b": 7}': "[1,7,3]"},
        {'{"b": 1}': "Object missing required field `a`"},
    ),
    Row(
        functions.meta,
        {"a": {"description": "a harbour", "type": "string", "minLength": 2}},
        ["a"],
        {'{"a": "N4"}': "N4"},
        {'{"a": "N"}': "Expected `str` of length >= 2 - at `$.a`"},
    ),
    Row(
        functions.doc,
        {"a": {"description": "a harbour", "type": "string"}},
        ["a"],
        {'{"a": "N4"}': "N4"},
        {'{"a": 4}': "Expected `str`, got `int` - at `$.a`"},
    ),
    Row(
        functions.worded,
        {"a": {"description": "how many nights", "type": "integer", "default": 1}},
        [],
        {"{}": "1", '{"a": 2}': "2"},
        {'{"a": "two"}': "Expected `int | null`, got `str` - at `$.a`"},
    ),
    Row(
        functions.limits,
        {"a": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10}},
        ["a"],
        {'{"a": 1}': "1"},
        {'{"a": 0}': "Expected `int` >= 1 - at `$.a`", '{"a": 10}': "Expected `int` <= 9 - at `$.a`"},
    ),
    Row(
        functions.length,
        {"a": {"type": "array", "items": {"type": "integer"}, "maxItems": 2, "minItems": 1}},
        ["a"],
        {'{"a": [1]}': "[1]"},
        {
            '{"a": []}': "Expected `array` of length >= 1 - at `$.a`",
            '{"a": [1, 2, 3]}': "Expected `array` of length <= 2 - at `$.a`",
        },
    ),
    Row(
        functions.limit_or_none,
        {"a": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}], "default": None}},
        [],
        {'{"a": 1}': "1", '{"a": null}': "null"},
        {'{"a": 0}': "Expected `int` >= 1 - at `$.a`"},
    ),
    Row(
        functions.inner,
        {"a": {"type": "array", "items": {"description": "a depth", "type": "integer", "minimum": 1}}},
        ["a"],
        {'{"a": [1]}': "[1]"},
        {'{"a": [1, 0]}': "Expected `int` >= 1 - at `$.a[1]`"},
    ),
    Row(
        functions.field,
        {"a": {"type": "string", "minLength": 2, "description": "a harbour"}},
        ["a"],
        {'{"a": "N4"}': "N4"},
        {
            '{"a": "N"}': "String should have at least 2 characters - at `$.a`",
            "{}": "Object missing required field `a`",
        },
    ),
    Row(
        functions.field_default,
        {"a": {"type": "string", "description": "a harbour", "default": "N4"}, "b": {"type": "integer", "minimum": 1}},
        ["b"],
        {'{"b": 2}': "N4N4", '{"a": "x", "b": 1}': "x"},
        {
            '{"b": 0}': "Input should be greater than or equal to 1 - at `$.b`",
            '{"a": "x"}': "Object missing required field `b`",
        },
    ),
    Row(
        functions.positive,
        {"a": {"type": "integer", "exclusiveMinimum": 0}},
        ["a"],
        {'{"a": 1}': "1"},
        {'{"a": 0}': "Expected `int` >= 1 - at `$.a`"},
    ),
    Row(
        functions.validated,
        {"a": {"type": "string"}},
        ["a"],
        {'{"a": "n4"}': "N4"},
        {'{"a": 4}': "Input should be a valid string - at `$.a`"},
    ),
    Row(
        functions.address,
        {"a": {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083}},
        ["a"],
        {'{"a": "https://a.example"}': "https://a.example/"},
        {'{"a": "nowhere"}': "Input should be a valid URL, relative URL without a base - at `$.a`"},
    ),
    Row(
        functions.struct,
        {"a": {"$ref": "#/$defs/Place"}},
        ["a"],
        {'{"a": {"name": "N4"}}': '{"name":"N4","depth":null}'},
        {
            '{"a": {}}': "Object missing required field `name` - at `$.a`",
            '{"a": {"name": "N4", "depth": "deep"}}': "Expected `float | null`, got `str` - at `$.a.depth`",
            '{"a": "N4"}': "Expected `object`, got `str` - at `$.a`",
        },
    ),
    Row(
        functions.nested,
        {
            "a": {"$ref": "#/$defs/Route"},
            "b": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "default": None},
        },
        ["a"],
        {
            '{"a": {"start": {"name": "N4"}, "stops": [{"name": "N5"}]}}': '[{"start":{"name":"N4","depth":null},"stops":[{"name":"N5","depth":null}]},null]'
        },
        {'{"a": {"start": {"name": "N4"}, "stops": [{}]}}': "Object missing required field `name` - at `$.a.stops[0]`"},
    ),
    Row(
        functions.recursive,
        {"a": {"$ref": "#/$defs/Node"}},
        ["a"],
        {'{"a": {"value": 1, "next": {"value": 2}}}': '{"value":1,"next":{"value":2,"next":null}}'},
        {'{"a": {"value": 1, "next": {"value": "x"}}}': "Expected `int`, got `str` - at `$.a.next.value`"},
    ),
    Row(
        functions.plain_dataclass,
        {"a": {"$ref": "#/$defs/Berth"}},
        ["a"],
        {'{"a": {"number": 4}}': '[4,"port"]'},
        {
            '{"a": {"number": 4, "side": "left"}}': 'Invalid enum value \'left\' - at `$.a.side`: expected one of "port", "starboard"'
        },
    ),
    Row(
        functions.typed_dict,
        {"a": {"$ref": "#/$defs/Cargo"}},
        ["a"],
        {'{"a": {"tons": 4}}': '{"tons":4.0}'},
        {'{"a": {"goods": "tea"}}': "Object missing required field `tons` - at `$.a`"},
    ),
    Row(
        functions.named_tuple,
        {"a": {"$ref": "#/$defs/Point"}},
        ["a"],
        {'{"a": [1, 2]}': "[1.0,2.0]"},
        {'{"a": [1]}': "Expected `array` of length 2 - at `$.a`"},
    ),
    Row(
        functions.model,
        {"a": {"$ref": "#/$defs/Trip"}},
        ["a"],
        {'{"a": {"place": "N4"}}': '{"place":"N4","nights":1}'},
        {
            '{"a": {"place": "N4", "nights": 0}}': "Input should be greater than or equal to 1 - at `$.a.nights`",
            '{"a": {"nights": "x"}}': "Field required - at `$.a.place`; Input should be a valid integer, unable to parse string as an integer - at `$.a.nights`",
            '{"a": 5}': "Input should be an object - at `$.a`",
        },
    ),
    Row(
        functions.models,
        {
            "a": {"type": "array", "items": {"$ref": "#/$defs/Guest"}},
            "b": {"anyOf": [{"$ref": "#/$defs/Trip"}, {"type": "null"}], "default": None},
        },
        ["a"],
        {
            '{"a": [{"name": "Ann", "trips": [{"place": "N4"}]}]}': '[[{"name":"Ann","trips":[{"place":"N4","nights":1}]}],null]'
        },
        {
            '{"a": [{"name": "Ann", "trips": [{}]}]}': "Field required - at `$.a[0].trips[0].place`",
            '{"a": [], "b": 5}': "Input should be an object - at `$.b`",
        },
    ),
    Row(
        functions.discriminated,
        {
            "a": {
                "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
                "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}},
            }
        },
        ["a"],
        {'{"a": {"kind": "dog"}}': '{"kind":"dog","tricks":[]}'},
        {
            '{"a": {"kind": "cow"}}': "Input tag 'cow' found using 'kind' does not match any of the expected tags: 'cat', 'dog' - at `$.a`"
        },
    ),
    Row(
        functions.generic,
        {"a": {"$ref": "#/$defs/Crew_int_"}},
        ["a"],
        {'{"a": {"members": [1]}}': '{"members":[1]}'},
        {
            '{"a": {"members": ["x"]}}': "Input should be a valid integer, unable to parse string as an integer - at `$.a.members[0]`"
        },
    ),
    Row(
        functions.pydantic_dataclass,
        {"a": {"$ref": "#/$defs/Anchor"}},
        ["a"],
        {'{"a": {"weight": 5}}': '{"weight":5.0}'},
        {'{"a": {"weight": 0}}': "Input should be greater than 0 - at `$.a.weight`"},
    ),
    Row(
        functions.mixed,
        {"a": {"$ref": "#/$defs/Party"}, "b": {"$ref": "#/$defs/Place"}},
        ["a", "b"],
        {
            '{"a": {"guest": {"name": "Ann"}}, "b": {"name": "N4"}}': '[{"guest":{"name":"Ann","trips":[]},"size":1},{"name":"N4","depth":null}]'
        },
        {
            '{"a": {"guest": {}}, "b": {"name": "N4"}}': "Field required - at `$.a.guest.name`",
            '{"a": {"guest": {"name": "Ann"}}, "b": {}}': "Object missing required field `name` - at `$.b`",
        },
    ),
    Row(
        functions.asynchronous,
        {"a": {"type": "integer"}},
        ["a"],
        {'{"a": 1}': "1"},
        {'{"a": "x"}': "Expected `int`, got `str` - at `$.a`"},
    ),
    Row(
        functions.with_context,
        {"a": {"type": "integer"}},
        ["a"],
        {'{"a": 1}': '[1,"call_1"]'},
        {'{"context": {}, "a": 1}': "Object contains unknown field `context`: expected a"},
    ),
    Row(
        functions.wrapped,
        {
            "a": {"type": "string"},
            "b": {"type": "integer", "default": 2},
            "c": {"type": "number", "default": 0.5},
            "d": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}], "default": None},
        },
        ["a"],
        {'{"a": "x"}': '["x",2,0.5,null]'},
        {'{"b": 1}': "Object missing required field `a`"},
    ),
    Row(
        functools.partial(functions.defaults, "x", c=1.5),
        {
            "b": {"type": "integer", "default": 2},
            "d": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}], "default": None},
        },
        [],
        {"{}": '["x",2,1.5,null]', '{"b": 5}': '["x",5,1.5,null]'},
        {'{"c": 1}': "Object contains unknown field `c`: expected b, d"},
    ),
    Row(
        functools.lru_cache(functions.text),
        {"a": {"type": "string"}},
        ["a"],
        {'{"a": "x"}': "x"},
        {'{"a": 1}': "Expected `str`, got `int` - at `$.a`"},
    ),
    Row(
        functions.Boat("Heron").sail,
        {"to": {"type": "string"}},
        ["to"],
        {'{"to": "N4"}': "Heron to N4"},
        {'{"to": 4}': "Expected `str`, got `int` - at `$.to`"},
    ),
    Row(
        functions.Boat.named,
        {"name": {"type": "string"}},
        ["name"],
        {'{"name": "Heron"}': "Heron"},
        {"{}": "Object missing required field `name`"},
    ),
    Row(
        functions.Boat.knots,
        {"speed": {"type": "number"}},
        ["speed"],
        {'{"speed": 2}': "4.0"},
        {'{"speed": "fast"}': "Expected `float`, got `str` - at `$.speed`"},
    ),
    Row(
        functions.Boat("Heron"),
        {"hours": {"type": "integer"}},
        ["hours"],
        {'{"hours": 2}': "2"},
        {'{"hours": "x"}': "Expected `int`, got `str` - at `$.hours`"},
    ),
]


def label(row: Row) -> str:
    return getattr(row.function, "__name__", repr(row.function))


def registered(function: Callable[..., Any], **options: Any) -> Toolbox:
    tools = Toolbox(**options)
    tools.function(name="tool", description="A tool.")(function)
    return tools


def schema_of(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    [definition] = registered(function, **options).definitions("responses")
    found: dict[str, Any] = definition["parameters"]
    return found


async def output(tools: Toolbox, arguments: str) -> str:
    call = ToolCall(id="call_1", type="function", function=FunctionCall(name="tool", arguments=arguments))
    return (await tools.outputs([call]))["call_1"]


def test_there_are_enough_signatures():
    assert len(TABLE) >= 60


@each_row("row", TABLE, ids=label)
def test_definition_shows_the_parameters(row: Row):
    found = schema_of(row.function)
    assert (found["properties"], found["required"]) == (row.properties, row.required)
    assert (found["type"], found["additionalProperties"]) == ("object", False)
    named = set(references(found))
    assert named == set(found.get("$defs", {}))


@each_row("row", TABLE, ids=label)
async def test_arguments_that_fit_are_accepted_and_the_result_is_encoded(row: Row):
    tools = registered(row.function)
    assert {arguments: await output(tools, arguments) for arguments in row.accepted} == row.accepted


@each_row("row", TABLE, ids=label)
async def test_arguments_that_do_not_fit_are_refused_with_a_reason(row: Row):
    tools = registered(row.function)
    told = {arguments: json.loads(await output(tools, arguments))["error"] for arguments in row.refused}
    assert {arguments: text.removeprefix("ValidationError: ") for arguments, text in told.items()} == row.refused


SIGNATURES = [signature_of(row.function, name="tool", description=None) for row in TABLE]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(width=16) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "kind", "type"]), inner),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON_VALUES, max_size=3)


@given(st.text(max_size=9) | OBJECTS.map(json.dumps))
def test_no_arguments_whatever_raise_anything_but_a_refusal(arguments: str):
    for signature in SIGNATURES:
        with suppress(ValueError):  # of msgspec, or where half of a surrogate pair is no text
            decoded = signature.decode(arguments)
            assert decoded.keys() <= {parameter.name for parameter in signature.parameters}


def references(schema: Any) -> list[str]:
    """Return the names of the definitions that a schema refers to."""
    if isinstance(schema, list):
        return [name for one in schema for name in references(one)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for one in schema.values() for name in references(one)]


# What others make of the same functions

LEFT_OUT = {"title", "discriminator", "$defs"}


def plainly(schema: Any, definitions: dict[str, Any], depth: int = 0) -> Any:
    """Return a schema without the ways in which libraries say the same: references, titles, constants, orders."""
    if isinstance(schema, list):
        return [plainly(one, definitions, depth) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]] if depth < 3 else {}  # one is recursive
        return plainly({**target, **{key: one for key, one in schema.items() if key != "$ref"}}, definitions, depth + 1)
    found = {key: one for key, one in schema.items() if key not in LEFT_OUT}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if "enum" in found:
        found["enum"] = sorted(found["enum"], key=repr)
        found.pop("type", None)
    if "oneOf" in found:
        found["anyOf"] = found.pop("oneOf")
    if "prefixItems" in found:
        found.pop("items", None)
    if found.get("additionalProperties") is True:
        del found["additionalProperties"]
    if "properties" in found:
        properties = found.pop("properties")
        found["properties"] = {name: plainly(one, definitions, depth) for name, one in properties.items()}
    return {key: one if key == "properties" else plainly(one, definitions, depth) for key, one in found.items()}


def same_schema(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parameters that two schemas describe otherwise."""
    one, other = ours["properties"], theirs["properties"]
    shown = {name: (plainly(one.get(name), ours.get("$defs", {})), plainly(other.get(name), theirs.get("$defs", {})))
             for name in one.keys() | other.keys()}  # fmt: skip
    differences: dict[str, tuple[Any, Any]] = {name: pair for name, pair in shown.items() if pair[0] != pair[1]}
    if sorted(ours["required"]) != sorted(theirs.get("required", [])):
        differences["required"] = (ours["required"], theirs.get("required"))
    return differences


def model_of(function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """Return the model that openai's helper wants, with the parameters of a function as its fields."""
    fields: dict[str, Any] = {}
    for name, one in inspect.signature(function, eval_str=True).parameters.items():
        annotation = Any if one.annotation is one.empty else one.annotation
        fields[name] = (annotation, ... if one.default is one.empty else one.default)
    return pydantic.create_model("tool", **fields)


KNOWN_DIFFERENCES = {
    "raw": {"a"},  # msgspec reads base64; pydantic the characters themselves
    "exact": {"a"},  # a number is not exact, so that a model is not asked for one
    "meta": {"a"},  # of msgspec, which pydantic does not read
    "doc": {"a"},  # pydantic reads neither Doc nor a string
    "worded": {"a"},
    "inner": {"a"},
    "plain_dataclass": {"a"},  # a Doc in it
    "tool": {"c"},  # a partial binds it: the model does not see it
}
NOT_OF_PYDANTIC = {"tagged", "struct", "nested", "recursive", "mixed", "with_context"}
"""Structs of msgspec, and a ToolContext."""

NAMED = {label(row): row for row in TABLE}


@pytest.mark.filterwarnings("ignore::pydantic.json_schema.PydanticJsonSchemaWarning")
@each_row("row", [row for row in TABLE if label(row) not in NOT_OF_PYDANTIC], ids=label)
def test_definition_says_what_that_of_openai_and_pydantic_does(row: Row):
    theirs: Any = model_of(row.function).model_json_schema()
    name = "tool" if isinstance(row.function, functools.partial) else label(row)
    assert same_schema(schema_of(row.function), theirs).keys() == KNOWN_DIFFERENCES.get(name, set())


@each_row("name", sorted(NOT_OF_PYDANTIC))
def test_what_pydantic_does_not_describe_is_described(name: str):
    with pytest.raises(pydantic.errors.PydanticUserError):
        model_of(NAMED[name].function)
    assert schema_of(NAMED[name].function)["properties"]


NOT_STRICT = {
    "anything": "a: a strict schema cannot leave open what it is",
    "json_value": "a: a strict schema cannot leave open what it is",
    "untyped_list": r"a\[\]: a strict schema cannot leave open what it is",
    "mapping": "a: a strict schema has no object with any keys",
    "abstract": "b: a strict schema has no object with any keys",
    "pair": "a: a strict schema has no prefixItems",
    "named_tuple": "Point: a strict schema has no prefixItems",
    "no_json_default": "key: a strict schema cannot leave open what it is",
}


@each_row(("name", "reason"), NOT_STRICT.items())
def test_what_no_strict_schema_describes_is_refused_with_its_place(name: str, reason: str):
    with pytest.raises(TypeError, match=f"expected parameters of tool that have a strict JSON schema: {reason}"):
        registered(NAMED[name].function, strict=True)


STRICT_KEYWORDS = {
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf", "pattern",
    "properties", "required", "type",
}  # fmt: skip
"""The keywords that structured outputs accept, as the API's guide lists them."""


def strict_faults(schema: Any, where: str = "$") -> list[str]:
    """Return where a schema breaks a rule of structured outputs."""
    if isinstance(schema, list):
        return [fault for one in schema for fault in strict_faults(one, where)]
    if not isinstance(schema, dict):
        return []
    faults = [f"{where}: {key}" for key in schema.keys() - STRICT_KEYWORDS]
    if "$ref" in schema and len(schema) > 1:
        faults.append(f"{where}: beside a reference")
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or schema["required"] != list(schema["properties"])
    ):
        faults.append(f"{where}: open")
    for key in ("properties", "$defs"):
        for name, one in schema.get(key, {}).items():
            faults += strict_faults(one, f"{where}.{name}")
    return faults + [fault for key in ("items", "anyOf") for fault in strict_faults(schema.get(key), f"{where}.{key}")]


def test_faults_of_strict_schemas_are_found():
    loose = schema_of(NAMED["model"].function)
    assert strict_faults(loose) != []
    assert strict_faults({"type": "string", "minLength": 2}) == ["$: minLength"]
    assert strict_faults({"anyOf": [{"$ref": "x", "description": "y"}]}) == ["$.anyOf: beside a reference"]


@each_row("row", [row for row in TABLE if label(row) not in NOT_STRICT], ids=label)
async def test_strict_definition_keeps_the_rules_and_accepts_the_same(row: Row):
    tools = registered(row.function, strict=True)
    schema = schema_of(row.function, strict=True)
    assert strict_faults(schema) == []
    assert _ensure_strict_json_schema(copy.deepcopy(schema), path=(), root=schema) == schema
    assert {arguments: await output(tools, arguments) for arguments in row.accepted} == row.accepted
    if "{}" in row.accepted and label(row) != "old_union":  # null is one of its values
        nulls = json.dumps(dict.fromkeys(schema["properties"]))
        assert await output(tools, nulls) == row.accepted["{}"]


def test_strict_definition_tells_what_its_keywords_cannot():
    assert schema_of(functions.defaults, strict=True)["properties"]["b"] == {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "description": "default: 2",
    }
    assert schema_of(functions.meta, strict=True)["properties"]["a"] == {
        "type": "string",
        "description": "a harbour (minLength: 2)",
    }
    assert schema_of(functions.exact, strict=True)["properties"]["a"] == {
        "type": "string",
        "description": "format: decimal",
    }


def test_strict_parameters_are_those_of_openai_but_for_what_may_be_left_out():
    theirs: Any = openai.pydantic_function_tool(model_of(functions.model))["function"]
    ours = schema_of(functions.model, strict=True)
    assert theirs["strict"] is True
    assert plainly(ours["properties"]["a"], ours["$defs"])["required"] == ["place", "nights"]
    their_parts = theirs["parameters"]["$defs"]
    assert plainly(theirs["parameters"]["properties"]["a"], their_parts)["required"] == ["place", "nights"]


@pytest.mark.filterwarnings("ignore::pydantic.json_schema.PydanticJsonSchemaWarning")
@each_row("row", [row for row in TABLE if hasattr(row.function, "__name__")], ids=label)
def test_definition_says_what_that_of_the_agents_sdk_does(row: Row):
    agents = pytest.importorskip("agents.function_schema")
    if label(row) in NOT_OF_PYDANTIC:
        return
    theirs = agents.function_schema(row.function, name_override="tool", strict_json_schema=False).params_json_schema
    known = KNOWN_DIFFERENCES.get(label(row), set()) if label(row) != "worded" else set()  # it reads strings as we do
    assert same_schema(schema_of(row.function), theirs).keys() == known
