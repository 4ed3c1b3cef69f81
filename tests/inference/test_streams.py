"""Events on their way from the worker to their reader lose nothing."""

from __future__ import annotations

import pickle
import queue
import time
import weakref

import pytest

import inference.worker.main as worker_main
from inference.engine import MAX_LOGPROBS, _check_sampling
from inference.errors import InvalidRequest
from inference.streams import TokenStream
from inference.types import (
    FinishReason,
    ModelStage,
    ModelStatus,
    SamplingParams,
    Timings,
    TokenLogprob,
    TokensFinished,
    TokensGenerated,
    Usage,
)
from inference.worker.loader import MakeRoom
from inference.worker.messages import Board, EngineConfig, Events, Limits, Pulse

SCORED = [
    TokensGenerated("a", (token,), (TokenLogprob(token, -0.5, ((token, -0.5), (9, -2.0))),))
    for token in (5, 6, 7)
]


async def test_log_probabilities_reach_a_reader_who_finds_his_tokens_joined() -> None:
    stream = TokenStream()
    for event in SCORED:
        stream.push(event)
    joined = await anext(stream)
    assert joined == TokensGenerated("a", (5, 6, 7), tuple(e.logprobs[0] for e in SCORED))


def test_every_event_crosses_a_process_border_whole() -> None:
    plain = TokensGenerated("b", (1, 2))
    end = TokensFinished("b", FinishReason.STOP, Usage(3, 0, 2), Timings())
    events = Events((*SCORED, plain, end))
    assert pickle.loads(pickle.dumps(events)) == events  # noqa: S301 - our own bytes


@pytest.mark.parametrize("wanted", [-1, MAX_LOGPROBS + 1, True, 1.0])
def test_a_senseless_number_of_log_probabilities_is_refused(wanted: int) -> None:
    limits = Limits(vocab_size=10, context_length=10)
    _check_sampling(SamplingParams(logprobs=MAX_LOGPROBS), limits)
    with pytest.raises(InvalidRequest, match="logprobs"):
        _check_sampling(SamplingParams(logprobs=wanted), limits)


class _Core:
    """Stands for a model's engine with one reply that does not end by itself."""

    class _Model:
        status = ModelStatus("old", ModelStage.READY)

    def __init__(self) -> None:
        self.model = self._Model()
        self.busy = True

    def give_up(self) -> None:
        self.busy = False


def test_a_model_that_was_given_up_is_gone_before_its_room_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[bool] = []
    worker = worker_main.Worker(
        EngineConfig(), queue.SimpleQueue(), Board(4, lambda _state: None), lambda _event: None, Pulse()
    )
    core = _Core()
    old = weakref.ref(core)
    worker._leaving = [core]  # type: ignore[list-item]
    del core
    monkeypatch.setattr(worker_main, "give_memory_back", lambda **_: alive.append(old() is not None))
    worker._room = MakeRoom("", lambda: alive.append(old() is not None))
    worker._patience = time.monotonic() - 1
    worker._retire()
    assert alive == [False, False]
