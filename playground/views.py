"""How records read as JSON in the page's API; the shapes are those of docs/http-api.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from inference.types import EngineHealth, ModelStatus, Role
from playground.temporary import is_temporary
from storage.records import (
    ChatSettings,
    ConversationRecord,
    GenerationRecord,
    MessageRecord,
    Preferences,
    PresetRecord,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Onward:
    """What comes after a reply that ended with calls: those that wait, or the replies that go on."""

    waiting: tuple[str, ...] = ()
    next_id: str | None = None
    next_ids: tuple[str, ...] = ()


NOTHING_AFTER = Onward()


def conversation(record: ConversationRecord) -> Json:
    """A conversation without its messages."""
    return {
        "id": record.id,
        "title": record.title,
        "title_by_hand": record.title_by_hand,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "pinned": record.pinned,
        "archived": record.archived,
        "temporary": is_temporary(record.id),
        "settings": settings(record.settings),
        "running_generation_id": record.running_generation_id,
        "sequence": record.sequence,
    }


def message(record: MessageRecord, *, light: bool = False) -> Json:
    """One harmony message; a light one goes without its text."""
    view: Json = {
        "id": record.id,
        "parent_id": record.parent_id,
        "generation_id": record.generation_id,
        "role": record.role,
        "channel": record.channel,
        "recipient": record.recipient,
        "name": record.name,
        "content": None if light else record.content,
        "content_chars": len(record.content),
        "complete": record.complete,
        "recovered": record.recovered,
        "token_count": record.token_count,
        "created_at": moment(record.created_at),
    }
    if record.role is Role.USER:
        view |= {"siblings": record.siblings, "replies": record.replies, "reply": record.reply}
    return view


def generation(record: GenerationRecord, after: Onward = NOTHING_AFTER) -> Json:
    """One reply: how it was asked for, how it ended, what it took, and what comes after its calls."""
    schema = None
    if record.schema_valid is not None:
        schema = {"valid": record.schema_valid, "reason": record.schema_reason}
    return {
        "id": record.id,
        "conversation_id": record.conversation_id,
        "user_message_id": record.user_message_id,
        "status": record.status,
        "effort": record.effort,
        "temperature": record.temperature,
        "top_p": record.top_p,
        "seed": record.seed,
        "max_tokens": record.max_tokens,
        "model": record.model,
        "revision": record.revision,
        "continues": record.continues_id,
        "mode": record.mode,
        "primed_tokens": record.primed_tokens,
        "dropped": {"reasoning": record.dropped_reasoning, "turns": record.dropped_turns},
        "context_length": record.context_length,
        "tokens_known": record.tokens_known,
        "answers": record.answers_id,
        "waiting_calls": after.waiting,
        "next_generation_id": after.next_id,
        "next_generation_ids": after.next_ids,
        "schema": schema,
        "finish_reason": record.finish_reason,
        "error": record.error,
        "error_code": record.error_code,
        "usage": asdict(record.usage),
        "timings": {**asdict(record.timings), "reasoning_seconds": record.reasoning_seconds},
        "created_at": moment(record.created_at),
        "finished_at": moment(record.finished_at),
    }


def settings(record: ChatSettings) -> Json:
    """How replies are made, as far as it is set; null is not set."""
    return asdict(record)


def preset(record: PresetRecord) -> Json:
    """Settings under a name."""
    return {"id": record.id, "name": record.name, "settings": settings(record.settings)}


def preferences(record: Preferences) -> Json:
    """What the user set in the page."""
    return {
        "effort": record.effort,
        "show_reasoning": record.show_reasoning,
        "theme": record.theme,
        "settings": settings(record.settings),
    }


def model(health: EngineHealth) -> Json:
    """What answers now, and what was asked for where that is another."""
    same = health.target is None or (health.active is not None and health.target.name == health.active.name)
    return {
        "active": model_status(health.active),
        "target": None if same else model_status(health.target),
        "running": health.running,
        "waiting": health.waiting,
    }


def model_status(status: ModelStatus | None) -> Json | None:
    """One model's progress."""
    return None if status is None else asdict(status)


def moment(value: datetime | None) -> str | None:
    """A time as the API writes it."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")
