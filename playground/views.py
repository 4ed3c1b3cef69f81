"""How records read as JSON in the page's API; the shapes are those of docs/http-api.md."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from inference.types import EngineHealth, ModelStatus
from storage.records import ConversationRecord, GenerationRecord, MessageRecord, Preferences

Json = dict[str, Any]


def conversation(record: ConversationRecord) -> Json:
    """A conversation without its messages."""
    return {
        "id": record.id,
        "title": record.title,
        "created_at": _time(record.created_at),
        "updated_at": _time(record.updated_at),
        "instructions": record.instructions,
        "running_generation_id": record.running_generation_id,
    }


def message(record: MessageRecord) -> Json:
    """One harmony message."""
    return {
        "id": record.id,
        "parent_id": record.parent_id,
        "generation_id": record.generation_id,
        "role": record.role,
        "channel": record.channel,
        "recipient": record.recipient,
        "name": record.name,
        "content": record.content,
        "complete": record.complete,
        "recovered": record.recovered,
        "token_count": record.token_count,
        "created_at": _time(record.created_at),
    }


def generation(record: GenerationRecord) -> Json:
    """One reply: how it was asked for, how it ended, and what it took."""
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
        "finish_reason": record.finish_reason,
        "error": record.error,
        "error_code": record.error_code,
        "usage": asdict(record.usage),
        "timings": {**asdict(record.timings), "reasoning_seconds": record.reasoning_seconds},
        "created_at": _time(record.created_at),
        "finished_at": _time(record.finished_at),
    }


def preferences(record: Preferences) -> Json:
    """What the user set in the page."""
    return {"effort": record.effort, "show_reasoning": record.show_reasoning, "theme": record.theme}


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


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")
