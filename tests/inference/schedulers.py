"""A scheduler over a tiny model, without a thread: tests take its turns themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from inference.types import (
    GenerationRequest,
    SamplingParams,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
)
from inference.worker.checkpoint import inspect
from inference.worker.device import Machine
from inference.worker.loading import load
from inference.worker.messages import EngineConfig
from inference.worker.network import LoadedModel
from inference.worker.scheduler import Scheduler

CPU = Machine(torch.device("cpu"), native_mxfp4=False)


def open_model(folder: Path, width: int = 1, **options: Any) -> LoadedModel:
    model = load(inspect(folder), CPU, EngineConfig(**options), lambda _detail: None)
    model.decode_width = width
    return model


@dataclass
class Run:
    """A scheduler and all that it told."""

    model: LoadedModel
    events: list[TokenEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.model, self.events.append)

    def submit(self, name: str, ids: Sequence[int], count: int = 20, **sampling: Any) -> None:
        params = SamplingParams(**{"temperature": 0, "max_tokens": count, **sampling})
        self.scheduler.submit(GenerationRequest(name, tuple(ids), params), submitted=0.0)

    def finish(self) -> None:
        turns = 0
        while self.scheduler.busy:
            self.scheduler.turn()
            turns += 1
            assert turns < 5000

    def tokens(self, name: str) -> tuple[int, ...]:
        mine = [e for e in self.events if isinstance(e, TokensGenerated) and e.request_id == name]
        return tuple(token for event in mine for token in event.token_ids)

    def end(self, name: str) -> TokensFinished:
        (event,) = [e for e in self.events if isinstance(e, TokensFinished) and e.request_id == name]
        return event

    def started(self) -> list[str]:
        return [event.request_id for event in self.events if isinstance(event, TokensStarted)]
