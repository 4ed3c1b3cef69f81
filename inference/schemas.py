"""Which JSON schemas can be kept: every keyword that constrains is known here, or the schema is refused.

The library that makes grammars passes over keywords that it does not know. So a schema is walked first:
only keywords that the grammar really keeps are let through, with values of their right kind, and within
bounds that keep a hostile schema cheap. The meaning is that of draft 2020-12. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from inference.errors import InvalidSchema

MAX_CHARACTERS = 120_000
"""Of a schema as JSON text."""

MAX_DEPTH = 40
"""Schemas inside of each other."""

MAX_SCHEMAS = 2_000
"""Schemas in one, itself included."""

MAX_CHOICES = 5_000
"""Values of all ``enum`` together."""

FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
"""What ``format`` may ask of a string."""

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

_DIALECTS = ("draft/2020-12/schema", "draft/2019-09/schema", "draft-07/schema", "draft-06/schema")
_ONE = frozenset({"items", "additionalProperties"})
_LIST = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_FREE = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "const",
    }
)
_AT_ROOT = frozenset({"$schema", "$id"})
_ADVICE = {
    "additionalItems": " Use prefixItems and items.",
    "nullable": ' Use "type": ["…", "null"].',
    "example": " Use examples.",
}

Schema = dict[str, Any]


def plain_schema(schema: Mapping[str, Any], what: str) -> Schema:
    """The schema as plain JSON values, known to hold nothing that cannot be kept.

    ``what`` names it in sentences, for example "the response format". What only says which draft of JSON
    schema is meant is left out.

    Raises:
        InvalidSchema: with the keyword and the place.
    """
    try:
        text = json.dumps(schema if isinstance(schema, dict) else dict(schema), allow_nan=False)
        text.encode()
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidSchema(f"The schema of {what} holds characters that are not valid Unicode.") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSchema(f"The schema of {what} is not a JSON object.") from error
    if len(text) > MAX_CHARACTERS:
        raise InvalidSchema(f"The schema of {what} is too long: {MAX_CHARACTERS} characters are possible.")
    plain: Schema = json.loads(text)
    _Walk(what).check(plain)
    return {keyword: value for keyword, value in plain.items() if keyword not in _AT_ROOT}


@dataclass(slots=True)
class _Walk:
    """One look through a schema; ``places`` are the pointers of all schemas in it."""

    what: str
    places: set[str] = field(default_factory=set)
    references: list[tuple[str, str]] = field(default_factory=list)
    choices: int = 0

    def check(self, root: Schema) -> None:
        """Raise ``InvalidSchema`` for what cannot be kept."""
        todo: list[tuple[Any, str, int]] = [(root, "#", 1)]
        while todo:
            schema, place, depth = todo.pop()
            self.places.add(place)
            if len(self.places) > MAX_SCHEMAS:
                raise InvalidSchema(
                    f"The schema of {self.what} is too large: it may hold {MAX_SCHEMAS} schemas."
                )
            if depth > MAX_DEPTH:
                raise InvalidSchema(f"The schema of {self.what} is deeper than {MAX_DEPTH} levels.")
            if isinstance(schema, bool) and place != "#":
                continue
            if not isinstance(schema, dict):
                raise self._refusal("a schema is an object", place)
            for keyword, value in schema.items():
                self._check_keyword(keyword, value, schema, place)
                todo += ((one, f"{place}{at}", depth + 1) for at, one in _parts(keyword, value))
        for target, place in self.references:
            if target not in self.places:
                raise self._refusal("$ref leads to no schema", place)

    def _refusal(self, why: str, place: str) -> InvalidSchema:
        where = "" if place == "#" else f" (at {place[:200]})"
        return InvalidSchema(f"The schema of {self.what} cannot be kept: {why}{where}.")

    def _check_keyword(self, keyword: str, value: Any, schema: Schema, place: str) -> None:
        if keyword in _FREE:
            return
        if keyword in _AT_ROOT and place == "#":
            self._check_root(keyword, value)
        elif (sound := _is_sound(keyword, value)) is None:
            why = f"the keyword {keyword[:60]!r} is not supported.{_ADVICE.get(keyword, '')}".removesuffix(
                "."
            )
            raise self._refusal(why, place)
        elif not sound:
            raise self._refusal(f"the value of {keyword!r} makes no sense", place)
        elif keyword == "format" and value not in FORMATS:
            raise self._refusal(f"the format {str(value)[:60]!r} is not supported", place)
        elif keyword == "enum":
            self.choices += len(value)
            if self.choices > MAX_CHOICES:
                raise self._refusal(f"it has more than {MAX_CHOICES} enum values", place)
        elif keyword == "$ref":
            self._check_reference(value, place)
        elif keyword == "minProperties" and value > max(1, len(schema.get("required", ()))):
            # A key of additionalProperties may come twice, and counts once.
            raise self._refusal("'minProperties' above 1 is not supported. List the keys as required", place)

    def _check_root(self, keyword: str, value: Any) -> None:
        if keyword == "$schema" and not str(value).rstrip("#").endswith(_DIALECTS):
            raise self._refusal("'$schema' names a draft that is not supported. Use 2020-12", "#")

    def _check_reference(self, value: str, place: str) -> None:
        target = unquote(value)
        if not target.startswith("#"):
            raise self._refusal("'$ref' leads out of the schema. Only '#/…' is supported", place)
        if target != "#" and not target.startswith("#/"):
            raise self._refusal("'$ref' can only be a pointer such as '#/$defs/name'", place)
        self.references.append((target, place))


def _parts(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas that a keyword holds, and their pointers from its own schema."""
    if keyword in _ONE:
        yield f"/{keyword}", value
    elif keyword in _LIST:
        for number, one in enumerate(value):
            yield f"/{keyword}/{number}", one
    elif keyword in _NAMED:
        for name, one in value.items():
            yield f"/{keyword}/{name.replace('~', '~0').replace('/', '~1')}", one


def _is_sound(keyword: str, value: Any) -> bool | None:
    """Whether the value is of the keyword's kind; ``None`` for a keyword that is not kept."""
    if keyword in _ONE:
        return isinstance(value, dict | bool)
    if keyword in _LIST:
        return isinstance(value, list) and bool(value)
    if keyword in _NAMED:
        return isinstance(value, dict)
    if keyword in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if keyword in _NUMBERS:
        return _is_number(value)
    if keyword == "multipleOf":
        return _is_number(value) and value > 0
    if keyword == "type":
        names = value if isinstance(value, list) else [value]
        return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)
    if keyword == "required":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if keyword == "enum":
        return isinstance(value, list) and bool(value)
    if keyword in ("$ref", "pattern", "format"):
        return isinstance(value, str)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
