"""Conversations that are a plain list of messages: OpenAI's ``messages`` and ShareGPT's ``conversations``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inference.message_rules import FUNCTIONS, PYTHON, is_tool_address
from inference.types import Channel, Message, Role
from playground.exchange.import_draft import (
    Allowance,
    DraftBuilder,
    Imported,
    LeftOut,
    Part,
    answer_parts,
    model_name,
)
from playground.exchange.moments import moment
from playground.exchange.refused import named

REASONING_FIELDS = ("reasoning", "reasoning_content", "thinking")
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "tool": "unnamed tool",
    "observation": "unnamed tool",
    "function_call": "unnamed tool",
    "function_response": "unnamed tool",
}


@dataclass
class _Line:
    """A conversation without branches, as far as it was read."""

    builder: DraftBuilder
    model: str = ""
    instructions: list[str] = field(default_factory=list)
    question: str | None = None
    last: str | None = None
    parts: list[Part] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)

    def ask(self, text: str, at: datetime | None) -> None:
        """The user's next message."""
        self.answer()
        key = self.builder.question(self.last, text, at)
        if key is not None:
            self.question = self.last = key

    def say(self, parts: Sequence[Part]) -> None:
        """The next messages of the reply."""
        if self.question is None and parts:
            self.builder.leave_out(LeftOut.EARLY)
        elif self.question is not None:
            self.parts += parts

    def instruct(self, text: str) -> None:
        """A system's or developer's message; only those before the first question count for the whole."""
        if self.question is None:
            self.instructions.append(text)
        else:
            self.builder.leave_out(LeftOut.LATE_INSTRUCTIONS)

    def answer(self) -> None:
        """The reply is over."""
        if self.parts and self.last is not None:
            self.last = self.builder.reply(self.last, self.parts, self.model)
            self.parts = []


def from_messages(messages: Any, about: dict[str, Any], allowance: Allowance, now: datetime) -> Imported:
    """A list of ``{role, content, ...}``; ``about`` may hold a title, a time and a model.

    Raises:
        ImportRefused: a role does not exist, or a value has the wrong type.
    """
    builder, line = _begin("messages", about, allowance, now)
    for message in _list(builder, messages):
        _take_message(line, message)
    return _end(line, about)


def from_sharegpt(messages: Any, about: dict[str, Any], allowance: Allowance, now: datetime) -> Imported:
    """A list of ``{from, value}``.

    Raises:
        ImportRefused: a role does not exist, or a value has the wrong type.
    """
    builder, line = _begin("ShareGPT", about, allowance, now)
    for message in _list(builder, messages):
        role, text = message.get("from"), message.get("value")
        known = SHAREGPT_ROLES.get(role.lower()) if isinstance(role, str) else None
        if known is None:
            raise builder.refuse(f"has a message from {named(role)}, which no message can be from.")
        if not isinstance(text, str):
            raise builder.refuse("has a message whose value is not text.")
        if known == "user":
            line.ask(text, None)
        elif known == "assistant":
            line.say(answer_parts(builder, "", text, None))
        elif known == "system":
            line.instruct(text)
        else:
            builder.leave_out(LeftOut.FOREIGN_TOOLS)
    return _end(line, about)


def _begin(
    source: str, about: dict[str, Any], allowance: Allowance, now: datetime
) -> tuple[DraftBuilder, _Line]:
    builder = DraftBuilder(source, _title(about) or "without a title", allowance, now)
    return builder, _Line(builder, model_name(about.get("model")))


def _end(line: _Line, about: dict[str, Any]) -> Imported:
    line.answer()
    created = moment(about.get("created_at", about.get("create_time")))
    return line.builder.finish(_title(about), line.instructions, created, line.last)


def _title(about: dict[str, Any]) -> str:
    title = about.get("title")
    return title if isinstance(title, str) else ""


