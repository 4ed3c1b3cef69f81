"""What most storage tests need: a turn, a draft, an end."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
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
from storage.records import GenerationRecord, GenerationStatus, MessageDraft, TurnRecord, new_id
from storage.response_records import ResponseRecord, ResponseStatus
from storage.store import Store

SAMPLING = SamplingParams(temperature=0.5, top_p=0.9, max_tokens=77, seed=3)


def identity(name: str) -> str:
    """The hash of a made-up cookie."""
    return hashlib.sha256(name.encode()).hexdigest()


def begin(store: Store, owner_id: str, text: str = "What is 12 + 30?", **changes: Any) -> TurnRecord:
    """Begin a turn with ordinary arguments; ``changes`` replace some."""
    arguments: dict[str, Any] = {
        "conversation_id": None,
        "text": text,
        "title": text[:40],
        "effort": ReasoningEffort.HIGH,
        "sampling": SAMPLING,
        "model": "demo",
        "prompt_ids": (200006, 17360, 200008),
    }
    return store.begin_turn(owner_id, **(arguments | changes))


def draft(index: int, content: str, channel: Channel = Channel.ANALYSIS, **changes: Any) -> MessageDraft:
    """An assistant message of a running reply."""
    arguments: dict[str, Any] = {"id": new_id(), "complete": False, "token_count": len(content.split())}
    return MessageDraft(
        index=index, message=Message(Role.ASSISTANT, content, channel), **(arguments | changes)
    )


def finish(store: Store, owner_id: str, generation_id: str, **changes: Any) -> GenerationRecord:
    """End a generation in the ordinary way; ``changes`` replace some arguments."""
    arguments: dict[str, Any] = {
        "status": GenerationStatus.FINISHED,
        "finish_reason": FinishReason.STOP,
        "usage": Usage(prompt=3, cached=1, completion=9, reasoning=5, final=2),
        "timings": Timings(queued=0.25, ttft=0.5, total=2.0, tokens_per_second=12.5),
        "reasoning_seconds": 1.5,
    }
    return store.finish_generation(owner_id, generation_id, **(arguments | changes))


def response(response_id: str, text: str = "The answer is 42.", **changes: Any) -> ResponseRecord:
    """A response that has ended in the ordinary way; ``changes`` replace some fields."""
    thought = {"type": "reasoning", "id": f"rs_{response_id}", "content": [{"text": "12 + 30 = 42."}]}
    answer = {"type": "message", "id": f"msg_{response_id}", "content": [{"text": text}]}
    fields: dict[str, Any] = {
        "id": response_id,
        "created_at": datetime(2026, 3, 4, 12, 0, tzinfo=UTC),
        "status": ResponseStatus.COMPLETED,
        "model": "demo",
        "background": False,
        "echo": {"metadata": {"topic": "sums"}},
        "input_items": ({"role": "user", "content": "What is 12 + 30?"},),
        "output_items": (thought, answer),
        "finished_at": datetime(2026, 3, 4, 12, 1, tzinfo=UTC),
        "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
        "written": ((200005, 1, 200007), (200005, 2, 3, 200007)),
        "deltas": ((5, 8), (17,)),
    }
    return ResponseRecord(**(fields | changes))
