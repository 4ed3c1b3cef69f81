"""The GPU's runner as a whole, its kernels in Triton's interpreter: steps, slots, tables and scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.types import (
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
from inference.worker.capacity import plan_capacity
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.gpu import GpuRunner
from inference.worker.gpu_network import GpuNetwork, GpuPages, adopt_experts
from inference.worker.messages import Limits
from inference.worker.network import LoadedModel
from inference.worker.pages import KvPages
from inference.worker.weights import read_weights
from tests.inference.checkpoints import NETWORK, prompt, write_mxfp4_checkpoint

CPU = torch.device("cpu")
SLOTS, CHUNK = 2, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models") / "packed"
    return write_mxfp4_checkpoint(where, head_dim=32, num_hidden_layers=2)


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    torch.set_num_threads(1)
    weights = read_weights(inspect(folder), CPU, torch.bfloat16, lambda _detail: None, adopt_experts)
    room = plan_capacity(weights.shape, 10**8, 2, SLOTS, CHUNK)
    pages = GpuPages.empty(weights.shape, room.full, room.sliding, CPU)
    for buffer in (*pages.keys, *pages.values):
        buffer.fill_(float("nan"))  # nobody may read what was not written
    network = GpuNetwork(weights, room.context_length + 1, CHUNK)
    return LoadedModel(
        ModelStatus("packed", ModelStage.READY),
        Limits(weights.shape.vocab, room.context_length),
        GpuRunner(network, pages, SLOTS, room.context_length),
        KvPages(room.full, room.sliding, weights.shape.window),
        SLOTS,
        CHUNK,
    )


def serve(model: LoadedModel, requests: dict[str, tuple[int, ...]], **sampling: int) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    core = EngineCore(model, events.append)
    for name, ids in requests.items():
        params = SamplingParams(**{"temperature": 0.0, "max_tokens": 2, "logprobs": 2, **sampling})
        core.submit(GenerationRequest(name, ids, params), submitted=0.0)
    while core.busy:
        core.step()
    model.pages.check([])
    ends = [event for event in events if isinstance(event, TokensFinished)]
    assert [end.finish_reason for end in ends] == [FinishReason.LENGTH] * len(requests)
    return events


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


def test_more_requests_than_slots_get_the_log_probabilities_of_transformers(
    model: LoadedModel, folder: Path
) -> None:
    requests = {f"r{length}": tuple(prompt(length, length)) for length in (1, 16, 45)}
    events = serve(model, requests)
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


def test_a_second_turn_reads_only_what_is_new_and_goes_on_alike(model: LoadedModel, folder: Path) -> None:
    first = tuple(prompt(7, 40))
    reply = [score.token_id for score in scores(serve(model, {"a": first}), "a")]
    second = (*first, *reply, *prompt(3, 9))
    events = serve(model, {"b": second})
    (end,) = [event for event in events if isinstance(event, TokensFinished)]
    assert end.usage.cached == 32
    told = scores(events, "b")
    logs = expected(folder, second, [score.token_id for score in told])
    for place, score in enumerate(told):
        assert abs(float(logs[place, score.token_id]) - score.logprob) < 0.4


def test_the_same_seed_gives_the_same_reply_in_another_slot(model: LoadedModel) -> None:
    mine, options = tuple(prompt(5, 20)), {"temperature": 1, "seed": 11, "max_tokens": 3}
    alone = [score.token_id for score in scores(serve(model, {"a": mine}, **options), "a")]
    crowd = serve(model, {"x": tuple(prompt(1, 12)), "a": mine}, **options)
    assert [score.token_id for score in scores(crowd, "a")] == alone
