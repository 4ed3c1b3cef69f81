"""A conversation as the page shows it: the branch in sight, what it took, and how full the context is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inference.types import Channel, EngineHealth, Role
from playground import views
from playground.functions import onward_in
from storage.records import GenerationRecord, MessageRecord
from storage.store import Store

FULL_TURNS = 20
"""The last turns whose reasoning and tool messages come with their text; a long chat opens without it."""
HEADER_TOKENS = 6
"""What harmony writes around an answer: its role, channel and markers."""
BYTES_PER_TOKEN = 4
TRIES = 3


def shown(store: Store, owner_id: str, conversation_id: str, health: EngineHealth) -> views.Json:
    """The path to the shown leaf with its replies, totals and context. Blocks; raises NotFound."""
    conversation = store.get_conversation(owner_id, conversation_id)
    messages, known = _read(store, owner_id, conversation_id)
    in_sight = {message.reply or message.generation_id for message in messages}
    replies = [each for each in known.values() if each.id in in_sight]
    after = onward_in(messages, known)
    heavy_from = _first_of_last_turns(messages)
    return {
        "conversation": views.conversation(conversation),
        "messages": [
            views.message(each, light=place < heavy_from and _is_aside(each))
            for place, each in enumerate(messages)
        ],
        "generations": [views.generation(each, after.get(each.id, views.NOTHING_AFTER)) for each in replies],
        "totals": totals(replies, known),
        "context": {
            "used": context_used(messages, known),
            "limit": None if health.active is None else health.active.context_length,
        },
    }


def _read(
    store: Store, owner_id: str, conversation_id: str
) -> tuple[list[MessageRecord], dict[str, GenerationRecord]]:
    """The shown branch and all replies.

    The replies are read first: one that ends meanwhile then looks as if it ran, with its text, and is
    followed to its end. The other way round it would have ended without any. One that begins is read again.
    """
    for _ in range(TRIES):
        known = {each.id: each for each in store.conversation_generations(owner_id, conversation_id)}
        messages = store.path(owner_id, conversation_id)
        if all(message.reply is None or message.reply in known for message in messages):
            break
    return messages, known


def totals(replies: Sequence[GenerationRecord], known: Mapping[str, GenerationRecord]) -> views.Json:
    """What the shown replies took, those that they go on with included; ``turns`` counts the shown ones."""
    counted = {each.id: each for reply in replies for each in _with_continued(reply, known)}.values()
    return {
        "turns": sum(each.answers_id is None for each in replies),
        "prompt_tokens": sum(each.usage.prompt for each in counted),
        "cached_tokens": sum(each.usage.cached for each in counted),
        "completion_tokens": sum(each.usage.completion for each in counted),
        "reasoning_tokens": sum(each.usage.reasoning for each in counted),
        "seconds": sum(each.timings.total for each in counted),
    }


def context_used(messages: Sequence[MessageRecord], known: Mapping[str, GenerationRecord]) -> int:
    """About how many tokens the next prompt begins with, without rendering it.

    The prompt of the last reply, and what has come since and is not reasoning. Where no reply was made here,
    the tokens of a text are guessed from its length.
    """
    used = 0
    for message in reversed(messages):
        if message.channel is not Channel.ANALYSIS:
            used += _tokens(message)
        reply = known.get(message.reply or "")
        if reply is not None and reply.usage.prompt:
            # Until the reply has ended, its prompt is counted without the ids that it begins with.
            primed = 0 if reply.finish_reason is None else reply.primed_tokens
            return used - _tokens(message) + reply.usage.prompt - primed
    return used


def _with_continued(
    reply: GenerationRecord, known: Mapping[str, GenerationRecord]
) -> Iterator[GenerationRecord]:
    each: GenerationRecord | None = reply
    while each is not None:
        yield each
        each = known.get(each.continues_id or "")


def _first_of_last_turns(messages: Sequence[MessageRecord]) -> int:
    questions = [place for place, message in enumerate(messages) if message.role is Role.USER]
    return questions[-FULL_TURNS] if len(questions) > FULL_TURNS else 0


def _is_aside(message: MessageRecord) -> bool:
    """Reasoning, a tool's call or a tool's result: what the page shows folded."""
    called = message.role is Role.ASSISTANT and message.recipient is not None
    return message.role is Role.TOOL or message.channel is Channel.ANALYSIS or called


def _tokens(message: MessageRecord) -> int:
    return HEADER_TOKENS + (message.token_count or len(message.content.encode()) // BYTES_PER_TOKEN)
