"""A shared conversation: the shown path as it was when the link was made, in the bytes that readers get.

Ids of the database never leave it: messages and replies are numbered anew. Where the reasoning is withheld it
is not in the snapshot at all, and neither is what tells of it: its counts, the times that they could be
reckoned from, and the seed that would write it again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from inference.types import (
    Channel,
    FinishReason,
    Message,
    ReasoningEffort,
    Role,
    SamplingParams,
    Timings,
    Usage,
)
from playground.errors import PlaygroundError
from playground.exchange.moments import iso
from playground.exchange.reasoning import (
    answered_key,
    kept_messages,
    kept_replies,
    usage_without_reasoning,
)
from storage.drafts import ConversationDraft, EmptyReply, GenerationDraft, MessageNode
from storage.errors import Conflict
from storage.records import (
    ChatSettings,
    ConversationRecord,
    GenerationRecord,
    GenerationStatus,
    MessageRecord,
    ShareRecord,
)

Json = dict[str, Any]

MOST_BYTES = 4_000_000
"""Of what a new link shows."""


def share_view(record: ShareRecord) -> Json:
    """A link as its owner sees it."""
    return {
        "id": record.id,
        "path": f"/s/{record.token}",
        "conversation_id": record.conversation_id,
        "title": record.title,
        "include_reasoning": record.include_reasoning,
        "messages": record.message_count,
        "created_at": iso(record.created_at),
    }


def snapshot(
    conversation: ConversationRecord,
    path: Sequence[MessageRecord],
    generations: Sequence[GenerationRecord],
    *,
    include_reasoning: bool,
    now: datetime,
) -> Json:
    """What readers of a new link get.

    Raises:
        Conflict: a reply of the path is still being written.
    """
    if conversation.running_generation_id is not None:
        raise Conflict("This conversation is still answering. Share it when the reply is complete.")
    shown = {message.generation_id for message in path} | {message.reply for message in path}
    kept = kept_messages(path, reasoning=include_reasoning)
    replies = kept_replies([each for each in generations if each.id in shown], kept)
    keys = {message.id: f"m{number}" for number, message in enumerate(kept, 1)}
    names = {generation.id: f"g{number}" for number, generation in enumerate(replies, 1)}
    # When an answer was begun would tell how long the model had reasoned.
    began = {} if include_reasoning else {each.id: each.created_at for each in replies}
    models = [generation.model for generation in replies if generation.model]
    return {
        "title": conversation.title,
        "created_at": iso(now),
        "include_reasoning": include_reasoning,
        "model": models[-1] if models else None,
        "messages": [
            _message(message, keys, names, began.get(message.generation_id or "", message.created_at))
            for message in kept
        ],
        "generations": [
            _generation(each, keys, names, generations, include_reasoning=include_reasoning)
            for each in replies
        ],
    }


def encoded(value: Json) -> str:
    """The snapshot as it is stored and sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def check_size(snapshot: str) -> None:
    """Refuse what is too much for a link, which anybody may open as often as they like.

    Raises:
        PlaygroundError: (413).
    """
    size = len(snapshot.encode())
    if size > MOST_BYTES:
        raise PlaygroundError(
            "too_large_to_share",
            f"A link can show {MOST_BYTES // 1_000_000} MB, and this conversation has "
            f"{size / 1_000_000:.1f} MB. Export it as a file instead.",
            status=413,
        )


def _message(message: MessageRecord, keys: dict[str, str], names: dict[str, str], at: datetime) -> Json:
    return {
        "id": keys[message.id],
        "generation_id": names.get(message.generation_id or ""),
        "role": message.role,
        "channel": message.channel,
        "recipient": message.recipient,
        "name": message.name,
        "content_type": message.content_type,
        "content": message.content,
        "complete": message.complete,
        "recovered": message.recovered,
        "token_count": message.token_count,
        "created_at": iso(at),
    }


def _generation(
    record: GenerationRecord,
    keys: dict[str, str],
    names: dict[str, str],
    generations: Sequence[GenerationRecord],
    *,
    include_reasoning: bool,
) -> Json:
    """How one reply was made, as far as readers may know it."""
    value: Json = {
        "id": names[record.id],
        "user_message_id": keys[record.user_message_id],
        "status": record.status,
        "effort": record.effort,
        "temperature": record.temperature,
        "top_p": record.top_p,
        "model": record.model,
        "revision": record.revision,
        "finish_reason": record.finish_reason,
        "error": record.error,
        "created_at": iso(record.created_at),
        "answers": answered_key(record, generations, names),
    }
    if record.schema_valid is not None:
        value["schema"] = {"valid": record.schema_valid, "reason": record.schema_reason}
    if include_reasoning:
        timings = {**asdict(record.timings), "reasoning_seconds": record.reasoning_seconds}
        return {**value, "seed": record.seed, "usage": asdict(record.usage), "timings": timings}
    left = usage_without_reasoning(record.usage)
    return {**value, "usage": {"commentary": left.commentary, "final": left.final}}


def draft_of(value: Json, now: datetime) -> ConversationDraft:
    """A snapshot as a conversation of whoever reads it."""
    settings = ChatSettings()
    generations = {each["id"]: _generation_draft(each) for each in value["generations"]}
    nodes = []
    parent: str | None = None
    for each in value["messages"]:
        generation = generations.get(each["generation_id"])
        nodes.append(
            MessageNode(
                key=each["id"],
                parent_key=parent,
                message=_message_draft(each),
                created_at=datetime.fromisoformat(each["created_at"]),
                generation=generation,
                complete=each["complete"],
                token_count=each["token_count"],
            )
        )
        parent = each["id"]
    answered = {node.generation.key for node in nodes if node.generation is not None}
    empty = [
        EmptyReply(each["user_message_id"], generations[each["id"]])
        for each in value["generations"]
        if each["id"] not in answered
    ]
    return ConversationDraft(
        title=value["title"],
        settings=settings,
        created_at=now,
        nodes=tuple(nodes),
        leaf_key=parent,
        updated_at=now,
        title_by_hand=True,
        empty_replies=tuple(empty),
    )


def _message_draft(value: Json) -> Message:
    channel = value["channel"]
    return Message(
        role=Role(value["role"]),
        content=value["content"],
        channel=None if channel is None else Channel(channel),
        recipient=value["recipient"],
        name=value["name"],
        content_type=value["content_type"],
        recovered=value["recovered"],
    )


def _generation_draft(value: Json) -> GenerationDraft:
    reason = value["finish_reason"]
    made = datetime.fromisoformat(value["created_at"])
    timings = dict(value.get("timings", {}))
    thinking = timings.pop("reasoning_seconds", 0.0)
    schema = value.get("schema", {})
    return GenerationDraft(
        key=value["id"],
        status=GenerationStatus(value["status"]),
        effort=ReasoningEffort(value["effort"]),
        sampling=SamplingParams(
            temperature=value["temperature"], top_p=value["top_p"], seed=value.get("seed")
        ),
        model=value["model"],
        revision=value["revision"],
        usage=Usage(**value["usage"]),
        timings=Timings(**timings),
        reasoning_seconds=thinking,
        finish_reason=None if reason is None else FinishReason(reason),
        error=value["error"],
        answers_key=value.get("answers"),
        schema_valid=schema.get("valid"),
        schema_reason=schema.get("reason"),
        created_at=made,
        started_at=made,
        finished_at=made,
    )