def _list(builder: DraftBuilder, messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise builder.refuse("holds messages that are not a list of objects.")
    return messages


def _take_message(line: _Line, message: dict[str, Any]) -> None:
    """One of OpenAI's messages."""
    builder = line.builder
    role = message.get("role")
    at = moment(message.get("created_at", message.get("timestamp")))
    text = _content(builder, message.get("content"))
    match role:
        case "user":
            line.ask(text, at)
        case "assistant":
            line.say(_assistant_parts(line, message, text, at))
        case "system" | "developer":
            line.instruct(text)
        case "tool" | "function":
            line.say(_result_parts(line, message, text, at))
        case _:
            raise builder.refuse(f"has a message with the role {named(role)}, which no message can have.")


def _content(builder: DraftBuilder, content: Any) -> str:
    """The text of a message, whose content is text or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise builder.refuse("has a message whose content is neither text nor a list of parts.")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part if isinstance(part, str) else None
        if isinstance(part, dict) and isinstance(kind, str):
            text = part.get("refusal" if kind == "refusal" else "text")
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(kind, str) and "image" in kind:
            texts.append("[image]")
            builder.leave_out(LeftOut.IMAGES)
        elif isinstance(kind, str):
            texts.append("[file]")
            builder.leave_out(LeftOut.FILES)
        else:
            raise builder.refuse("has a message with a part of the wrong type.")
    return "\n\n".join(texts)


def _assistant_parts(line: _Line, message: dict[str, Any], text: str, at: datetime | None) -> list[Part]:
    """Reasoning, answer and tool calls of one message."""
    builder = line.builder
    reasoning = [message[name] for name in REASONING_FIELDS if message.get(name)]
    if not all(isinstance(each, str) for each in reasoning):
        raise builder.refuse("has reasoning that is not text.")
    channel = message.get("channel")
    if channel is not None and channel not in tuple(Channel):
        raise builder.refuse(f"has a message on the channel {named(channel)}, which does not exist.")
    calls = _calls(line, message, at)
    if channel == Channel.ANALYSIS:
        return [*answer_parts(builder, "\n\n".join([*reasoning, text]), "", at), *calls]
    parts = answer_parts(builder, "\n\n".join(dict.fromkeys(reasoning)), text, at)
    if (calls or channel == Channel.COMMENTARY) and parts and parts[-1].message.channel is Channel.FINAL:
        preamble = Message(Role.ASSISTANT, parts[-1].message.content, Channel.COMMENTARY)
        parts[-1] = Part(preamble, at)  # an answer ends a turn, and this one goes on
    return parts + calls


def _calls(line: _Line, message: dict[str, Any], at: datetime | None) -> list[Part]:
    """The tool calls of one message; their ids are remembered for the results."""
    builder = line.builder
    calls = message.get("tool_calls") or []
    if message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, list):
        raise builder.refuse("has tool calls that are not a list.")
    parts = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        arguments = function.get("arguments", "") if isinstance(function, dict) else None
        if not isinstance(name, str) or not isinstance(arguments, str):
            builder.leave_out(LeftOut.FOREIGN_TOOLS)
            continue
        address = _address(name)
        if address is None:
            builder.leave_out(LeftOut.FOREIGN_TOOLS)
            continue
        if isinstance(call.get("id"), str):
            line.calls[call["id"]] = address
        content_type = None if address == PYTHON else "json"
        text = builder.clean(arguments)
        sent = Message(Role.ASSISTANT, text, Channel.COMMENTARY, recipient=address, content_type=content_type)
        parts.append(Part(sent, at))
    return parts


def _result_parts(line: _Line, message: dict[str, Any], text: str, at: datetime | None) -> list[Part]:
    """A tool's result, where the tool is named by the call that it answers or by itself."""
    call, name = message.get("tool_call_id"), message.get("name")
    address = line.calls.get(call) if isinstance(call, str) else None
    if address is None and isinstance(name, str):
        address = _address(name)
    if address is None:
        line.builder.leave_out(LeftOut.FOREIGN_TOOLS)
        return []
    result = Message(Role.TOOL, line.builder.clean(text), Channel.COMMENTARY, "assistant", address)
    return [Part(result, at)]


def _address(name: str) -> str | None:
    """The full name of a tool; None for one that cannot exist."""
    full = name if name == PYTHON or name.startswith(FUNCTIONS) else FUNCTIONS + name
    return full if is_tool_address(full) else None
