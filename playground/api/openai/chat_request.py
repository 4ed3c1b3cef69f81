"""From the body of a chat completion to the request that the service takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.types import Prompt, ReasoningEffort, ResponseFormat, ToolSpec
from playground.api.openai.chat_body import HARMLESS, LONGEST_STOP, ChatBody
from playground.api.openai.chat_messages import History
from playground.api.openai.errors import invalid, unsupported
from playground.api.openai.notes import NO_TOP_P, Notes
from playground.api.openai.tools import check_functions, choice_of, function_of
from playground.completions.replays import Replays
from playground.completions.request import CompletionRequest

MOST_STOPS = 4
EFFORTS = {
    "none": (ReasoningEffort.LOW, "gpt-oss always reasons; its lowest effort is in use."),
    "minimal": (ReasoningEffort.LOW, "The lowest effort of gpt-oss is in use."),
    "low": (ReasoningEffort.LOW, ""),
    "medium": (ReasoningEffort.MEDIUM, ""),
    "high": (ReasoningEffort.HIGH, ""),
    "xhigh": (ReasoningEffort.HIGH, "The highest effort of gpt-oss is in use."),
    "max": (ReasoningEffort.HIGH, "The highest effort of gpt-oss is in use."),
}
"""What clients may ask for, and what the reply says where gpt-oss has no such effort."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "verbosity": ("medium",),
    "best_of": (1,),
}
"""Fields that change answers elsewhere and not here, with the values that change nothing."""
REASONS = {
    "functions": "declare functions as tools.",
    "function_call": "choose a function by tool_choice.",
    "modalities": "the model reads and writes text only.",
    "audio": "the model reads and writes text only.",
    "web_search_options": "there is no search on this server.",
    "verbosity": "ask for a short or a long answer in the instructions.",
}
SAMPLING = "the model's tokens are chosen by temperature and top_p alone."


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the service is asked, and how the answer shall look. ``exclude``: without the reasoning."""

    completion: CompletionRequest
    effort: ReasoningEffort
    exclude: bool
    notes: Notes = field(default_factory=Notes)


def read(body: ChatBody, replays: Replays, owner_id: str, date_told: str) -> ChatRequest:
    """The whole of a request, in the project's own terms. ``date_told``: what the model is told of today.

    Raises:
        PlaygroundError: (400) a field makes no sense, or asks for what there is not.
    """
    notes = Notes()
    _refuse_effects(body)
    known = {name for name in NEUTRAL if name in body.extra}
    notes.ignored({name: value for name, value in body.extra.items() if name not in known}, HARMLESS)
    options = body.stream_options.model_extra if body.stream_options is not None else None
    notes.ignored({f"stream_options.{name}": value for name, value in (options or {}).items()}, {})
    if body.top_p == 0:
        notes.add("top_p", NO_TOP_P)
    history = History(replays, owner_id, notes)
    history.read(body.messages)
    effort, exclude = _reasoning(body, notes)
    choice, tools = choice_of(body.tool_choice, _functions(body, notes))
    prompt = Prompt(
        messages=history.messages,
        effort=effort,
        instructions=history.instructions,
        tools=tools,
        current_date=date_told,
        response_format=_response_format(body.response_format),
    )
    completion = CompletionRequest(
        prompt=prompt,
        model=body.model or None,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        max_tokens=_max_tokens(body, notes),
        seed=_seed(body, notes),
        logprobs=_logprobs(body),
        stop=_stops(body),
        tool_choice=choice,
        count=body.n or 1,
        one_call=body.parallel_tool_calls is False,
    )
    return ChatRequest(completion, effort, exclude, notes)


def _refuse_effects(body: ChatBody) -> None:
    """Refuse what would change the answer elsewhere and has no effect here."""
    given = {
        **body.extra,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "logit_bias": body.logit_bias,
    }
    for name, neutral in NEUTRAL.items():
        value = given.get(name)
        if value is not None and value not in neutral:
            raise unsupported(name, REASONS.get(name, SAMPLING))


def _functions(body: ChatBody, notes: Notes) -> list[ToolSpec]:
    tools = []
    for number, tool in enumerate(body.tools or ()):
        if tool.get("type") != "function":
            raise unsupported(f"tools[{number}].type", 'the one type of tools is "function".')
        known = ("type", "function")
        rest = {f"tools[{number}].{name}": value for name, value in tool.items() if name not in known}
        notes.ignored(rest, {})
        tools.append(function_of(tool.get("function"), f"tools[{number}].function", notes))
    check_functions(tools)
    return tools


def _reasoning(body: ChatBody, notes: Notes) -> tuple[ReasoningEffort, bool]:
    """The effort, and whether the reasoning is left out."""
    options = body.reasoning or {}
    wanted = body.reasoning_effort
    if wanted is None:
        wanted = options.get("effort")
    elif options.get("effort") not in (None, wanted):
        notes.add("reasoning.effort", "reasoning_effort says something else and is in use.")
    exclude = options.get("exclude")
    if exclude is not None and not isinstance(exclude, bool):
        raise invalid("reasoning.exclude must be true or false.", "reasoning.exclude")
    for name, value in options.items():
        if name not in {"effort", "exclude"} and value is not None and (name, value) != ("enabled", True):
            notes.add(f"reasoning.{name}", "This was ignored: gpt-oss has an effort only.")
    exclude = bool(exclude) or body.include_reasoning is False
    if wanted is None:
        return ReasoningEffort.MEDIUM, exclude
    found = EFFORTS.get(wanted) if isinstance(wanted, str) else None
    if found is None:
        raise invalid("reasoning_effort must be low, medium or high.", "reasoning_effort")
    effort, remark = found
    if remark:
        notes.add("reasoning_effort", remark)
    return effort, exclude


def _response_format(given: Mapping[str, Any] | None) -> ResponseFormat | None:
    kind = None if given is None else given.get("type")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        raise invalid(
            'response_format.type must be "text", "json_object" or "json_schema".', "response_format.type"
        )
    where = "response_format.json_schema"
    inner = given.get("json_schema")
    if not isinstance(inner, Mapping):
        raise invalid(f"{where} must be an object with a name and a schema.", where)
    name, description, schema = inner.get("name"), inner.get("description"), inner.get("schema")
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}.name must be a text.", f"{where}.name")
    if description is not None and not isinstance(description, str):
        raise invalid(f"{where}.description must be a text.", f"{where}.description")
    if schema is not None and not isinstance(schema, Mapping):
        raise invalid(f"{where}.schema must be a JSON schema, an object.", f"{where}.schema")
    return ResponseFormat(name, description or "", schema)


def _max_tokens(body: ChatBody, notes: Notes) -> int | None:
    if body.max_completion_tokens is None:
        return body.max_tokens
    if body.max_tokens not in (None, body.max_completion_tokens):
        notes.add("max_tokens", "max_completion_tokens says something else and is in use.")
    return body.max_completion_tokens


def _seed(body: ChatBody, notes: Notes) -> int | None:
    if body.seed is None or body.seed >= 0:
        return body.seed
    notes.add("seed", "Seeds are not negative here; the settings name the one in use.")
    return body.seed & (2**63 - 1)


def _logprobs(body: ChatBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        raise invalid("top_logprobs needs logprobs to be true.", "top_logprobs")
    return None


def _stops(body: ChatBody) -> tuple[str, ...]:
    given = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(given) > MOST_STOPS:
        raise invalid(f"stop holds more than {MOST_STOPS} texts.", "stop")
    if any(len(text) > LONGEST_STOP for text in given):
        raise invalid(f"stop holds a text of more than {LONGEST_STOP} characters.", "stop")
    return tuple(text for text in given if text)
