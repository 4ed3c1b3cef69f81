"""From a JSON schema to the grammar that a worker follows, and the check of a finished answer.

The web side makes and tries the grammar, so that a schema that cannot be kept is refused before anything
runs. Departures from JSON schema that remain: an object's keys come in the order of the schema, and keys of
``additionalProperties`` may come twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import jsonschema
from llguidance import LLMatcher, LLTokenizer
from referencing import Registry

from inference.errors import InvalidSchema
from inference.grammar_limits import limits
from inference.schemas import Schema, plain_schema

MAX_REFERENCES = 2_000
"""A check follows so many ``$ref``, and one more for every two characters of the answer. Some that call
themselves ask for far more than any answer needs.
"""

MAX_REASON = 300

_ANY_OBJECT: Schema = {"type": "object"}
_NO_ARGUMENTS: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
# Between two parts: a blank, or a new line and its indent. Else a lost model writes blanks without end.
_BLANKS = r"\x20|\x0A\x20{0,40}"
_END = 256


def grammar_for(schema: Mapping[str, Any] | None, what: str = "the response format") -> str:
    """The grammar, as its text, of JSON that matches ``schema`` (``None``: any JSON object).

    ``what`` names the schema in sentences.

    Raises:
        InvalidSchema: it asks for what cannot be kept, nothing matches it, or it is too large.
    """
    plain = _ANY_OBJECT if schema is None else plain_schema(schema, what)
    made, trouble = _made(json.dumps(plain))
    if trouble:
        raise InvalidSchema(f"The schema of {what} cannot be kept: {trouble}")
    return made


def arguments_grammar(parameters: Mapping[str, Any] | None, name: str) -> str:
    """The grammar of the arguments of the function ``name``: an object in any case.

    Raises:
        InvalidSchema: as ``grammar_for``, or other JSON than an object would match.
    """
    what = f"the function {name}"
    if parameters is not None and parameters.get("type") != "object":
        raise InvalidSchema(f'The schema of {what} must have "type": "object".')
    return grammar_for(_NO_ARGUMENTS if parameters is None else parameters, what)


@lru_cache(maxsize=64)
def _made(schema: str) -> tuple[str, str]:
    """The grammar of a schema, or else why there is none."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": _BLANKS})
    except ValueError as error:
        return "", _sentence(str(error))
    matcher = _matcher(grammar)
    matcher.compute_bitmask()
    if matcher.is_error():
        return "", _sentence(matcher.get_error())
    if warnings := matcher.get_grammar_warnings():
        return "", _sentence(warnings[0])
    return grammar, ""


def _matcher(grammar: str) -> LLMatcher:
    return LLMatcher(_bytes_alone(), grammar, log_level=0, limits=limits())


@cache
def _bytes_alone() -> LLTokenizer:
    """A vocabulary of the 256 bytes: all that is needed to try a grammar."""
    made: LLTokenizer = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]
        encoder={bytes([byte]): byte for byte in range(_END)},
        special_tokens={"<|end|>": _END},
        pattern=r"[\s\S]",
        eos_token=_END,
        n_vocab=_END + 1,
        slices=[],
    )
    return made


def _sentence(reason: str) -> str:
    """A library's reason as the end of a sentence."""
    if reason.startswith("NoExtension"):
        return "no JSON matches it."
    if reason.startswith("oneOf"):
        return "'oneOf' is supported only where no value can match two of its schemas. Use 'anyOf'."
    words = " ".join(reason.replace("<non-verbose/>", "").split())
    return words[:MAX_REASON].rstrip(".") + "."


# --- finished answers -------------------------------------------------------------------------------


def matches(schema: Mapping[str, Any] | None, text: str) -> str | None:
    """Why ``text`` is not JSON that matches ``schema`` (``None``: any JSON object); ``None`` when it is.

    Nothing is fetched from anywhere, and patterns are tried in linear time. What ``format`` asks for is
    kept by the grammar alone.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return "The answer is not valid JSON."
    given = _ANY_OBJECT if schema is None else schema
    # Another draft that a schema names would bring that draft's own checks with it.
    wanted = {key: one for key, one in given.items() if key not in ("$schema", "$id")}
    checker = _checker(MAX_REFERENCES + len(text) // 2)(wanted, registry=Registry())
    try:
        error = next(iter(checker.iter_errors(value)), None)
    except _TooMuch:
        return "The answer is too intricate to be checked against its schema."
    except Exception:  # a schema that was never made a grammar of may be anything
        return "The answer cannot be checked against its schema."
    if error is None:
        return None
    place = "".join(f"/{part}" for part in error.absolute_path)[:MAX_REASON]
    why = f"{error.validator} does not hold" if error.validator else "nothing may stand there"
    return f"The answer does not match its schema at {place or '/'}: {why}."


class _TooMuch(Exception):
    """A check would take too long."""


def _no_constant(name: str) -> float:
    raise ValueError(name)


@lru_cache(maxsize=256)
def _pattern_grammar(pattern: str) -> str:
    return LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "pattern": pattern}))


def _fits(pattern: str, text: str) -> bool:
    """Whether ``pattern`` is found in ``text``, by the means that a reply is held to it with."""
    matcher = _matcher(_pattern_grammar(pattern))
    written = list(json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").encode())
    return matcher.try_consume_tokens(written) == len(written) and bool(matcher.is_accepting())


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not _fits(pattern, value):
        yield jsonschema.ValidationError("The pattern does not hold.")


def _pattern_properties(
    checker: Any, patterns: Any, value: Any, _: Any
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, dict):
        for pattern, schema in patterns.items():
            for key, one in value.items():
                if _fits(pattern, key):
                    yield from checker.descend(one, schema, path=key, schema_path=pattern)


def _additional(checker: Any, rest: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    for key, one in value.items():
        if key not in schema.get("properties", {}) and not any(_fits(pattern, key) for pattern in patterns):
            yield from checker.descend(one, rest, path=key)


def _checker(references: int) -> Any:
    """A class that checks one answer by draft 2020-12; patterns and ``$ref`` are tried in our own ways."""
    followed = 0

    def reference(checker: Any, target: str, value: Any, _: Any) -> Iterator[jsonschema.ValidationError]:
        nonlocal followed
        followed += 1
        if followed > references:
            raise _TooMuch
        yield from checker._validate_reference(ref=target, instance=value)

    return jsonschema.validators.extend(
        jsonschema.Draft202012Validator,
        {
            "$ref": reference,
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional,
        },
    )
