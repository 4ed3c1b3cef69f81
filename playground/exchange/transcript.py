"""The shown path of a conversation as a reader sees it: questions, each with its reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.types import Role
from playground.exchange.reasoning import kept_messages
from storage.records import ConversationRecord, GenerationRecord, MessageRecord


@dataclass
class Turn:
    """One question and the messages of its reply. ``generation`` is None where nothing answered."""

    question: MessageRecord | None
    generation: GenerationRecord | None = None
    messages: list[MessageRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Transcript:
    """The path from the first message to the one that is shown last."""

    conversation: ConversationRecord
    turns: list[Turn]


def transcript(
    conversation: ConversationRecord,
    path: Sequence[MessageRecord],
    generations: Sequence[GenerationRecord],
    *,
    reasoning: bool,
) -> Transcript:
    """Group the messages of a path; ``generations`` are all of the conversation."""
    by_id = {generation.id: generation for generation in generations}
    turns: list[Turn] = []
    for message in kept_messages(path, reasoning=reasoning):
        if message.role is Role.USER:
            turns.append(Turn(message, by_id.get(message.reply or "")))
            continue
        if not turns:
            turns.append(Turn(None))
        turns[-1].generation = by_id.get(message.generation_id or "", turns[-1].generation)
        turns[-1].messages.append(message)
    return Transcript(conversation, turns)
