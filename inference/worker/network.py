"""A loaded model: what runs it, and what it can take."""

from __future__ import annotations

from dataclasses import dataclass

from inference.types import ModelStatus
from inference.worker.messages import Limits
from inference.worker.pages import KvPages
from inference.worker.runner import Runner


@dataclass(slots=True)
class LoadedModel:
    """A model that is ready to answer; its weights and pages take ``held_bytes``.

    At most ``max_running`` requests run at once. A step reads at most ``chunk_tokens`` prompt tokens
    (``chunk_beside`` while replies are written), in at most ``max_pieces`` pieces (``None``: as many as there
    are requests). ``rows_beside`` and ``steady`` are the scheduler's.
    """

    status: ModelStatus
    limits: Limits
    runner: Runner
    pages: KvPages
    max_running: int
    chunk_tokens: int
    chunk_beside: int | None = None
    max_pieces: int | None = None
    rows_beside: int | None = None
    steady: bool = False
    held_bytes: int = 0
