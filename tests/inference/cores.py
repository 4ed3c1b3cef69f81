"""An engine core over a tiny model, without a thread: tests take its steps themselves."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.types import (
    Constraint,
    GenerationRequest,
    SamplingParams,
    TokenEvent,
    TokenLogprob,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
)
from inference.worker.capacity import page_bytes
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.device import Machine
from inference.worker.loading import load
from inference.worker.messages import EngineConfig
from inference.worker.network import LoadedModel
from inference.worker.pages import KvPages
from inference.worker.plain import PlainNetwork
from inference.worker.plain_attention import PagedKv
from inference.worker.runner import Chosen, PlainRunner
from inference.worker.sequence import Sequence
from inference.worker.weights import Shape, model_config

CPU = Machine(torch.device("cpu"), native_mxfp4=False)
STEPS = 20_000


def open_model(folder: Path, *, pieces: int | None = None, **options: Any) -> LoadedModel:
    """Load a checkpoint; ``pieces`` of ``None`` leaves the number of pieces a step as it is.

    One thread computes from then on: the tests share their machine.
    """
    torch.set_num_threads(1)
    model = load(inspect(folder), CPU, EngineConfig(**options), lambda _detail: None)
    if pieces is not None:
        model.max_pieces = pieces
    return model


def network_of(model: LoadedModel) -> PlainNetwork:
    assert isinstance(model.runner, PlainRunner)
    return model.runner._network


def squeeze(model: LoadedModel, full: int, sliding: int = 200) -> LoadedModel:
    """The same model with empty pools of so many pages, which may be too few for all of its requests."""
    network = network_of(model)
    model.pages = KvPages(full, sliding, network.shape.window)
    kv = PagedKv(network.shape, full, sliding, network.dtype, torch.device("cpu"))
    model.runner = WatchedRunner(network, kv)
    return model


def budget_for(folder: Path, full: int, sliding: int) -> int:
    """Bytes of so many pages of each pool in float32."""
    shape = Shape.of(model_config(inspect(folder)))
    return full * page_bytes(shape, None, 4) + sliding * page_bytes(shape, shape.window, 4)


class FailingNetwork(PlainNetwork):
    """A network that raises ``failure`` before each pass that reads ``token``: a single one, or any pass."""

    def __init__(self, whole: PlainNetwork, failure: Exception, token: int | None = None) -> None:
        vars(self).update(vars(whole))
        self._failure, self._token = failure, token

    def forward(self, kv: PagedKv, ids: Tensor, *rest: Any) -> Tensor:
        if self._token is None or bool((ids == self._token).any()):
            raise self._failure
        return super().forward(kv, ids, *rest)


def break_down(model: LoadedModel, failure: Exception, token: int | None = None) -> Callable[[], None]:
    """Let every pass that reads ``token`` (or any pass) fail, until the result is called."""
    whole = model.runner
    assert isinstance(whole, PlainRunner)
    model.runner = PlainRunner(FailingNetwork(whole._network, failure, token), whole._kv)

    def mend() -> None:
        model.runner = whole

    return mend


class WatchedRunner(PlainRunner):
    """Keeps the logits of every token by request and place."""

    def __init__(self, network: PlainNetwork, kv: PagedKv) -> None:
        super().__init__(network, kv)
        self.logits: dict[tuple[str, int], Tensor] = {}

    def _choose(self, hidden: Tensor, sequences: Several[Sequence]) -> list[Chosen]:
        head = self._network.head
        for row, sequence in zip(head.full(head(hidden)), sequences, strict=True):
            place = sequence.length - sequence.prompt_length
            self.logits[sequence.request.request_id, place] = row.clone()
        return super()._choose(hidden, sequences)


@dataclass
class Run:
    """A core and all that it told. The ledger of the pages is checked after every step."""

    model: LoadedModel
    events: list[TokenEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = EngineCore(self.model, self.events.append)

    def submit(
        self,
        name: str,
        ids: Several[int],
        count: int = 20,
        user: str = "",
        constraint: Constraint | None = None,
        **sampling: Any,
    ) -> None:
        params = SamplingParams(**{"temperature": 0, "max_tokens": count, **sampling})
        request = GenerationRequest(name, tuple(ids), params, user, constraint=constraint)
        self.core.submit(request, submitted=0.0)

    def step(self) -> None:
        self.core.step()
        self.model.pages.check(self.core.scheduler.sequences())

    def finish(self) -> None:
        steps = 0
        while self.core.busy:
            self.step()
            steps += 1
            assert steps < STEPS
        self.model.pages.check([])

    def tokens(self, name: str) -> tuple[int, ...]:
        return tuple(token for event in self._generated(name) for token in event.token_ids)

    def logprobs(self, name: str) -> list[TokenLogprob]:
        return [score for event in self._generated(name) for score in event.logprobs]

    def _generated(self, name: str) -> list[TokensGenerated]:
        return [e for e in self.events if isinstance(e, TokensGenerated) and e.request_id == name]

    def end(self, name: str) -> TokensFinished:
        (event,) = [e for e in self.events if isinstance(e, TokensFinished) and e.request_id == name]
        return event

    def started(self) -> list[str]:
        return [event.request_id for event in self.events if isinstance(event, TokensStarted)]

    @property
    def preemptions(self) -> int:
        return self.core.metrics.preemptions
