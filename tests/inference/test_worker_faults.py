"""Passes that fail, numbers that go wrong, requests that are hard to serve: each gets its end, nobody else is
hurt, and no page is lost.
"""

from __future__ import annotations

import logging
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.types import FinishReason, TokensFinished
from inference.worker.core import FAILURES, DeviceLost
from inference.worker.runner import PlainRunner
from tests.inference.checkpoints import generate, plain_checkpoint, prompt, write_checkpoint
from tests.inference.cores import Run, WatchedRunner, break_down, network_of, open_model, squeeze
from tests.inference.faulty_runner import FaultyRunner

FAULTS = 50


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of traces take longer to format than the passes take."""
    caplog.set_level(logging.CRITICAL, "inference.worker.core")


@cache
def small_checkpoint() -> Path:
    """Two layers, in a folder beside the tiny model's."""
    return write_checkpoint(plain_checkpoint().parent / "small", num_hidden_layers=2)


def faulty_run(depth: int, rate: float, rng: random.Random, full: int = 40) -> tuple[Run, FaultyRunner]:
    model = open_model(small_checkpoint(), pieces=rng.choice([1, 3]), max_prefill_chunk=40, max_running=5)
    squeeze(model, full, sliding=rng.choice([14, 60]))
    assert isinstance(model.runner, PlainRunner)
    runner = FaultyRunner(model.runner, depth, rate, rng)
    model.runner = runner
    return Run(model), runner


def wanted(name: str) -> tuple[tuple[int, ...], dict[str, float | int]]:
    """What a request asks for follows from its name; many prompts begin alike."""
    rng = random.Random(name)
    ids = prompt(rng.randrange(3), 40)[: rng.choice([1, 17, 40])]
    sampling = {
        "temperature": rng.choice([0, 1.0]),
        "seed": rng.randrange(1000),
        "count": rng.randrange(1, 30),
    }
    return (*ids, *prompt(rng.randrange(5), rng.randrange(1, 60))), sampling


def submit(run: Run, name: str, user: str = "") -> None:
    ids, sampling = wanted(name)
    count = int(sampling["count"])
    run.submit(name, ids, count, user, temperature=sampling["temperature"], seed=sampling["seed"])


def unhurt(names: list[str]) -> Run:
    """The same requests without any fault, and with room for all."""
    run = Run(open_model(small_checkpoint(), max_running=32))
    for name in names:
        submit(run, name)
    run.finish()
    return run


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_random_faults_leave_nobody_waiting_and_no_page_behind(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    run, runner = faulty_run(depth, rate=0.35, rng=rng, full=rng.choice([12, 40]))
    names: list[str] = []
    while runner.faults < FAULTS:
        if rng.random() < 0.5 and run.core.running + run.core.waiting < 12:
            names.append(f"{seed} {len(names)}")
            submit(run, names[-1], rng.choice(["ada", "bob", "eve"]))
        if names and rng.random() < 0.15:
            run.core.cancel(rng.choice(names[-5:]))
        run.step()
    runner.rate = 0
    run.finish()
    ends = {event.request_id: event for event in run.events if isinstance(event, TokensFinished)}
    assert len([event for event in run.events if isinstance(event, TokensFinished)]) == len(names)
    assert sorted(ends) == sorted(names)
    assert run.core.running == run.core.waiting == 0
    reasons = {end.finish_reason for end in ends.values()}
    assert {FinishReason.LENGTH, FinishReason.ERROR} <= reasons
    clean = unhurt(names)
    for name, end in ends.items():
        tokens = run.tokens(name)
        assert tokens == clean.tokens(name)[: len(tokens)]
        assert end.usage.completion == len(tokens)
        assert end.finish_reason is not FinishReason.LENGTH or tokens == clean.tokens(name)
        assert (end.error_code in FAILURES) == (end.finish_reason is FinishReason.ERROR)


def test_late_results_change_no_token() -> None:
    run, _ = faulty_run(1, rate=0, rng=random.Random(1), full=14)
    names = [f"late {number}" for number in range(12)]
    for name in names:
        submit(run, name)
        run.step()
    run.finish()
    assert run.preemptions > 0
    clean = unhurt(names)
    for name in names:
        assert run.end(name).finish_reason is FinishReason.LENGTH
        assert run.tokens(name) == clean.tokens(name)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_device_that_is_lost_while_a_pass_runs_is_told(depth: int) -> None:
    run, runner = faulty_run(depth, rate=0, rng=random.Random(1))
    submit(run, "a")
    run.step()
    runner.rate = 1

    def lost() -> None:
        for _ in range(3):
            run.core.step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.inference.faulty_runner.ERRORS", (lambda: RuntimeError("CUDA error: unspecified"),)
        )
        patch.setattr(runner._rng, "choice", lambda values: "collect" if "collect" in values else values[0])
        with pytest.raises(DeviceLost):
            lost()


SHARED = prompt(11, 64)
POISON = 317
BAD = (*SHARED, *(k % 50 for k in range(40)), POISON, *(k % 70 for k in range(60)))


def all_finite(run: Run) -> bool:
    runner = run.model.runner
    assert isinstance(runner, PlainRunner)
    return all(bool(buffer.isfinite().all()) for buffer in (*runner._kv.keys, *runner._kv.values))


