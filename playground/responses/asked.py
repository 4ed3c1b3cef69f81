"""What a body asks for, in the project's own terms, with a note for all that is not done as it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference.errors import InvalidSchema
from inference.grammar import arguments_grammar
from inference.types import ReasoningEffort, ResponseFormat, ToolChoice, ToolSpec
from playground.api.openai.errors import invalid, unsupported
from playground.api.openai.notes import NO_TOP_P, Notes
from playground.api.openai.tools import check_functions, choice_of, function_of
from playground.errors import PlaygroundError
from playground.responses.body import FormatBody, ResponseBody
from playground.responses.item_ids import input_item_id

Json = dict[str, Any]

EFFORTS = {
    "none": ReasoningEffort.LOW,
    "minimal": ReasoningEffort.LOW,
    "low": ReasoningEffort.LOW,
    "medium": ReasoningEffort.MEDIUM,
    "high": ReasoningEffort.HIGH,
    "xhigh": ReasoningEffort.HIGH,
    "max": ReasoningEffort.HIGH,
}
LOGPROBS = "message.output_text.logprobs"
INCLUDES = {
    LOGPROBS: "",
    "reasoning.encrypted_content": "Reasoning is given in plain text, and so encrypted_content is null.",
}
IGNORED = {
    "client_metadata": "This is not used here, and it is not kept.",
    "stream_options": "Deltas are not padded here.",
    "prompt_cache_retention": "Prompts are cached as long as there is room.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What counts of a body. ``declared`` are the functions in force; ``echo`` repeats the request."""

    body: ResponseBody
    declared: tuple[ToolSpec, ...]
    choice: ToolChoice
    effort: ReasoningEffort
    response_format: ResponseFormat | None
    logprobs: int | None
    store: bool
    background: bool
    notes: Notes
    echo: Json


def read_body(body: ResponseBody) -> Asked:
    """Everything but the conversation.

    Raises:
        PlaygroundError: (400) something contradicts itself, or cannot be done at all.
        InvalidSchema: a schema that must be kept cannot be kept.
    """
    notes = Notes()
    store = True if body.store is None else body.store
    background = bool(body.background)
    if background and not store:
        raise invalid("A response in the background must be stored: background needs store.", "background")
    if body.prompt is not None:
        raise unsupported("prompt", "there are no stored prompts. Send the text as input.")
    if body.conversation is not None:
        raise unsupported("conversation", "go on with previous_response_id.")
    functions = _functions(body.tools or (), notes)
    choice, declared = choice_of(body.tool_choice, functions)
    answer_format = _format(body.text.format) if body.text is not None and body.text.format else None
    effort = _effort(body, notes)
    logprobs = _logprobs(body)
    _note_the_rest(body, notes)
    asked = Asked(
        body, tuple(declared), choice, effort, answer_format, logprobs, store, background, notes, {}
    )
    echo = _echo(asked)
    _check_storable(echo, "The request")
    return replace(asked, echo=echo)


def input_items(body: ResponseBody, response_id: str) -> list[Json]:
    """The input as items that all have a type and an id."""
    given: Sequence[Json]
    if isinstance(body.input, str):
        given = [{"role": "user", "content": [{"type": "input_text", "text": body.input}]}]
    else:
        given = body.input or ()
    items = []
    for place, one in enumerate(given):
        kind = one.get("type") or ("message" if "role" in one else None)
        if not isinstance(kind, str):
            raise invalid(f"input[{place}] has no type.", f"input[{place}].type")
        item = {"type": kind, **one}
        if not isinstance(item.get("id"), str):
            prefix = {"message": "msg", "reasoning": "rs"}.get(kind, "fc")
            item["id"] = input_item_id(prefix, response_id, place)
        if kind == "message":
            item.setdefault("status", "completed")
            if isinstance(item.get("content"), str):
                part = "output_text" if item.get("role") == "assistant" else "input_text"
                extra: Json = {"annotations": []} if part == "output_text" else {}
                item["content"] = [{"type": part, "text": item["content"], **extra}]
        items.append(item)
    _check_storable(items, "input")
    return items


