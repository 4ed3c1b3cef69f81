"""A stored response of the OpenAI API: its request, what went in and came out, and the model's own ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class ResponseStatus(StrEnum):
    """Where a response stands. ``queued`` and ``in_progress`` are open; the others are final."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """True while the response may still grow."""
        return self in OPEN_RESPONSES


OPEN_RESPONSES = (ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """One response. ``echo`` holds the fields of its object that say what was asked for and was in force.

    ``input_items`` and ``output_items`` are items as the API has them. ``error`` is ``{"code", "message"}``.
    ``written`` are the ids of each output item's message as the model wrote it, or nothing where they are not
    known. ``deltas`` are the lengths in characters of the pieces in which each item's text came.
    """

    id: str
    created_at: datetime
    status: ResponseStatus
    model: str
    background: bool
    echo: Json
    input_items: tuple[Json, ...]
    output_items: tuple[Json, ...] = ()
    previous_response_id: str | None = None
    finished_at: datetime | None = None
    usage: Json | None = None
    error: Json | None = None
    incomplete_reason: str | None = None
    written: tuple[tuple[int, ...], ...] = ()
    deltas: tuple[tuple[int, ...], ...] = ()
