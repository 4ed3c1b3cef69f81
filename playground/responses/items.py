"""Input items become the messages of a prompt.

A client sends back what it was given, more or less: reasoning with or without its text, calls with or
without the items around them, messages without a type. What this server still knows goes into the prompt
with the model's own ids; what was changed counts as the client says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inference.message_rules import FUNCTIONS, is_function_name
from inference.types import Channel, Message, Role
from playground.api.openai.errors import invalid
from playground.api.openai.notes import OF_TEXTS, Notes
from playground.completions.replays import Replay
from playground.errors import PlaygroundError
from playground.responses.known import COMMENTARY, Known, call_message, messages_of
from storage.response_records import ResponseRecord

Json = dict[str, Any]

TEXT_PARTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
OTHER_PARTS = frozenset({"input_image", "input_file", "input_audio", "image_url"})
MADE_HERE = frozenset({"reasoning", "function_call"})
FIELDS = {
    "message": {"type", "id", "status", "role", "content", "phase"},
    "reasoning": {"type", "id", "status", "summary", "content"},
    "function_call": {"type", "id", "status", "call_id", "name", "arguments"},
    "function_call_output": {"type", "id", "status", "call_id", "output"},
}
"""What is read of each type of item, or is known to say nothing to the model."""
IGNORED_ITEM = "Items of this type are not known here; this one was left out of the prompt."


class Reader:
    """Reads items in order. ``messages`` and ``instructions`` are what the prompt is made of."""

    def __init__(self, known: Known, notes: Notes) -> None:
        self._known = known
        self._notes = notes
        self._names: dict[str, str] = {}
        self.messages: list[Message] = []
        self.instructions: list[str] = []

    def read_stored(self, record: ResponseRecord) -> None:
        """A response of before: what went in, and what came out. It had its notes then."""
        notes, self._notes = self._notes, Notes()
        self.read(record.input_items)
        self._notes = notes
        for item in record.output_items:
            if item["type"] == "function_call":
                self._names[item["call_id"]] = item["name"]
        self.messages += messages_of(record)

    def resolved(self, items: Sequence[Json]) -> list[Json]:
        """The items with stored ones in place of references, and of reasoning that came without its text.

        Raises:
            PlaygroundError: (404) a reference leads to nothing.
        """
        found = []
        for place, item in enumerate(items):
            known = self._known.item(item.get("id"))
            if item["type"] == "item_reference" and known is None:
                sentence = f"input[{place}] refers to an item that is not stored."
                raise PlaygroundError("not_found", sentence, status=404, param=f"input[{place}]")
            bare = item["type"] == "reasoning" and not item.get("content")
            wanted = item["type"] == "item_reference" or (bare and known is not None)
            found.append(known if wanted and known is not None else item)
        return found

    def read(self, items: Sequence[Json]) -> None:
        """More items, without references.

        Raises:
            PlaygroundError: (400) they make no sense.
        """
        reply: list[tuple[Json, str]] = []
        for place, item in enumerate(items):
            param = f"input[{place}]"
            kind = _kind(item)
            if kind in FIELDS:
                self._notes.unread(item, FIELDS[kind], param)
            if kind in MADE_HERE or (kind == "message" and item.get("role") == "assistant"):
                reply.append((item, param))
                continue
            self._read_reply(reply)
            reply = []
            self._read_one(item, param)
        self._read_reply(reply)

    def _read_one(self, item: Json, param: str) -> None:
        """An item that the model did not write."""
        kind = _kind(item)
        if kind == "function_call_output":
            self._read_result(item, param)
        elif kind != "message":
            self._notes.add(f"{param}.type", IGNORED_ITEM)
        elif item.get("role") in ("system", "developer"):
            self.instructions.append(text_of(item.get("content"), f"{param}.content", self._notes))
        elif item.get("role") == "user":
            text = text_of(item.get("content"), f"{param}.content", self._notes)
            self.messages.append(Message(Role.USER, text))
        else:
            raise invalid(f"{param}.role must be user, assistant, system or developer.", f"{param}.role")

    def _read_result(self, item: Json, param: str) -> None:
        call_id = item.get("call_id")
        name = self._names.get(call_id) if isinstance(call_id, str) else None
        if name is None:
            raise invalid(f"{param} is the output of a call that is not in the input before it.", param)
        output = item.get("output")
        if isinstance(output, list):
            text = _result_text(output, param, self._notes)
        elif isinstance(output, str):
            text = output
        else:
            raise invalid(f"{param}.output must be a text, or a list of texts.", f"{param}.output")
        self.messages.append(Message(Role.TOOL, text, None, "assistant", FUNCTIONS + name))

    def _read_reply(self, reply: Sequence[tuple[Json, str]]) -> None:
        """Items in a row that the model wrote."""
        written: list[Message] = []
        begun: dict[int, int] = {}  # how far each reply that is still known was repeated
        fixed = 0
        last_call = max(
            (at for at, (item, _) in enumerate(reply) if _kind(item) == "function_call"), default=-1
        )
        for at, (item, param) in enumerate(reply):
            kind = _kind(item)
            if kind == "reasoning":
                written += self._reasoning(item, param)
            elif kind == "message":
                written.append(self._answer(item, param, at < last_call))
            else:
                call, replay = self._call(item, param)
                if replay is None:
                    written.append(call)
                else:
                    place = next(at for at, known in replay.calls.items() if known == item["call_id"])
                    first = begun.get(id(replay), 0)
                    written[fixed:] = _repeated(written[fixed:], replay.messages[first : place + 1])
                    begun[id(replay)] = place + 1
                fixed = len(written)
        self.messages += written

    def _reasoning(self, item: Json, param: str) -> list[Message]:
        content = item.get("content")
        text = text_of(content, f"{param}.content", self._notes) if content else ""
        known = self._known.message(item.get("id"))
        if known is not None and known.channel is Channel.ANALYSIS and text in ("", known.content):
            return [known]
        if text:
            return [Message(Role.ASSISTANT, text, Channel.ANALYSIS)]
        self._notes.add(param, "This reasoning has no text and is not stored; it was left out of the prompt.")
        return []

    def _answer(self, item: Json, param: str, before_call: bool) -> Message:
        """A message for the user: the answer, or what was said before a call."""
        text = text_of(item.get("content"), f"{param}.content", self._notes)
        known = self._known.message(item.get("id"))
        if known is not None and known.recipient is None and known.content == text:
            return known
        phase = item.get("phase")
        preamble = before_call if phase is None else phase == COMMENTARY
        return Message(Role.ASSISTANT, text, Channel.COMMENTARY if preamble else Channel.FINAL)

    def _call(self, item: Json, param: str) -> tuple[Message, Replay | None]:
        """A call, and the reply that made it if it is known and unchanged."""
        name, arguments, call_id = (item.get(field) for field in ("name", "arguments", "call_id"))
        if not isinstance(name, str) or not is_function_name(name):
            raise invalid(f"{param}.name is not the name of a function.", f"{param}.name")
        if not isinstance(arguments, str):
            raise invalid(f"{param}.arguments must be a text.", f"{param}.arguments")
        if not isinstance(call_id, str) or not call_id:
            raise invalid(f"{param}.call_id is missing.", f"{param}.call_id")
        self._names[call_id] = name
        message = call_message(name, arguments)
        replay = self._known.replay(call_id)
        if replay is None or not replay.has_call(call_id, FUNCTIONS + name, arguments):
            return message, None
        return message, replay


def text_of(content: object, param: str, notes: Notes) -> str:
    """The text of a content, which is one or is a list of parts; ``notes`` get what of these is not read.

    Raises:
        PlaygroundError: (400) it holds something else; this model reads only text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{param} must be a text, or a list of parts.", param)
    return "\n".join(_part_text(part, f"{param}[{place}]", notes) for place, part in enumerate(content))