def _check_storable(value: object, what: str) -> None:
    """Refuse before anything runs what could not be stored, or written down again, afterwards."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        sentence = f"{what} holds a broken character, a number that is none, or far too many levels."
        raise PlaygroundError("invalid_text", sentence, param="input" if what == "input" else None) from None


def _functions(tools: Sequence[Json], notes: Notes) -> list[ToolSpec]:
    """The functions among the tools; other kinds are named in a note."""
    functions = []
    for place, tool in enumerate(tools):
        if tool.get("type") != "function":
            notes.add(
                f"tools[{place}]", "Only tools of the type function are known here; this one was ignored."
            )
            continue
        spec = function_of(tool, f"tools[{place}]", notes)
        if spec.strict or tool.get("strict") is None:
            spec = _strict(spec, demanded=spec.strict, param=f"tools[{place}]", notes=notes)
        functions.append(spec)
    check_functions(functions)
    return functions


def _strict(spec: ToolSpec, *, demanded: bool, param: str, notes: Notes) -> ToolSpec:
    """Functions are strict unless they say otherwise; only who demands it is refused where it cannot be."""
    try:
        arguments_grammar(spec.parameters, spec.name)
    except InvalidSchema as error:
        if demanded:
            raise
        notes.add(f"{param}.strict", f"This function is not strict: {error}")
        return spec
    return replace(spec, strict=True)


def _format(body: FormatBody) -> ResponseFormat | None:
    if body.type == "text":
        return None
    if body.type == "json_object":
        return ResponseFormat("json_object")
    if body.json_schema is None:
        raise invalid("text.format.schema is missing.", "text.format.schema")
    return ResponseFormat(body.name, body.description or "", body.json_schema)


def _effort(body: ResponseBody, notes: Notes) -> ReasoningEffort:
    reasoning = body.reasoning
    wanted = None if reasoning is None else reasoning.effort
    if reasoning is not None:
        if reasoning.summary is not None or reasoning.generate_summary is not None:
            notes.add("reasoning.summary", "Reasoning is given in full, and not summarised.")
        notes.ignored(
            {f"reasoning.{name}": value for name, value in (reasoning.model_extra or {}).items()}, {}
        )
    if wanted is None:
        return ReasoningEffort.MEDIUM
    effort = EFFORTS[wanted]
    if wanted != effort.value:
        notes.add("reasoning.effort", f"This model knows low, medium and high; {effort.value} is in force.")
    return effort


def _logprobs(body: ResponseBody) -> int | None:
    if LOGPROBS in (body.include or ()) or body.top_logprobs is not None:
        return body.top_logprobs or 0
    return None


def _note_the_rest(body: ResponseBody, notes: Notes) -> None:
    """Notes for what has no effect here, or another."""
    if body.top_p == 0:
        notes.add("top_p", NO_TOP_P)
    notes.ignored(body.model_extra or {}, IGNORED)
    for wanted in body.include or ():
        if reason := INCLUDES.get(wanted, "There is nothing of this kind here."):
            notes.add("include", f"{wanted[:80]}: {reason}")
    if body.text is not None:
        if body.text.verbosity is not None:
            notes.add("text.verbosity", "This model has no such setting; ask for it in the instructions.")
        notes.ignored({f"text.{name}": value for name, value in (body.text.model_extra or {}).items()}, {})
    if body.max_tool_calls is not None:
        notes.add("max_tool_calls", "This counts tools that run on the server, and there are none here.")
    if body.service_tier not in (None, "auto", "default"):
        notes.add("service_tier", "There is only one tier here, default.")


def _echo(asked: Asked) -> Json:
    """The fields of a Response object that repeat the request, with what is in force where it differs."""
    body = asked.body
    return {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "metadata": body.metadata or {},
        "parallel_tool_calls": True if body.parallel_tool_calls is None else body.parallel_tool_calls,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": asked.effort.value, "summary": None},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": asked.store,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": _format_echo(asked.response_format)},
        "tool_choice": _choice_echo(asked.choice),
        "tools": [_tool_echo(tool) for tool in asked.declared],
        "top_logprobs": asked.logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }


def _format_echo(answer_format: ResponseFormat | None) -> Json:
    if answer_format is None:
        return {"type": "text"}
    if answer_format.schema is None:
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "name": answer_format.name,
        "description": answer_format.description or None,
        "schema": dict(answer_format.schema),
        "strict": True,  # a schema is kept in any case
    }


def _choice_echo(choice: ToolChoice) -> str | Mapping[str, str]:
    return choice.mode if choice.name is None else {"type": "function", "name": choice.name}


def _tool_echo(tool: ToolSpec) -> Json:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": None if tool.parameters is None else dict(tool.parameters),
        "strict": tool.strict,
    }
