"""What this server still knows of items that a client sends back: the model's own ids of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from inference.message_rules import FUNCTIONS
from inference.types import Channel, Message, Role
from inference.vocabulary import CALL, END
from playground.completions.replays import Replay
from playground.responses.item_ids import response_of
from storage.response_records import ResponseRecord

Json = dict[str, Any]
COMMENTARY = "commentary"
FINAL_ANSWER = "final_answer"


class Known:
    """Stored responses, and the latest replies with calls, which ``replay_of`` finds by a call's id."""

    def __init__(
        self,
        records: Iterable[ResponseRecord] = (),
        replay_of: Callable[[str], Replay | None] = lambda _: None,
    ) -> None:
        self._replay_of = replay_of
        self._messages: dict[str, Message] = {}
        self._items: dict[str, Json] = {}
        self._replays: dict[str, Replay] = {}
        for record in records:
            messages = messages_of(record)
            calls = {
                place: str(item["call_id"])
                for place, item in enumerate(record.output_items)
                if item["type"] == "function_call"
            }
            self._replays |= dict.fromkeys(calls.values(), Replay(tuple(messages), calls))
            for item, message in zip(record.output_items, messages, strict=True):
                self._items[item["id"]] = item
                self._messages[item["id"]] = message

    def message(self, item_id: object) -> Message | None:
        """The message of a stored item."""
        return self._messages.get(item_id) if isinstance(item_id, str) else None

    def item(self, item_id: object) -> Json | None:
        """A stored item."""
        return self._items.get(item_id) if isinstance(item_id, str) else None

    def replay(self, call_id: str) -> Replay | None:
        """The reply that made a call."""
        return self._replay_of(call_id) or self._replays.get(call_id)


def named_responses(items: Iterable[Json]) -> list[str]:
    """The responses that the ids of these items name."""
    found = (response_of(item.get("id")) for item in items)
    return list(dict.fromkeys(each for each in found if each is not None))


def messages_of(record: ResponseRecord) -> list[Message]:
    """The output of a response as the model shall see it again: by its own ids, where they are sound."""
    ids: Sequence[tuple[int, ...]] = record.written
    if len(ids) != len(record.output_items):
        ids = [()] * len(record.output_items)
    return [
        replace(message_of(item), written=written if written[-1:] in ((END,), (CALL,)) else ())
        for item, written in zip(record.output_items, ids, strict=True)
    ]


def message_of(item: Json) -> Message:
    """The message of an output item that was made here."""
    if item["type"] == "function_call":
        return call_message(item["name"], item["arguments"])
    text = "".join(part["text"] for part in item["content"])
    if item["type"] == "reasoning":
        return Message(Role.ASSISTANT, text, Channel.ANALYSIS)
    channel = Channel.COMMENTARY if item.get("phase") == COMMENTARY else Channel.FINAL
    return Message(Role.ASSISTANT, text, channel)


def call_message(name: str, arguments: str) -> Message:
    """A call of a function."""
    return Message(Role.ASSISTANT, arguments, Channel.COMMENTARY, FUNCTIONS + name, content_type="json")