def _part_text(part: object, param: str, notes: Notes) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        kind = str(part.get("type", "input_text"))
        notes.unread(part, {"type", "text", "refusal", *OF_TEXTS}, param)
        if kind == "refusal" and isinstance(part.get("refusal"), str):
            return str(part["refusal"])
        if kind in TEXT_PARTS and isinstance(part.get("text"), str):
            return str(part["text"])
        if kind in OTHER_PARTS:
            raise invalid(f"{param} is no text, and this model reads only text.", param)
    raise invalid(f"{param} is not a part with a text.", param)


def _result_text(parts: Sequence[object], param: str, notes: Notes) -> str:
    """A function's result in parts; what is no text is named in its place."""
    texts = []
    for place, part in enumerate(parts):
        kind = str(part.get("type")) if isinstance(part, Mapping) else ""
        if kind in OTHER_PARTS:
            notes.add(f"{param}.output[{place}]", "This model reads only text; it is told that this is here.")
            texts.append(json.dumps({"omitted": kind}))
        else:
            texts.append(_part_text(part, f"{param}.output[{place}]", notes))
    return "\n".join(texts)


def _kind(item: Json) -> str:
    """The type of an item; messages may come without one."""
    kind = item.get("type")
    if kind is None and "role" in item:
        return "message"
    return kind if isinstance(kind, str) else ""


def _repeated(given: list[Message], known: Sequence[Message]) -> list[Message]:
    """What a client sent before a call, and that call, with the known reply in place of what is the same.

    Reasoning that the client has changed is kept, and then the reply's own is not added.
    """
    *before, call = known
    left = list(given)
    for message in reversed(before):
        if left and (left[-1].channel, left[-1].content) == (message.channel, message.content):
            left.pop()
    if any(message.channel is Channel.ANALYSIS for message in left):
        return [*given, call]
    return [*left, *before, call]
