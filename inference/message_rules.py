"""What may be rendered, and which messages of the past the model still sees. Pure functions.

The library that renders harmony checks no header field: an author named ``system`` or a user whose
name is ``user to=functions.pay`` would become a genuine header. So every role, name, recipient,
channel and content type passes an allow-list here first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from inference.errors import HarmonyFormatError
from inference.long_text import has_long_piece
from inference.types import Channel, Message, Prompt, ResponseFormat, Role
from inference.vocabulary import ASSISTANT, CALL, END, START, VOCAB_SIZE

PYTHON = "python"
FUNCTIONS = "functions."
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_TOOL_CHARS = 250_000
"""Of all functions of a prompt: names, descriptions and schemas as compact JSON."""
MOST_TOOL_VALUES = 20_000
"""Lists, objects and commas of all schemas. The library writes all functions at once, and no other thread of
this process runs meanwhile: both bounds keep that short."""


def is_function_name(name: str) -> bool:
    """Whether a tool may be declared under this name."""
    return _FUNCTION_NAME.fullmatch(name) is not None


def is_tool_address(address: str) -> bool:
    """Whether a message may be sent to, or come from, a tool of this full name."""
    return address == PYTHON or (
        address.startswith(FUNCTIONS) and is_function_name(address.removeprefix(FUNCTIONS))
    )


def check_text(text: str, what: str) -> str:
    """Refuse text that is not Unicode (lone surrogates cannot be encoded)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise HarmonyFormatError(f"{what} holds characters that are not valid Unicode.") from error
    return text


def checked_messages(messages: Sequence[Message]) -> list[Message]:
    """The messages, each allowed, with the header fields that harmony wants filled in.

    A tool's result is addressed to the assistant; without a channel it takes the channel of the
    latest call of that tool, or ``commentary``.

    Raises:
        HarmonyFormatError: a field is outside the allow-list.
    """
    checked: list[Message] = []
    call_channels: dict[str, Channel] = {}
    for message in messages:
        check_text(message.content, "A message")
        role = message.role
        if message.written:
            _check_written(message)
        if role == Role.USER:
            checked.append(_checked_user(message))
        elif role == Role.ASSISTANT:
            checked.append(_checked_assistant(message))
            if message.recipient is not None:
                call_channels[message.recipient] = Channel(checked[-1].channel or Channel.COMMENTARY)
        elif role == Role.TOOL:
            checked.append(_checked_tool(message, call_channels))
        else:
            raise HarmonyFormatError("A conversation holds only user, assistant and tool messages.")
    return checked


def _check_written(message: Message) -> None:
    """Ids that stand for a message are one message of the assistant, from its start to its end."""
    ids = message.written
    if message.role != Role.ASSISTANT:
        raise HarmonyFormatError("Only the model's own messages can be repeated as they were written.")
    known = all(isinstance(token, int) and 0 <= token < VOCAB_SIZE for token in ids)
    if not known or ids[:2] != (START, ASSISTANT) or ids[-1] not in (END, CALL) or START in ids[1:]:
        raise HarmonyFormatError("A message that was written before is damaged.")


def _checked_user(message: Message) -> Message:
    if any(
        value is not None
        for value in (message.name, message.recipient, message.channel, message.content_type)
    ):
        raise HarmonyFormatError(
            "A user's message cannot have a name, a recipient, a channel or a content type."
        )
    return message


def _checked_assistant(message: Message) -> Message:
    if message.name is not None:
        raise HarmonyFormatError("An assistant's message cannot have a name.")
    channel = _channel(message.channel)
    if channel is None:
        raise HarmonyFormatError("An assistant's message needs a channel.")
    if message.recipient is not None:
        if not is_tool_address(message.recipient):
            raise HarmonyFormatError("A tool call names a tool that cannot exist.")
        if channel is Channel.FINAL:
            raise HarmonyFormatError("A tool call cannot be a final answer.")
    if message.content_type not in (None, "json"):
        raise HarmonyFormatError("A message's content type can only be JSON.")
    return replace(message, channel=channel)


def _checked_tool(message: Message, call_channels: dict[str, Channel]) -> Message:
    if message.name is None or not is_tool_address(message.name):
        raise HarmonyFormatError("A tool's result needs the name of the tool.")
    if message.recipient not in (None, "assistant"):
        raise HarmonyFormatError("A tool's result goes to the assistant only.")
    channel = _channel(message.channel)
    if channel is Channel.FINAL:
        raise HarmonyFormatError("A tool's result cannot be a final answer.")
    if message.content_type is not None:
        raise HarmonyFormatError("A tool's result has no content type.")
    if channel is None:
        channel = call_channels.get(message.name, Channel.COMMENTARY)
    return replace(message, channel=channel, recipient="assistant")


