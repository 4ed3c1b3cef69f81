"""The conversation that a client gives to Chat Completions, as the messages of a harmony prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.message_rules import FUNCTIONS, is_function_name
from inference.types import Channel, Message, Role
from playground.api.openai.errors import invalid, unsupported
from playground.api.openai.notes import OF_TEXTS, Notes
from playground.completions.replays import Replay, Replays

Json = Mapping[str, Any]

INSTRUCTING = ("system", "developer")  # what is compared with it may be of any type

TEXT_PARTS = {"text": "text", "refusal": "refusal", "input_text": "text", "output_text": "text"}
"""The parts that are texts, and where each has it; the last two are the Responses API's names."""


class History:
    """Reads the messages of one request; ``instructions`` and ``messages`` are what becomes of them."""

    def __init__(self, replays: Replays, owner_id: str, notes: Notes) -> None:
        self._replays = replays
        self._owner_id = owner_id
        self._notes = notes
        self._names: dict[str, str] = {}
        self._instructions: list[str] = []
        self.messages: list[Message] = []

    @property
    def instructions(self) -> str | None:
        """All system and developer messages, in their order."""
        return "\n\n".join(self._instructions) or None

    def read(self, given: Sequence[Json]) -> None:
        """Take all messages, oldest first.

        Raises:
            PlaygroundError: (400) one of them cannot be understood.
        """
        for number, message in enumerate(given):
            where = f"messages[{number}]"
            role = message.get("role")
            if role in INSTRUCTING:
                self._instruct(message, where)
            elif role == "user":
                text = text_of(message.get("content"), f"{where}.content", self._notes)
                self.messages.append(Message(Role.USER, text))
                self._notes.unread(message, {"role", "content"}, where)
            elif role == "assistant":
                self._assistant(message, where)
            elif role == "tool":
                self._result(message, where)
            elif role == "function":
                raise unsupported(f"{where}.role", "give results of functions as tool messages.")
            else:
                raise invalid(
                    f"{where}.role must be system, developer, user, assistant or tool.", f"{where}.role"
                )

    def _instruct(self, message: Json, where: str) -> None:
        if self.messages:
            self._notes.add(where, "Instructions stand before the conversation, wherever they were given.")
        self._instructions.append(text_of(message.get("content"), f"{where}.content", self._notes))
        self._notes.unread(message, {"role", "content"}, where)

    def _assistant(self, message: Json, where: str) -> None:
        if message.get("function_call") is not None:
            raise unsupported(f"{where}.function_call", "give calls as tool_calls.")
        if message.get("audio") is not None:
            raise unsupported(f"{where}.audio", "the model reads text only.")
        content = text_of(message.get("content"), f"{where}.content", self._notes, optional=True)
        content = content or _text(message, "refusal", where)
        reasoning = _text(message, "reasoning", where) or _text(message, "reasoning_content", where)
        calls = self._calls(message.get("tool_calls"), f"{where}.tool_calls")
        known = {"role", "content", "refusal", "reasoning", "reasoning_content", "tool_calls"}
        self._notes.unread(message, known | {"annotations"}, where)
        replay = self._replay(calls, content)
        if replay is not None:
            self.messages += replay.messages
            return
        if reasoning:
            self.messages.append(Message(Role.ASSISTANT, reasoning, Channel.ANALYSIS))
        if content:
            channel = Channel.COMMENTARY if calls else Channel.FINAL
            self.messages.append(Message(Role.ASSISTANT, content, channel))
        self.messages += [
            Message(Role.ASSISTANT, arguments, Channel.COMMENTARY, FUNCTIONS + name, content_type="json")
            for _, name, arguments in calls
        ]

    def _calls(self, given: object, where: str) -> list[tuple[str, str, str]]:
        """Id, function and arguments of each call."""
        if given is None:
            return []
        if not isinstance(given, list):
            raise invalid(f"{where} must be a list of calls.", where)
        calls = []
        for number, call in enumerate(given):
            place = f"{where}[{number}]"
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping) or call.get("type", "function") != "function":
                raise invalid(f"{place} must be the call of a function.", place)
            call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
            if not isinstance(call_id, str) or not call_id:
                raise invalid(f"{place}.id must be the id of the call.", f"{place}.id")
            if not isinstance(name, str) or not is_function_name(name):
                raise invalid(f"{place}.function.name is not the name of a function.", f"{place}.function")
            if not isinstance(arguments, str):
                raise invalid(f"{place}.function.arguments must be a text.", f"{place}.function.arguments")
            calls.append((call_id, name, arguments))
            self._notes.unread(call, {"id", "type", "index", "function"}, place)
            self._notes.unread(function, {"name", "arguments"}, f"{place}.function")
            self._names[call_id] = name
        return calls

    def _replay(self, calls: Sequence[tuple[str, str, str]], content: str) -> Replay | None:
        """The reply that made these very calls, if it is remembered and nothing in it was changed."""
        replay = self._replays.find(self._owner_id, calls[0][0]) if calls else None
        if replay is None or set(replay.calls.values()) != {call_id for call_id, _, _ in calls}:
            return None
        if content and content != visible_text(replay.messages):
            return None
        unchanged = all(
            replay.has_call(call_id, FUNCTIONS + name, arguments) for call_id, name, arguments in calls
        )
        return replay if unchanged else None

    def _result(self, message: Json, where: str) -> None:
        call_id = message.get("tool_call_id")
        name = self._names.get(call_id) if isinstance(call_id, str) else None
        if name is None:
            raise invalid(
                f"{where}.tool_call_id must be the id of a call in a message before.", f"{where}.tool_call_id"
            )
        content = text_of(message.get("content"), f"{where}.content", self._notes)
        self.messages.append(Message(Role.TOOL, content, name=FUNCTIONS + name))
        self._notes.unread(message, {"role", "content", "tool_call_id", "name"}, where)


def text_of(content: object, where: str, notes: Notes, *, optional: bool = False) -> str:
    """The text of a content that is a text or a list of parts; ``notes`` get what of a part is not read.

    Raises:
        PlaygroundError: (400) it is neither, or a part is not text.
    """
    if isinstance(content, str):
        return content
    if content is None and optional:
        return ""
    if not isinstance(content, list):
        raise invalid(f"{where} must be a text or a list of text parts.", where)
    texts = []
    for number, part in enumerate(content):
        place = f"{where}[{number}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(kind, str):
            raise invalid(f"{place} must be a part with a type.", place)
        if kind not in TEXT_PARTS:
            raise unsupported(place, "the model reads text only.")
        name = TEXT_PARTS[kind]
        text = part.get(name)
        if not isinstance(text, str):
            raise invalid(f"{place}.{name} must be a text.", place)
        texts.append(text)
        notes.unread(part, {"type", name, *OF_TEXTS}, place)
    return "\n".join(texts)


def visible_text(messages: Sequence[Message]) -> str:
    """What a client sees as the content of a reply: its preambles and its answer."""
    shown = [
        message.content
        for message in messages
        if message.content
        and message.recipient is None
        and message.channel in {Channel.COMMENTARY, Channel.FINAL}
    ]
    return "\n\n".join(shown)


def _text(message: Json, name: str, where: str) -> str:
    value = message.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{where}.{name} must be a text.", f"{where}.{name}")
    return value or ""
