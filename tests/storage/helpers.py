"""What most storage tests need: a turn, a draft, an end."""

from __future__ import annotations

import hashlib
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