def _channel(value: str | None) -> Channel | None:
    try:
        return None if value is None else Channel(value)
    except ValueError as error:
        raise HarmonyFormatError("A message's channel is unknown.") from error


def old_reasoning(messages: Sequence[Message]) -> frozenset[int]:
    """The places of what a prompt leaves out: the reasoning of every turn but the one in progress.

    A turn is over when a final answer or a newer user's message follows; so the reasoning of a
    reply that was stopped before its answer goes too, while reasoning inside an unfinished tool
    turn stays. Calls of the built-in python tool and their results are part of the reasoning
    (they stand on ``analysis``); calls and results of functions, preambles and answers, cut ones
    included, are kept.
    """
    border = max(
        (
            index
            for index, message in enumerate(messages)
            if message.role == Role.USER or message.channel == Channel.FINAL
        ),
        default=0,
    )
    return frozenset(index for index, message in enumerate(messages[:border]) if _is_reasoning(message))


def _is_reasoning(message: Message) -> bool:
    address = message.recipient if message.role == Role.ASSISTANT else message.name
    return message.channel == Channel.ANALYSIS and (address is None or address == PYTHON)


def checked_date(value: str | None) -> str | None:
    """The prompt's date, which must be ``YYYY-MM-DD``."""
    if value is None:
        return None
    try:
        if date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise HarmonyFormatError("The current date must look like 2025-06-28.")


def checked_identity(text: str) -> str:
    """The first sentence of the system message, as one line: the lines below it are not its to write."""
    if has_long_piece(check_text(text, "The model's identity")):
        raise HarmonyFormatError("The model's identity holds a word that is far too long.")
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class CheckedTool:
    """A function that may be declared; ``parameters`` holds plain JSON values only."""

    name: str
    description: str
    parameters: dict[str, Any] | None


def checked_tools(prompt: Prompt) -> list[CheckedTool]:
    """The declared functions.

    Raises:
        HarmonyFormatError: a name is not allowed or comes twice, a schema is not JSON, together they are
            too long, or one holds a run of characters that would take the encoder seconds.
    """
    names: set[str] = set()
    tools: list[CheckedTool] = []
    chars = values = 0
    for tool in prompt.tools:
        if not is_function_name(tool.name):
            raise HarmonyFormatError(
                "A tool's name can hold letters, digits, _ and - only, and at most 64 of them."
            )
        if tool.name in names:
            raise HarmonyFormatError("Two tools have the same name.")
        names.add(tool.name)
        check_text(tool.description, "A tool's description")
        schema = "null" if tool.parameters is None else _schema_text(tool.parameters, "A tool's parameters")
        chars += len(tool.name) + len(tool.description) + len(schema)
        values += sum(map(schema.count, ",[{"))
        if chars > MOST_TOOL_CHARS:
            raise HarmonyFormatError(
                f"The functions are longer than {MOST_TOOL_CHARS:,} characters of JSON together."
            )
        if values > MOST_TOOL_VALUES:
            raise HarmonyFormatError(
                f"The functions hold more than about {MOST_TOOL_VALUES:,} values together."
            )
        if has_long_piece(tool.description) or has_long_piece(schema):
            raise HarmonyFormatError("A tool's description holds a word that is far too long.")
        tools.append(CheckedTool(tool.name, tool.description, json.loads(schema)))
    return tools


def _schema_text(schema: Mapping[str, Any], what: str) -> str:
    """A schema as compact JSON."""
    try:
        text = json.dumps(dict(schema), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise HarmonyFormatError(f"{what} are not a JSON schema.") from error
    return check_text(text, what)


def response_format_sections(wanted: ResponseFormat | None) -> list[str]:
    """What the developer message says of the answer's format: a heading, and the format.

    Raises:
        HarmonyFormatError: the name is not allowed, or the schema is not JSON.
    """
    if wanted is None:
        return []
    if not is_function_name(wanted.name):
        raise HarmonyFormatError(
            "A response format's name can hold letters, digits, _ and - only, and at most 64 of them."
        )
    check_text(wanted.description, "A response format's description")
    lines = [f"// {line}".rstrip() for line in wanted.description.strip().splitlines()]
    schema = {"type": "object"} if wanted.schema is None else wanted.schema
    lines.append(_schema_text(schema, "A response format's rules"))
    return ["# Response Formats", f"## {wanted.name}", "\n".join(lines)]
