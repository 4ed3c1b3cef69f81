"""Which messages a reply may hold: from what a request declares and asks for to a ``Constraint``.

Headers are those that the model writes: a call's recipient stands in the channel's part or in the role's.
Pure functions: ``encode`` gives the ids of ordinary text.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from inference.errors import InvalidToolChoice
from inference.grammar import arguments_grammar, grammar_for
from inference.message_rules import FUNCTIONS, PYTHON, checked_tools
from inference.types import Constraint, MessageRule, Prompt, ToolChoice, ToolSpec
from inference.vocabulary import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN

Encode = Callable[[str], list[int]]


def constraint_for(prompt: Prompt, choice: ToolChoice, encode: Encode) -> Constraint | None:
    """What the reply to ``prompt`` may look like; ``None`` where everything is allowed.

    With nothing declared that could be called, nothing has to be done to keep calls away.

    Raises:
        InvalidToolChoice: a call is required, and the function is not declared.
        InvalidSchema: a schema that must be kept cannot be.
        HarmonyFormatError: a function's name or schema is not allowed.
    """
    checked_tools(prompt)
    called = _called(prompt, choice)
    strict = any(tool.strict for tool in called)
    away = choice.mode == "none" and bool(prompt.tools or prompt.python)
    if not (choice.mode == "required" or strict or away or prompt.response_format is not None):
        return None
    return Constraint(
        tuple(chain(_text_rules(prompt, choice, encode), _call_rules(prompt, choice, called, encode)))
    )


def _called(prompt: Prompt, choice: ToolChoice) -> list[ToolSpec]:
    """The functions that the reply may call."""
    if choice.mode == "none":
        return []
    if choice.mode == "auto":
        return list(prompt.tools)
    if not prompt.tools:
        raise InvalidToolChoice("A call is required, but no function is declared.")
    called = [tool for tool in prompt.tools if choice.name in (None, tool.name)]
    if not called:
        raise InvalidToolChoice("The function that must be called is not declared.")
    return called


def _text_rules(prompt: Prompt, choice: ToolChoice, encode: Encode) -> list[MessageRule]:
    """Reasoning, words before a call, and the answer."""
    required = choice.mode == "required"
    rules = [MessageRule((CHANNEL, *encode("analysis"), MESSAGE), end=END, once=required)]
    if prompt.tools and choice.mode != "none":
        rules.append(MessageRule((CHANNEL, *encode("commentary"), MESSAGE), end=END, once=required))
    if required:
        return rules
    plain = (CHANNEL, *encode("final"), MESSAGE)
    if prompt.response_format is None:
        return [*rules, MessageRule(plain, end=RETURN)]
    grammar = grammar_for(prompt.response_format.schema)
    typed = (CHANNEL, *encode("final "), CONSTRAIN, *encode("json"), MESSAGE)
    return [*rules, *(MessageRule(header, grammar, RETURN) for header in (plain, typed))]


def _call_rules(
    prompt: Prompt, choice: ToolChoice, called: list[ToolSpec], encode: Encode
) -> list[MessageRule]:
    rules: list[MessageRule] = []
    typed = (CONSTRAIN, *encode("json"), MESSAGE)
    for tool in called:
        grammar = arguments_grammar(tool.parameters, tool.name) if tool.strict else None
        to = f" to={FUNCTIONS}{tool.name}"
        for header in (
            (CHANNEL, *encode(f"commentary{to} "), *typed),
            (*encode(to), CHANNEL, *encode("commentary "), *typed),
        ):
            rules.append(MessageRule(header, grammar, CALL))
    if prompt.python and choice.mode == "auto":
        to = f" to={PYTHON}"
        for code in ("", " code"):
            rules.append(MessageRule((CHANNEL, *encode(f"analysis{to}{code}"), MESSAGE), end=CALL))
            rules.append(MessageRule((*encode(to), CHANNEL, *encode(f"analysis{code}"), MESSAGE), end=CALL))
    return rules
