"""Schemas that can be kept become grammars, others are refused with the reason, and answers are checked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from inference.errors import InvalidSchema
from inference.grammar import arguments_grammar, grammar_for, matches
from inference.schemas import MAX_DEPTH, MAX_SCHEMAS
from tests.inference.constrained import FLAT

TWO_WAYS = {"$ref": "#/$defs/a"}
INTRICATE: dict[str, Any] = {
    "$defs": {
        "a": {
            "oneOf": [
                {"type": "array", "items": TWO_WAYS},
                {"type": "array", "items": TWO_WAYS},
                {"const": 1},
            ]
        }
    },
    **TWO_WAYS,
}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        FLAT,
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "x", "type": "integer"},
        {"title": "T", "description": "D", "default": 3, "examples": [1], "type": "integer"},
        {"$defs": {"a b": {"type": "null"}}, "$ref": "#/$defs/a%20b"},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"anyOf": [True, {"const": {"a": [1]}}]},
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
        {"type": "array", "prefixItems": [{"type": "string", "format": "uuid"}], "items": False},
        {"type": ["string", "null"], "minLength": 2, "pattern": "^a"},
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "number", "multipleOf": 0.5}},
            "maxProperties": 3,
        },
        nested(MAX_DEPTH - 1),
    ],
)
def test_what_can_be_kept_becomes_a_grammar(schema: dict[str, Any] | None) -> None:
    assert "json_schema" in grammar_for(schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string", "contentEncoding": "base64"}, "'contentEncoding' is not supported"),
        ({"properties": {"a": {"minimun": 3}}}, "'minimun' is not supported (at #/properties/a)"),
        ({"type": "string", "nullable": True}, 'Use "type"'),
        ({"not": {}}, "'not' is not supported"),
        ({"if": {}, "then": {}}, "'if' is not supported"),
        ({"type": "array", "uniqueItems": True}, "'uniqueItems' is not supported"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "'x-guidance' is not supported"),
        ({"items": {"$id": "x"}}, "'$id' is not supported (at #/items)"),
        ({"type": "strin"}, "the value of 'type' makes no sense"),
        ({"exclusiveMinimum": True, "minimum": 3}, "the value of 'exclusiveMinimum' makes no sense"),
        ({"items": [{}]}, "the value of 'items' makes no sense"),
        ({"properties": {"a": 3}}, "a schema is an object (at #/properties/a)"),
        ({"enum": []}, "the value of 'enum' makes no sense"),
        ({"type": "string", "format": "regex"}, "the format 'regex' is not supported"),
        ({"$ref": "https://example.org/schema"}, "'$ref' leads out of the schema"),
        ({"$ref": "#name"}, "'$ref' can only be a pointer"),
        ({"$ref": "#/$defs/a"}, "$ref leads to no schema"),
        ({"$ref": "#/default", "default": {"type": "strin"}}, "$ref leads to no schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "'$schema' names a draft"),
        ({"type": "object", "minProperties": 2}, "'minProperties' above 1"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum (5) is greater than maximum (3)"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "no JSON matches it"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "Use 'anyOf'"),
        ({"a": float("nan")}, "is not a JSON object"),
        ({"title": "\ud800"}, "not valid Unicode"),
        ({"enum": ["x"] * 5001}, "more than 5000 enum values"),
        ({"description": "x" * 120_000}, "too long"),
        ({"anyOf": [{}] * MAX_SCHEMAS}, "too large"),
        (nested(MAX_DEPTH), "deeper than"),
        (nested(5000), "The schema of the answer is"),  # no JSON or too long: later Pythons write it
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSchema, match=re.escape(reason)) as refused:
        grammar_for(schema, "the answer")
    assert refused.value.code == "invalid_schema"
    assert str(refused.value).startswith("The schema of the answer")


def test_a_schema_that_multiplies_when_it_is_put_together_is_refused() -> None:
    pairs = [
        {"anyOf": [{"type": "object", "properties": {f"{side}{n}": {"const": 1}}} for side in "pq"]}
        for n in range(40)
    ]
    with pytest.raises(InvalidSchema):  # to put it together would take hours
        grammar_for({"allOf": pairs})


def test_arguments_are_an_object() -> None:
    assert "additionalProperties" in arguments_grammar(None, "now")
    with pytest.raises(InvalidSchema, match='The schema of the function now must have "type": "object"'):
        arguments_grammar({"type": "array"}, "now")


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        (None, '{"a": 1}', None),
        (None, "[1]", "at /: type does not hold"),
        (FLAT, '{"city": "Bern", "people": 3, "sea": false}', None),
        (FLAT, '{"city": "Bern", "people": 3}', "required does not hold"),
        (FLAT, '{"city": "Bern", "people": "3", "sea": false}', "at /people: type does not hold"),
        (FLAT, '{"city": "Bern", "people": 3, "sea": false, "x": 1}', "nothing may stand there"),
        (FLAT, '{"city": "Be', "is not valid JSON"),
        ({}, "1267.93", None),
        (None, "1267.93", "type does not hold"),
        ({}, "NaN", "is not valid JSON"),
        ({}, "[" * 100_000, "is not valid JSON"),
        ({"pattern": "^[\\p{Lu}]+$"}, '"ÄÖ"', None),
        ({"pattern": "^.$"}, '"\\u007f"', None),
        ({"pattern": "b"}, '"abc"', None),
        ({"pattern": "^b"}, '"abc"', "pattern does not hold"),
        (
            {"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False},
            '{"xa": null}',
            None,
        ),
        ({"patternProperties": {"^x": {"type": "null"}}}, '{"xa": 1, "b": 2}', "at /xa: type"),
        ({"patternProperties": {"^x": {}}, "additionalProperties": False}, '{"b": 1}', "at /: nothing"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(?i)^A$"}, '"a"', None),
        ({"$ref": "https://example.org/schema"}, "1", "cannot be checked"),
        (INTRICATE, "[" * 60 + "1" + "]" * 60, "too intricate"),
        ({"pattern": "(a+)+$"}, '"' + "a" * 5000 + 'b"', "pattern does not hold"),
    ],
)
def test_a_finished_answer_is_checked(schema: dict[str, Any] | None, text: str, reason: str | None) -> None:
    found = matches(schema, text)
    assert found is None if reason is None else reason in str(found)
