"""Conversations in the playground's own format: every branch, settings, sampling, usage and timings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime

from inference.types import Usage
from playground.exchange.document import (
    FORMAT,
    VERSION,
    ConversationItem,
    GenerationItem,
    MessageItem,
    SettingsItem,
    TimingsItem,
    UsageItem,
)
from playground.exchange.import_draft import TEXT_CHARS
from playground.exchange.moments import iso
from playground.exchange.reasoning import (
    answered_key,
    kept_messages,
    kept_replies,
    usage_without_reasoning,
)
from storage.records import ChatSettings, ConversationTree, GenerationRecord, GenerationStatus, MessageRecord


def file_pieces(
    trees: Iterable[ConversationTree], *, reasoning: bool, exported_at: datetime
) -> Iterator[str]:
    """The text of a file, a conversation at a time."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": iso(exported_at),
        "reasoning": reasoning,
    }
    yield json.dumps(head)[:-1] + ', "conversations": ['
    separator = "\n"
    for tree in trees:
        item = conversation_item(tree, reasoning=reasoning)
        yield separator + item.model_dump_json(exclude_none=True, by_alias=True)
        separator = ",\n"
    yield "\n]}\n"


def conversation_item(tree: ConversationTree, *, reasoning: bool) -> ConversationItem:
    """One conversation. Without ``reasoning`` what hung on a message of it hangs on the one before."""
    record = tree.conversation
    messages_left = kept_messages(tree.messages, reasoning=reasoning)
    kept = {message.id for message in messages_left}
    keys: dict[str | None, str | None] = {None: None}
    messages: list[MessageItem] = []
    replies = kept_replies(tree.generations, messages_left)
    generations = {each.id: f"g{number}" for number, each in enumerate(replies, 1)}
    for message in tree.messages:
        if message.id not in kept:
            keys[message.id] = keys[message.parent_id]
            continue
        key = f"m{len(messages) + 1}"
        keys[message.id] = key
        messages.append(_message_item(message, key, keys[message.parent_id], generations))
    return ConversationItem(
        title=record.title,
        title_by_hand=record.title_by_hand,
        pinned=record.pinned,
        archived=record.archived,
        created_at=record.created_at,
        updated_at=record.updated_at,
        settings=_settings_item(record.settings),
        shown=keys[record.leaf_id],
        messages=messages,
        generations=[
            _generation_item(each, keys, generations, tree, reasoning=reasoning) for each in replies
        ],
    )


def _settings_item(settings: ChatSettings) -> SettingsItem:
    return SettingsItem.model_validate(asdict(settings))


def _message_item(
    message: MessageRecord, key: str, parent: str | None, generations: dict[str, str]
) -> MessageItem:
    # A model that repeats itself may write more than an import takes: that, too, is the owner's to have.
    make = MessageItem if len(message.content) <= TEXT_CHARS else MessageItem.model_construct
    return make(
        key=key,
        parent=parent,
        generation=None if message.generation_id is None else generations[message.generation_id],
        role=message.role,
        channel=message.channel,
        recipient=message.recipient,
        name=message.name,
        content_type="json" if message.content_type == "json" else None,
        content=message.content,
        complete=message.complete,
        recovered=message.recovered,
        tokens=message.token_count,
        created_at=message.created_at,
    )


def _generation_item(
    record: GenerationRecord,
    keys: dict[str | None, str | None],
    generations: dict[str, str],
    tree: ConversationTree,
    *,
    reasoning: bool,
) -> GenerationItem:
    """A reply that still runs is written as one that was interrupted."""
    status = GenerationStatus.INTERRUPTED if record.status.is_open else record.status
    usage: Usage = record.usage if reasoning else usage_without_reasoning(record.usage)
    timings = {**asdict(record.timings), "reasoning_seconds": record.reasoning_seconds}
    values = {
        "key": generations[record.id],
        "question": keys[record.user_message_id],
        "status": status,
        "effort": record.effort,
        "temperature": record.temperature,
        "top_p": record.top_p,
        "seed": record.seed if reasoning else None,
        "max_tokens": record.max_tokens,
        "model": record.model,
        "revision": record.revision,
        "usage": UsageItem(**asdict(usage)),
        "timings": TimingsItem(**timings) if reasoning else TimingsItem(),
        "finish_reason": record.finish_reason,
        "error": record.error,
        "error_code": record.error_code,
        "continues": generations.get(record.continues_id or ""),
        "primed_tokens": record.primed_tokens if reasoning else 0,
        "mode": record.mode,
        "dropped_reasoning": record.dropped_reasoning,
        "dropped_turns": record.dropped_turns,
        "context_length": record.context_length,
        "answers": answered_key(record, tree.generations, generations),
        "turn_settings": None if record.turn_settings is None else _settings_item(record.turn_settings),
        "schema_valid": record.schema_valid,
        "schema_reason": record.schema_reason,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }
    return GenerationItem.model_validate(values)