@pytest.mark.parametrize("chunk", [16, 50, 512])
def test_numbers_that_go_wrong_in_a_prompt_are_never_found_by_others(chunk: int) -> None:
    model = open_model(plain_checkpoint(), pieces=2, max_prefill_chunk=chunk)
    embedding = network_of(model).embedding
    right = embedding[POISON].clone()
    run = Run(model)
    good = (*SHARED, 5, 6, 7)
    run.submit("good", good, 40)
    for _ in range(6):
        run.step()
    embedding[POISON] = float("nan")
    run.submit("bad", BAD, 10)
    run.submit("beside", prompt(2, 100), 30)
    while not any(isinstance(event, TokensFinished) for event in run.events):
        run.step()
    assert run.end("bad").error_code == "invalid_logits"
    assert run.end("bad").usage.cached == 64
    assert all_finite(run)
    embedding[POISON] = right
    run.submit("retry", BAD, 10)
    run.finish()
    # What was read before the pass that went wrong is right and may be found, nothing else.
    assert run.end("retry").usage.cached <= 104
    assert run.tokens("retry") == generate(plain_checkpoint(), BAD, 10)
    assert run.tokens("good") == generate(plain_checkpoint(), good, 40)
    assert run.tokens("beside") == generate(plain_checkpoint(), prompt(2, 100), 30)


def test_numbers_that_go_wrong_in_a_reply_end_one_request_only() -> None:
    prompts = [(*SHARED[:48], *prompt(n, 10 + n)) for n in range(4)]
    replies = [generate(plain_checkpoint(), ids, 30) for ids in prompts]
    others = {token for n in (0, 2, 3) for token in replies[n]} | {token for ids in prompts for token in ids}
    poison = next(token for token in replies[1][3:] if token not in others)
    model = open_model(plain_checkpoint())
    embedding = network_of(model).embedding
    right = embedding[poison].clone()
    embedding[poison] = float("nan")
    run = Run(model)
    for number, ids in enumerate(prompts):
        run.submit(f"r{number}", ids, 30)
    run.finish()
    assert run.end("r1").error_code == "invalid_logits"
    assert run.tokens("r1") == replies[1][: replies[1].index(poison) + 1]
    assert all_finite(run)
    embedding[poison] = right
    run.submit("again", prompts[1], 30)
    run.finish()
    assert run.tokens("again") == replies[1]
    for number in (0, 2, 3):
        assert run.tokens(f"r{number}") == replies[number]


# --- requests that are hard to serve ---------------------------------------------------------------


def test_a_reply_may_grow_to_the_very_last_token_of_the_pages() -> None:
    run = Run(squeeze(open_model(plain_checkpoint()), full=9))
    run.submit("full", prompt(1, 100), 28)
    run.submit("other", prompt(2, 30), 20)
    run.finish()
    assert run.end("full").finish_reason is FinishReason.LENGTH
    assert run.tokens("full") == generate(plain_checkpoint(), prompt(1, 100), 28)
    assert run.tokens("other") == generate(plain_checkpoint(), prompt(2, 30), 20)


def test_a_reply_without_an_end_stops_where_the_pages_end_and_hurts_nobody() -> None:
    run = Run(squeeze(open_model(plain_checkpoint()), full=9))
    run.submit("endless", prompt(1, 100), 10**12)
    run.submit("other", prompt(2, 30), 20)
    run.finish()
    assert run.end("endless").error_code == "out_of_memory"
    assert run.tokens("endless") == generate(plain_checkpoint(), prompt(1, 100), 29)
    assert run.tokens("other") == generate(plain_checkpoint(), prompt(2, 30), 20)


def test_a_prompt_that_no_page_can_hold_fails_at_once() -> None:
    run = Run(squeeze(open_model(plain_checkpoint()), full=9))
    run.submit("long", prompt(1, 129), 5)
    run.submit("other", prompt(2, 30), 5)
    run.finish()
    assert run.end("long").error_code == "out_of_memory"
    assert run.started() == ["other"]


def test_an_id_that_is_taken_is_not_taken_twice() -> None:
    run = Run(open_model(plain_checkpoint()))
    run.submit("same", prompt(1, 30), 10)
    run.step()
    run.submit("same", prompt(2, 30), 5)
    run.finish()
    assert run.tokens("same") == generate(plain_checkpoint(), prompt(1, 30), 10)
    assert run.end("same").usage.prompt == 30
    run.submit("same", prompt(2, 30), 5)  # free again
    run.finish()
    assert run.tokens("same")[10:] == generate(plain_checkpoint(), prompt(2, 30), 5)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 5e-324}, {"top_p": 5e-324}])
def test_extreme_sampling_is_greedy(sampling: dict[str, Any]) -> None:
    run = Run(open_model(plain_checkpoint()))
    run.submit("a", prompt(3, 20), 10, **{"temperature": 1.0, "seed": 1, **sampling})
    run.finish()
    assert run.tokens("a") == generate(plain_checkpoint(), prompt(3, 20), 10)


def test_many_failures_in_a_row_leave_the_engine_whole() -> None:
    model = squeeze(open_model(small_checkpoint(), max_running=4), full=12)
    mend = break_down(model, torch.OutOfMemoryError())
    run = Run(model)
    for number in range(60):
        run.submit(f"r{number}", prompt(number, 20), 5)
    run.finish()
    assert {run.end(f"r{number}").error_code for number in range(60)} == {"out_of_memory"}
    mend()
    assert isinstance(model.runner, WatchedRunner)
    submit(run, "after")
    run.finish()
    assert run.tokens("after") == unhurt(["after"]).tokens("after")
