"""The running of functions within a turn: which calls wait, whose results they get, and what goes on then.

A reply that ends with calls waits for their results. Those of the operator's functions are fetched here,
while the reply stays open; the others are typed by a person and come as a turn of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.message_rules import FUNCTIONS, is_tool_address
from inference.types import FinishReason, Message, Role
from inference.vocabulary import ASSISTANT, CALL, END, START
from playground import views
from playground.completions.replays import with_ids
from playground.operator_functions import OperatorFunctions
from playground.runs import Run
from storage.records import GenerationRecord, MessageDraft, MessageRecord
from storage.store import Store

MOST_ROUNDS = 10
"""So often in a row the server goes on from its own functions' results, before a person must."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a reply, by the id of its message."""

    message_id: str
    message: Message

    @property
    def function(self) -> str:
        """The name without ``functions.``."""
        return (self.message.recipient or "").removeprefix(FUNCTIONS)

    def result(self, content: str) -> Message:
        """What the function said, as the message that answers this call."""
        return Message(Role.TOOL, content, self.message.channel, "assistant", self.message.recipient)


@dataclass(frozen=True, slots=True)
class Entered:
    """The result of one call that a person typed."""

    message_id: str
    content: str


def waiting_calls(messages: Iterable[MessageRecord | MessageDraft]) -> list[Call]:
    """The calls of one reply that have no result in it; a result is that of the first call that fits."""
    waiting: list[Call] = []
    for each in messages:
        message = each.message
        if message.role is Role.TOOL:
            found = next((call for call in waiting if call.message.recipient == message.name), None)
            if found is not None:
                waiting.remove(found)
        elif each.complete and message.recipient is not None and is_tool_address(message.recipient):
            waiting.append(Call(each.id, message))
    return waiting


def has_calls(record: GenerationRecord) -> bool:
    """Whether this reply ended with calls, which may have results by now."""
    return record.finish_reason is FinishReason.TOOL_CALL and not record.status.is_open


def onward(store: Store, owner_id: str, record: GenerationRecord) -> views.Onward:
    """What comes after a reply: nothing, waiting calls, or those that go on. Blocks; raises NotFound."""
    if not has_calls(record):
        return views.Onward()
    following, shown = store.answers_to(owner_id, record.id)
    if following:
        return views.Onward(next_id=shown, next_ids=tuple(following))
    calls = waiting_calls(store.generation_messages(owner_id, record.id))
    return views.Onward(waiting=tuple(call.message_id for call in calls))


def onward_in(
    path: Sequence[MessageRecord], known: Mapping[str, GenerationRecord]
) -> dict[str, views.Onward]:
    """The same for every reply with calls on a path; ``known`` are all generations of the conversation."""
    found: dict[str, views.Onward] = {}
    in_sight = {message.generation_id for message in path}
    following: dict[str, list[str]] = {}
    for each in known.values():
        if each.answers_id is not None:
            following.setdefault(each.answers_id, []).append(each.id)
    for record in known.values():
        if record.id not in in_sight or not has_calls(record):
            continue
        if ids := following.get(record.id):
            shown = next((each for each in ids if each in in_sight), ids[-1])
            found[record.id] = views.Onward(next_id=shown, next_ids=tuple(ids))
        else:
            calls = waiting_calls(message for message in path if message.generation_id == record.id)
            found[record.id] = views.Onward(waiting=tuple(call.message_id for call in calls))
    return found


def in_progress(store: Store, owner_id: str, path: Sequence[MessageRecord]) -> list[Message]:
    """The messages of a path for a prompt in the middle of its last turn.

    What the model wrote in this turn is repeated by the very ids that it wrote, where they are known: written
    anew, its own calls look strange to it. Blocks for the database.
    """
    asked = max((place for place, each in enumerate(path) if each.role is Role.USER), default=-1)
    messages = [record.message for record in path]
    places: dict[str, list[int]] = {}
    for place, record in enumerate(path[asked + 1 :], asked + 1):
        if record.role is Role.ASSISTANT and record.generation_id is not None:
            places.setdefault(record.generation_id, []).append(place)
    for generation_id, own in places.items():
        output = store.generation_tokens(owner_id, generation_id).output_ids
        written = with_ids([messages[place] for place in own], output, (START, ASSISTANT))
        if all(message.written and message.written[-1] in (END, CALL) for message in written):
            for place, message in zip(own, written, strict=True):
                messages[place] = message
    return messages


class Functions:
    """Runs the operator's functions for replies. Belongs to one event loop."""

    def __init__(self, operator: OperatorFunctions) -> None:
        self.operator = operator

    async def results(self, run: Run, calls: Sequence[Call]) -> list[str] | None:
        """The results of these calls in their order; ``None`` when the run was asked to stop meanwhile."""
        run.publish("calling", {"calls": [call.message_id for call in calls]})
        asked = [(call.function, call.message.content) for call in calls]
        working = asyncio.create_task(self.operator.answer_all(asked, run.conversation_id))
        stopping = asyncio.create_task(run.cancelled.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return None if run.cancel_requested else await working
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
