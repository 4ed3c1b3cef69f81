"""Functions and answers' schemas as people declare them: their JSON shape, and whether they can be kept.

All of it is tried when it is saved, with what later writes prompts and makes grammars, so that no turn fails
for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictStr

from inference.errors import InferenceError
from inference.grammar import arguments_grammar, grammar_for
from inference.harmony import HarmonyCodec
from inference.message_rules import is_function_name
from inference.types import Prompt, ResponseFormat, ToolSpec
from playground.errors import PlaygroundError
from playground.strict import Strict

MOST_FUNCTIONS = 32
FUNCTIONS_CHARS = 32_000
"""Of all functions of a person together, as JSON."""
SCHEMA_CHARS = 16_000
DESCRIPTION_CHARS = 2_000


class FunctionItem(Strict):
    """A function that the model may call; ``parameters`` is a JSON schema, or null for no arguments."""

    name: StrictStr
    description: StrictStr = ""
    parameters: dict[str, Any] | None = None
    strict: StrictBool = False

    def spec(self) -> ToolSpec:
        """The same as the model's side takes it."""
        return ToolSpec(self.name, self.description, self.parameters, self.strict)


class ResponseSchemaItem(Strict):
    """What an answer looks like; a ``schema`` of null is any JSON object."""

    name: StrictStr = "answer"
    description: StrictStr = ""
    wanted: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    def spec(self) -> ResponseFormat:
        """The same as the model's side takes it."""
        return ResponseFormat(self.name, self.description, self.wanted)


def checked_functions(items: Sequence[FunctionItem]) -> tuple[ToolSpec, ...]:
    """The person's functions.

    Raises:
        PlaygroundError: there are too many, one cannot be taken, or together they are too long.
    """
    if len(items) > MOST_FUNCTIONS:
        raise _fault(f"At most {MOST_FUNCTIONS} functions can be declared.")
    if sum(_length(item, "functions") for item in items) > FUNCTIONS_CHARS:
        raise _fault(f"The functions are longer than {FUNCTIONS_CHARS:,} characters of JSON.")
    specs = tuple(item.spec() for item in items)
    for spec in specs:
        check_function(spec)
    if len({spec.name for spec in specs}) < len(specs):
        raise _fault("Two functions have the same name.")
    _try(Prompt((), tools=specs), "functions")
    return specs


def check_function(spec: ToolSpec) -> None:
    """See that a function can be declared to the model, and its arguments kept if it is strict.

    Raises:
        PlaygroundError: with the function's name, if it can be told.
    """
    if not is_function_name(spec.name):
        raise _fault("A function's name has 1 to 64 letters, digits, _ and -.")
    if len(spec.description) > DESCRIPTION_CHARS:
        raise _fault(
            f"The description of the function {spec.name} is longer than {DESCRIPTION_CHARS:,} characters."
        )
    if spec.parameters is not None and spec.parameters.get("type") != "object":
        raise _fault(f'The schema of the function {spec.name} must have "type": "object".')
    if "\x00" in spec.description or "\\u0000" in _text(spec.parameters, "functions"):
        raise _fault(f"The function {spec.name} holds a broken character.", "invalid_text")
    if spec.strict:
        try:
            arguments_grammar(spec.parameters, spec.name)
        except InferenceError as error:
            raise _fault(str(error)) from None
    _try(Prompt((), tools=(spec,)), "functions")


def checked_format(item: ResponseSchemaItem) -> ResponseFormat:
    """What answers look like.

    Raises:
        PlaygroundError: a name or the schema cannot be taken.
    """
    param = "response_schema"
    if not is_function_name(item.name):
        raise _fault("A response schema's name has 1 to 64 letters, digits, _ and -.", param=param)
    if len(item.description) > DESCRIPTION_CHARS:
        raise _fault(f"Its description is longer than {DESCRIPTION_CHARS:,} characters.", param=param)
    if _length(item, param) > SCHEMA_CHARS:
        raise _fault(f"The response schema is longer than {SCHEMA_CHARS:,} characters of JSON.", param=param)
    if "\x00" in item.description or "\\u0000" in _text(item.wanted, param):
        raise _fault("The response schema holds a broken character.", "invalid_text", param)
    wanted = item.spec()
    try:
        grammar_for(wanted.schema, "the response")
    except InferenceError as error:
        raise _fault(str(error), param=param) from None
    _try(Prompt((), response_format=wanted), param)
    return wanted


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the operator's functions, each once. Raises PlaygroundError for what is no name."""
    param = "operator_functions"
    if len(names) > MOST_FUNCTIONS:
        raise _fault(f"At most {MOST_FUNCTIONS} functions can be switched on.", param=param)
    if not all(map(is_function_name, names)):
        raise _fault("A function's name has 1 to 64 letters, digits, _ and -.", param=param)
    return tuple(dict.fromkeys(names))


def _try(prompt: Prompt, param: str) -> None:
    """Write what is declared as the model will read it."""
    try:
        HarmonyCodec.load().render(prompt)
    except InferenceError as error:
        raise _fault(str(error), param=param) from None


def _length(item: Strict, param: str) -> int:
    return len(_text(item.model_dump(by_alias=True), param))


def _text(value: Any, param: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise _fault("A schema is not a JSON object.", param=param) from None


def _fault(sentence: str, code: str = "invalid_parameter", param: str = "functions") -> PlaygroundError:
    return PlaygroundError(code, sentence, param=param)
