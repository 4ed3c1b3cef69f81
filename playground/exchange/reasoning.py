"""What is left of a conversation when its reasoning is withheld: no text of it, no count, no seed.

The seed goes because, with the same model, it would write the same reasoning again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference.message_rules import PYTHON
from inference.types import Channel, Role, Usage
from storage.records import GenerationRecord, MessageRecord


def kept_messages(messages: Sequence[MessageRecord], *, reasoning: bool) -> list[MessageRecord]:
    """All of them, or those that are not reasoning."""
    return [message for message in messages if reasoning or not is_reasoning(message)]


def is_reasoning(message: MessageRecord) -> bool:
    """Whether a message is part of the reasoning: calls and results on the analysis channel are.

    A result of python without a channel answers such a call.
    """
    if message.channel is None:
        return message.role is Role.TOOL and message.name == PYTHON
    return message.channel is Channel.ANALYSIS


def kept_replies(
    replies: Sequence[GenerationRecord], kept: Sequence[MessageRecord]
) -> list[GenerationRecord]:
    """All but those that go on from calls and have none of their messages left."""
    full = {message.generation_id for message in kept}
    return [each for each in replies if each.answers_id is None or each.id in full]


def answered_key(
    record: GenerationRecord, replies: Sequence[GenerationRecord], keys: Mapping[str, str]
) -> str | None:
    """The key of the nearest reply that has one, of those whose calls led to this one."""
    before = {each.id: each.answers_id for each in replies}
    each = record.answers_id
    while each is not None and each not in keys:
        each = before.get(each)
    return None if each is None else keys[each]


def usage_without_reasoning(usage: Usage) -> Usage:
    """What may be told of the tokens: all that were written would tell how much was reasoned."""
    return Usage(commentary=usage.commentary, final=usage.final)
