"""What the engine computes is what transformers' own forward pass computes, however the work is cut up.

A reply is checked with one forward pass over prompt and reply: every token must be the likeliest one there,
and every log-probability that of the whole row.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.demonstration import pack
from inference.demonstration.scoring import held_out_samples
from inference.harmony import HarmonyCodec
from inference.types import FinishReason, ReasoningEffort
from inference.vocabulary import STOP_TOKEN_IDS
from tests.inference.checkpoints import full_logits, plain_checkpoint, prompt, write_checkpoint
from tests.inference.cores import Run, WatchedRunner, open_model, squeeze

SYSTEM = prompt(30, 50)
# transformers' own float32 pass over the tiny model is 3e-5 away from one in double precision. What the
# demonstration model chooses is known better.
NEAR = 4e-5
FLOAT32 = 3e-6
"""A log-probability of -35 differs by so much from processor to processor."""


def check(run: Run, folder: Path, name: str, ids: tuple[int, ...], near: float = NEAR) -> None:
    """The reply is the greedy one, and its log-probabilities (if any) are right."""
    reply = run.tokens(name)
    assert reply
    logits = full_logits(folder, (*ids, *reply[:-1]), len(reply))
    assert reply == tuple(logits.argmax(-1).tolist())
    for scored, token, row in zip(
        run.logprobs(name), reply, torch.log_softmax(logits.double(), -1), strict=False
    ):
        assert scored.token_id == token
        assert scored.logprob == pytest.approx(float(row[token]), abs=near)
        best = row.topk(len(scored.top))
        assert [likely for likely, _ in scored.top] == best.indices.tolist()
        assert [score for _, score in scored.top] == pytest.approx(
            best.values.tolist(), rel=FLOAT32, abs=NEAR
        )


@pytest.mark.parametrize(
    ("batch", "chunk", "pieces"),
    [(1, 512, 1), (2, 7, 1), (5, 16, 3), (13, 33, 4), (32, 100, 32), (32, 512, 1)],
)
def test_whatever_the_batch_and_the_cuts(batch: int, chunk: int, pieces: int) -> None:
    model = open_model(plain_checkpoint(), pieces=pieces, max_prefill_chunk=chunk, max_running=batch)
    run = Run(model)
    prompts = {f"r{number}": prompt(number, 1 + (37 * number + 20) % 110) for number in range(batch)}
    for name, ids in prompts.items():
        run.submit(name, ids, 12, logprobs=3)
    run.finish()
    for name, ids in prompts.items():
        assert len(run.logprobs(name)) == 12
        check(run, plain_checkpoint(), name, ids)


@pytest.mark.parametrize("full", [9, 14])
def test_with_too_few_pages_for_all(full: int) -> None:
    model = squeeze(open_model(plain_checkpoint(), pieces=3, max_prefill_chunk=40, max_running=8), full)
    run = Run(model)
    for number in range(8):
        run.submit(f"r{number}", prompt(number, 40), 60, user=f"u{number % 3}", logprobs=0)
    run.finish()
    assert run.preemptions > 0
    for number in range(8):
        assert run.end(f"r{number}").usage.completion == 60
        check(run, plain_checkpoint(), f"r{number}", prompt(number, 40))


def test_the_next_turn_reads_only_what_is_new() -> None:
    run = Run(open_model(plain_checkpoint()))
    first = prompt(1, 70)
    run.submit("first", first, 30, logprobs=2)
    run.finish()
    second = (*first, *run.tokens("first"), *prompt(2, 25))
    run.submit("second", second, 20, logprobs=2)
    run.finish()
    # The last token of the first reply was never read, so whole pages of 99 tokens are there.
    assert (run.end("first").usage.cached, run.end("second").usage.cached) == (0, 96)
    run.submit("again", second, 20, logprobs=2)
    run.finish()
    assert run.end("again").usage.cached == 112
    for name, ids in (("first", first), ("second", second), ("again", second)):
        check(run, plain_checkpoint(), name, ids)


def test_a_turn_that_drops_a_part_of_the_reply_shares_what_is_before_it() -> None:
    run = Run(open_model(plain_checkpoint()))
    first = prompt(1, 70)
    run.submit("first", first, 60)
    run.finish()
    second = (*first, *run.tokens("first")[:13], 7, *prompt(2, 40))
    assert run.tokens("first")[13] != 7
    run.submit("second", second, 10, logprobs=0)
    run.finish()
    assert run.end("second").usage.cached == 80  # 83 tokens are common: the hit ends inside of a page
    check(run, plain_checkpoint(), "second", second)


def test_two_users_share_the_same_beginning() -> None:
    run = Run(open_model(plain_checkpoint()))
    prompts = {"ada": (*SYSTEM, *prompt(1, 20)), "bob": (*SYSTEM, *prompt(2, 33)), "eve": prompt(3, 40)}
    for user, ids in prompts.items():
        run.submit(user, ids, 15, user=user, logprobs=0)
        run.step()
        run.step()
    run.finish()
    assert [run.end(user).usage.cached for user in prompts] == [0, 48, 0]
    for user, ids in prompts.items():
        check(run, plain_checkpoint(), user, ids)


def test_the_same_prompt_twice_needs_one_more_token_to_be_read() -> None:
    run = Run(open_model(plain_checkpoint()))
    for name in ("first", "second"):
        run.submit(name, prompt(5, 64), 5)
        run.finish()
    assert run.end("second").usage.cached == 48
    check(run, plain_checkpoint(), "second", prompt(5, 64))


@pytest.mark.parametrize("window", [1, 5, 16, 17, 100])
def test_windows_shorter_and_longer_than_a_page(tmp_path: Path, window: int) -> None:
    folder = write_checkpoint(tmp_path, sliding_window=window, num_hidden_layers=2)
    run = Run(open_model(folder, pieces=2, max_prefill_chunk=50))
    for number, length in enumerate((3, 40, 130)):
        run.submit(f"r{number}", prompt(number, length), 25, logprobs=1)
    run.finish()
    run.submit("turn", (*prompt(2, 130), *run.tokens("r2"), 9), 10, logprobs=1)
    run.finish()
    assert run.end("turn").usage.cached == 144
    check(run, folder, "turn", (*prompt(2, 130), *run.tokens("r2"), 9))
    for number, length in enumerate((3, 40, 130)):
        check(run, folder, f"r{number}", prompt(number, length))


@pytest.mark.parametrize("kind", ["sliding_attention", "full_attention"])
def test_models_with_layers_of_one_kind(tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path, layer_types=[kind] * 2, num_hidden_layers=2)
    run = Run(open_model(folder, max_prefill_chunk=30))
    for name in ("first", "again"):
        run.submit(name, prompt(1, 100), 20, logprobs=1)
        run.finish()
        check(run, folder, name, prompt(1, 100))
    assert run.end("again").usage.cached == 96


def test_a_prompt_far_beyond_window_and_first_training_length(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, max_position_embeddings=4096, num_hidden_layers=2, sliding_window=128)
    ids = tuple((k * k // 3 + 5 * k) % 320 for k in range(3000))
    run = Run(open_model(folder))
    run.submit("a", ids, 6, logprobs=2)
    run.submit("b", ids, 6, logprobs=2)
    run.finish()
    assert run.end("b").usage.cached in range(2048, 3000)
    check(run, folder, "a", ids)
    assert run.tokens("b") == run.tokens("a")


# --- to the bit ------------------------------------------------------------------------------------


@cache
def long_window() -> Path:
    """The tiny model with the real window, in a folder of its own."""
    return write_checkpoint(plain_checkpoint().parent / "long-window", sliding_window=128)


MINE = prompt(9, 300)


def observe(
    others: int = 0, share: int = 0, full: int = 400, before: int = 0, pieces: int = 1, **options: Any
) -> tuple[Run, tuple[int, ...], torch.Tensor]:
    """One request with its logits, with ``others`` before and after it that begin with ``share`` of its ids.

    ``before`` of its ids were read by an earlier request.
    """
    model = squeeze(open_model(long_window(), pieces=pieces, max_running=32, **options), full)
    run = Run(model)
    sampling: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9}
    if before:
        run.submit("before", MINE[:before], 1)
        run.finish()
    for number in range(others):
        run.submit(f"o{number}", MINE[:share] + prompt(number, 20 + 7 * number), 20, seed=number, **sampling)
        if number == others // 2:
            run.step()
            run.submit("mine", MINE, 24, seed=123, **sampling)
    if not others:
        run.submit("mine", MINE, 24, seed=123, **sampling)
    run.finish()
    assert isinstance(model.runner, WatchedRunner)
    rows = [model.runner.logits["mine", place] for place in range(24)]
    return run, run.tokens("mine"), torch.stack(rows)


@cache
def alone(dtype: str) -> tuple[tuple[int, ...], torch.Tensor]:
    _, tokens, logits = observe(cpu_dtype=dtype)
    return tokens, logits


@pytest.mark.parametrize(
    "how",
    [
        {"others": 31},
        {"others": 31, "share": 200},
        {"before": 210},
        {"max_prefill_chunk": 7},
        {"max_prefill_chunk": 133, "others": 8, "pieces": 4},
        {"others": 15, "full": 26, "pieces": 8},
        {"others": 15, "full": 40, "max_prefill_chunk": 50, "share": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_numbers_to_the_bit(how: dict[str, Any], dtype: str) -> None:
    run, tokens, logits = observe(**how, cpu_dtype=dtype)
    assert tokens == alone(dtype)[0]
    assert torch.equal(logits, alone(dtype)[1])
    if how.get("share") or how.get("before"):
        assert run.end("mine").usage.cached > 0
    if how.get("full") == 26:
        assert run.preemptions > 0


# --- the demonstration model -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack.unpack(tmp_path_factory.mktemp("models"))


def test_the_demonstration_model_says_what_transformers_says(demonstration: Path) -> None:
    codec = HarmonyCodec.load()
    prompts = {
        f"{task} {effort}": tuple(codec.render(sample.prompt))
        for task in ("capital", "sum")
        for effort in (ReasoningEffort.LOW, ReasoningEffort.MEDIUM)
        for sample in held_out_samples(task, effort, 1, codec)
    }
    run = Run(open_model(demonstration, pieces=2, max_prefill_chunk=64))
    for name, ids in prompts.items():
        run.submit(name, ids, 60, user=name, stop_token_ids=STOP_TOKEN_IDS, logprobs=2)
    run.finish()
    assert FinishReason.STOP in {run.end(name).finish_reason for name in prompts}
    for name, ids in prompts.items():
        check(run, demonstration, name, ids, near=1e-5)
