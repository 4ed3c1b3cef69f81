"""The GPU's runner as a whole, its kernels in Triton's interpreter: steps, slots, tables and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.types import (
    Constraint,
    FinishReason,
    GenerationRequest,
    ModelStage,
    ModelStatus,
    SamplingParams,
    TokenEvent,
    TokenLogprob,
    TokensFinished,
    TokensGenerated,
)
from inference.worker import gpu_network
from inference.worker.capacity import plan_capacity
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.gpu import GpuRunner
from inference.worker.gpu_network import GpuNetwork, GpuPages, adopt_experts
from inference.worker.guide import Guide, Mask
from inference.worker.guide_maker import GuideMaker
from inference.worker.messages import Limits
from inference.worker.network import LoadedModel
from inference.worker.pages import KvPages
from inference.worker.sequence import Sequence
from inference.worker.weights import Weights, read_weights
from tests.inference.checkpoints import NETWORK, VOCAB, prompt, write_mxfp4_checkpoint
from tests.inference.constrained import bits_of

CPU = torch.device("cpu")
SLOTS, CHUNK, FEW = 2, 20, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models") / "packed"
    return write_mxfp4_checkpoint(where, head_dim=32, num_hidden_layers=2)


@pytest.fixture(scope="module")
def weights(folder: Path) -> Weights:
    torch.set_num_threads(1)
    return read_weights(inspect(folder), CPU, torch.bfloat16, lambda _detail: None, adopt_experts)


@pytest.fixture(scope="module")
def model(weights: Weights) -> Iterator[LoadedModel]:
    room = plan_capacity(weights.shape, 10**8, 2, SLOTS, CHUNK)
    pages = GpuPages.empty(weights.shape, room.full, room.sliding, CPU)
    for buffer in (*pages.keys, *pages.values):
        buffer.fill_(float("nan"))  # nobody may read what was not written
    network = GpuNetwork(weights, room.context_length + 1, CHUNK)
    with pytest.MonkeyPatch.context() as patch:
        # Pieces of these short prompts take the way of many tokens, too.
        patch.setattr(gpu_network, "MOST_ROWS", FEW)
        yield LoadedModel(
            ModelStatus("packed", ModelStage.READY),
            Limits(weights.shape.vocab, room.context_length),
            GpuRunner(network, pages, SLOTS, room.context_length),
            KvPages(room.full, room.sliding, weights.shape.window),
            SLOTS,
            CHUNK,
        )


def submitted(
    model: LoadedModel, events: list[TokenEvent], requests: dict[str, tuple[int, ...]], **sampling: Any
) -> EngineCore:
    core = EngineCore(model, events.append)
    params = replace(SamplingParams(temperature=0.0, max_tokens=2, logprobs=2), **sampling)
    for name, ids in requests.items():
        core.submit(GenerationRequest(name, ids, params), submitted=0.0)
    return core


def serve(model: LoadedModel, requests: dict[str, tuple[int, ...]], **sampling: Any) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    core = submitted(model, events, requests, **sampling)
    while core.busy:
        core.step()
    model.pages.check([])
    return events


def ends(events: list[TokenEvent]) -> dict[str, TokensFinished]:
    return {event.request_id: event for event in events if isinstance(event, TokensFinished)}


def scores(events: list[TokenEvent], name: str) -> list[TokenLogprob]:
    return [
        score
        for event in events
        if isinstance(event, TokensGenerated) and event.request_id == name
        for score in event.logprobs
    ]


def expected(folder: Path, ids: tuple[int, ...], reply: list[int]) -> torch.Tensor:
    """Log-probabilities [reply, vocab] by transformers in float32."""
    network = NETWORK.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").float()
    with torch.inference_mode():
        logits = network(torch.tensor([[*ids, *reply]])).logits[0, len(ids) - 1 : -1]
    return torch.log_softmax(logits, dim=-1)


def test_more_requests_than_slots_get_the_log_probabilities_of_transformers_and_a_second_turn_goes_on_alike(
    model: LoadedModel, folder: Path
) -> None:
    requests = {f"r{length}": prompt(length, length) for length in (1, 16, 36)}
    events = serve(model, requests)
    assert {name: end.finish_reason for name, end in ends(events).items()} == dict.fromkeys(
        requests, FinishReason.LENGTH
    )
    reply = [score.token_id for score in scores(events, "r36")]
    requests["second"] = (*requests["r36"], *reply, *prompt(3, 4))
    events += serve(model, {"second": requests["second"]})
    assert ends(events)["second"].usage.cached == 32, "only what is new is read"
    apart = []
    for name, ids in requests.items():
        told = scores(events, name)
        logs = expected(folder, ids, [score.token_id for score in told])
        for place, score in enumerate(told):
            apart.append(abs(float(logs[place, score.token_id]) - score.logprob))
            assert score.top[0] == (score.token_id, score.logprob)
            assert len(score.top) == 2
    assert max(apart) < 0.4  # bfloat16 through random layers; a wrong page or position is off by whole units
    assert sum(apart) / len(apart) < 0.1


@pytest.mark.long
def test_the_same_seed_gives_the_same_reply_in_another_slot(model: LoadedModel) -> None:
    mine, options = prompt(5, 4), {"temperature": 1, "seed": 11}
    alone = [score.token_id for score in scores(serve(model, {"a": mine}, **options), "a")]
    crowd = serve(model, {"x": prompt(1, 3), "a": mine}, **options)
    assert [score.token_id for score in scores(crowd, "a")] == alone


FINE = prompt(2, 4)
HELD = prompt(5, 4)


class Held(Guide):
    """Lets the id of its own place come next, every second time, and anything else between."""

    def __init__(self) -> None:
        self.seen = 0

    def mask(self) -> Mask | None:
        return Mask(bits_of([40 + self.seen], VOCAB)) if self.seen % 2 == 0 else None

    def follow(self, tokens: Any) -> None:
        assert len(tokens) - len(HELD) == self.seen + 1, "every id is known before the next is chosen"
        self.seen += 1


def test_a_reply_is_held_to_its_masks_while_another_is_written_at_full_speed(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"max_tokens": 3, "temperature": 1.0, "top_p": 0.9, "seed": 5}
    alone = [score.token_id for score in scores(serve(model, {"free": FINE}, **options), "free")]
    monkeypatch.setattr(GuideMaker, "_make", lambda *_: Held())
    events: list[TokenEvent] = []
    core = submitted(model, events, {"free": FINE}, **options)
    params = SamplingParams(logprobs=1, **options)
    core.submit(GenerationRequest("held", HELD, params, constraint=Constraint(())), submitted=0.0)
    while core._guided:
        core._take_guides()
    while core.busy:
        core.step()
        assert all(sequence.pending <= 1 for sequence in core._sequences.values() if sequence.guide)
    model.pages.check([])
    assert [score.token_id for score in scores(events, "held")][::2] == [40, 42]
    assert all(score.logprob < 0 for score in scores(events, "held")), "of the model's own distribution"
    assert [score.token_id for score in scores(events, "free")] == alone


ODD = 300
"""An id whose embedding is made to be no number."""

LONG = (*prompt(4, 8), ODD, *prompt(6, 12))


@pytest.fixture
def broken(weights: Weights) -> Iterator[Callable[[], None]]:
    """A model that cannot read the odd id, until it is mended."""
    assert ODD not in (*FINE, *LONG[:8], *LONG[9:])
    known = weights.embedding[ODD].clone()

    def mend() -> None:
        with torch.inference_mode():
            weights.embedding[ODD] = known

    with torch.inference_mode():
        weights.embedding[ODD, 3] = float("nan")
    yield mend
    mend()


@pytest.mark.long
def test_a_piece_whose_numbers_go_wrong_is_told_and_its_pages_are_not_found(
    model: LoadedModel, folder: Path, broken: Callable[[], None]
) -> None:
    events = serve(model, {"fine": FINE, "odd": LONG}, max_tokens=1)
    assert ends(events)["fine"].finish_reason is FinishReason.LENGTH
    assert ends(events)["odd"].error_code == "invalid_logits"
    broken()
    events = serve(model, {"again": LONG}, max_tokens=1)
    assert ends(events)["again"].usage.cached == 0
    (score,) = scores(events, "again")
    logs = expected(folder, LONG, [score.token_id])
    assert abs(float(logs[0, score.token_id]) - score.logprob) < 0.4


@pytest.mark.long
@pytest.mark.usefixtures("broken")
def test_a_piece_in_the_middle_of_a_prompt_tells_only_that_it_went_wrong(model: LoadedModel) -> None:
    for long, wrong in (((ODD, *prompt(6, 20)), True), (prompt(8, 21), False)):
        core = submitted(model, [], {"fine": FINE, "long": long})
        short, piece = core.scheduler.plan().prefill
        assert short.last
        assert not piece.last
        told = model.runner.prefill([piece, short]).collect()
        assert [(one.sequence, one.token is None) for one in told] == [
            (short.sequence, False),
            *[(piece.sequence, True)] * wrong,
        ]
        core.cancel_all()
        model.pages.check([])


def test_a_table_that_could_not_be_written_is_written_when_the_launch_is_repeated(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = model.runner
    assert isinstance(runner, GpuRunner)
    one = Sequence.of(GenerationRequest("one", (1, 2), SamplingParams()), 0.0, 1)
    one.slot, one.full_pages, one.sliding_pages = 1, [7], [8]
    send = GpuRunner._send

    def fail(*_: object) -> torch.Tensor:
        monkeypatch.setattr(GpuRunner, "_send", send)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(GpuRunner, "_send", fail)
    with pytest.raises(torch.OutOfMemoryError):
        runner._sync([one])
    runner._sync([one])
    assert (int(runner._slots.full[1, 0]), int(runner._slots.sliding[1, 0])) == (7, 8)
