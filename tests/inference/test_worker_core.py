"""The step loop over a real (tiny, random) model: replies, isolation, memory, cancelling."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference.types import FinishReason, TokensFinished, TokensStarted
from inference.worker.core import DeviceLost
from tests.inference.checkpoints import change_tensors, generate, plain_checkpoint, prompt, write_checkpoint
from tests.inference.cores import Run, break_down, budget_for, network_of, open_model, squeeze

LENGTHS = (1, 5, 15, 16, 17, 40, 130)


def test_greedy_replies_equal_generate_for_many_lengths_at_once() -> None:
    run = Run(open_model(plain_checkpoint()))
    for length in LENGTHS:
        run.submit(f"r{length}", prompt(length, length), count=30)
    run.finish()
    for length in LENGTHS:
        assert run.tokens(f"r{length}") == generate(plain_checkpoint(), prompt(length, length), 30)
        assert run.end(f"r{length}").finish_reason is FinishReason.LENGTH


def test_a_reply_grows_beyond_every_page_that_it_began_with() -> None:
    run = Run(open_model(plain_checkpoint()))
    run.submit("a", prompt(1, 10), count=150)
    run.finish()
    assert run.tokens("a") == generate(plain_checkpoint(), prompt(1, 10), 150)


def test_a_model_of_the_real_vocabulary_and_shards_runs(tmp_path: Path) -> None:
    folder = write_checkpoint(
        tmp_path,
        shards=True,
        vocab_size=201_088,
        hidden_size=32,
        intermediate_size=32,
        tie_word_embeddings=True,
    )
    run = Run(open_model(folder))
    ids = (200_006, 17_360, 200_008, 3575, 553, 200_007, 200_006, 173_781)
    run.submit("a", ids, count=10)
    run.submit("b", ids, count=10, temperature=1.0, top_p=0.9, seed=4)
    run.finish()
    assert run.tokens("a") == generate(folder, ids, 10)
    assert len(run.tokens("b")) == 10


def test_a_pruned_vocabulary_gives_the_same_logits_and_replies(tmp_path: Path) -> None:
    folder = shutil.copytree(plain_checkpoint(), tmp_path / "pruned")
    rows = load_file(folder / "model.safetensors")["lm_head.weight"].float()
    rows[100:] = 0
    change_tensors(folder, **{"lm_head.weight": rows})
    model = open_model(folder)
    head = network_of(model).head
    assert head.ids is not None
    assert head.ids.tolist() == list(range(100))
    hidden = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(head.full(head(hidden)), hidden @ rows.T)
    run = Run(model)
    run.submit("a", prompt(2, 30), count=30)
    run.finish()
    assert run.tokens("a") == generate(folder, prompt(2, 30), 30)
    assert network_of(open_model(plain_checkpoint())).head.ids is None


def test_a_seed_that_was_drawn_is_told_and_repeats_the_reply() -> None:
    model = open_model(plain_checkpoint())
    first = Run(model)
    first.submit("a", prompt(2, 12), count=30, temperature=1.0)
    first.finish()
    started = first.events[0]
    assert isinstance(started, TokensStarted)
    assert started.seed is not None
    again = Run(model)
    again.submit("a", prompt(2, 12), count=30, temperature=1.0, seed=started.seed)
    again.submit("b", prompt(2, 12), count=30, temperature=1.0, seed=started.seed + 1)
    again.finish()
    assert again.tokens("a") == first.tokens("a")
    assert again.tokens("b") != first.tokens("a")


def test_a_stop_id_ends_the_reply_and_is_its_last_token() -> None:
    expected = generate(plain_checkpoint(), prompt(5, 20), 30)
    stop = expected[7]
    run = Run(open_model(plain_checkpoint()))
    run.submit("a", prompt(5, 20), count=30, stop_token_ids=(stop,))
    run.finish()
    length = expected.index(stop) + 1
    assert run.tokens("a") == expected[:length]
    end = run.end("a")
    assert end.finish_reason is FinishReason.STOP
    assert (end.usage.prompt, end.usage.cached, end.usage.completion) == (20, 0, length)


def test_one_token_is_a_whole_reply_and_times_add_up() -> None:
    run = Run(open_model(plain_checkpoint()))
    run.submit("a", prompt(1, 3), count=1)
    run.submit("b", prompt(1, 3), count=5)
    run.finish()
    one, five = run.end("a"), run.end("b")
    assert one.usage.completion == 1
    assert one.timings.tokens_per_second == 0
    assert 0 < five.timings.queued <= five.timings.ttft <= five.timings.total
    assert five.timings.tokens_per_second > 0


@pytest.mark.parametrize(("when", "steps", "told"), [("waiting", 0, 0), ("reading", 3, 0), ("writing", 9, 5)])
def test_a_cancelled_request_ends_at_once_and_the_others_go_on(when: str, steps: int, told: int) -> None:
    run = Run(open_model(plain_checkpoint(), max_prefill_chunk=16, max_running=2))
    run.submit("other", prompt(4, 10), count=30)
    run.submit("mine", prompt(6, 64), count=30)
    for _ in range(steps):
        run.step()
    assert len(run.tokens("mine")) == told
    assert run.core.cancel("mine")
    assert run.end("mine").finish_reason is FinishReason.CANCELLED
    assert run.core.running == (0 if when == "waiting" else 1)
    assert not run.core.cancel("mine")
    run.model.pages.check(run.core.scheduler.sequences())
    run.finish()
    assert run.tokens("other") == generate(plain_checkpoint(), prompt(4, 10), 30)
    assert run.events[-1] == run.end("other")


def test_all_can_be_cancelled_at_once() -> None:
    run = Run(open_model(plain_checkpoint(), max_running=2))
    for number in range(4):
        run.submit(f"r{number}", prompt(number, 10))
    run.step()
    run.step()
    run.core.cancel_all()
    run.finish()
    assert {run.end(f"r{number}").finish_reason for number in range(4)} == {FinishReason.CANCELLED}


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RuntimeError("boom"), "generation_failed"),
        (torch.OutOfMemoryError("no memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
    ],
)
def test_an_exception_ends_the_request_that_caused_it_and_no_other(failure: Exception, code: str) -> None:
    model = open_model(plain_checkpoint())
    replies = {f"r{n}": generate(plain_checkpoint(), prompt(n, 10 + n), 30) for n in range(4)}
    poison = unique_token(replies, "r2")
    break_down(model, failure, poison)
    run = Run(model)
    for number in range(4):
        run.submit(f"r{number}", prompt(number, 10 + number), count=30)
    run.finish()
    for name, reply in replies.items():
        if name != "r2":
            assert run.tokens(name) == reply
    end = run.end("r2")
    assert end.finish_reason is FinishReason.ERROR
    assert end.error_code == code
    assert end.error is not None
    assert "boom" not in end.error
    assert "no memory" not in end.error
    assert run.tokens("r2") == replies["r2"][: replies["r2"].index(poison) + 1]


def unique_token(replies: dict[str, tuple[int, ...]], name: str) -> int:
    """A token in the middle of this reply that nothing else holds."""
    others = {token for other, reply in replies.items() if other != name for token in reply}
    others |= {token for number in range(4) for token in prompt(number, 10 + number)}
    return next(token for token in replies[name][3:] if token not in others)


@pytest.mark.parametrize("pieces", [1, 4])
def test_an_exception_while_a_prompt_is_read_ends_that_request_alone(pieces: int) -> None:
    model = open_model(plain_checkpoint(), pieces=pieces, max_prefill_chunk=40)
    run = Run(model)
    break_down(model, RuntimeError(), 319)
    run.submit("good", (1, 2, 3), count=3, temperature=1, seed=1)
    run.submit("bad", (*range(30), 319), count=3)
    run.submit("later", (4, 5, 6), count=3)
    run.finish()
    assert run.end("bad").error_code == "generation_failed"
    assert run.tokens("later") == generate(plain_checkpoint(), (4, 5, 6), 3)
    alone = Run(open_model(plain_checkpoint()))
    alone.submit("good", (1, 2, 3), count=3, temperature=1, seed=1)
    alone.finish()
    assert run.tokens("good") == alone.tokens("good")


def test_after_want_of_memory_the_same_request_succeeds() -> None:
    model = open_model(plain_checkpoint())
    run = Run(model)
    mend = break_down(model, torch.OutOfMemoryError())
    run.submit("a", prompt(3, 40))
    run.finish()
    assert run.end("a").error_code == "out_of_memory"
    mend()
    run.submit("b", prompt(3, 40))
    run.finish()
    assert run.tokens("b") == generate(plain_checkpoint(), prompt(3, 40), 20)
    assert run.end("b").usage.cached == 0


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("CUDA error: device-side assert triggered"), torch.AcceleratorError("illegal access")],
)
def test_a_lost_device_is_not_taken_for_one_request_s_fault(failure: Exception) -> None:
    model = open_model(plain_checkpoint())
    break_down(model, failure)
    run = Run(model)
    run.submit("a", (1, 2), count=3)
    with pytest.raises(DeviceLost):
        run.core.step()
    assert not any(isinstance(event, TokensFinished) for event in run.events)


def test_requests_wait_in_order_for_pages_and_for_a_place() -> None:
    run = Run(squeeze(open_model(plain_checkpoint(), pieces=8, max_running=3), full=8))
    for number in range(5):
        run.submit(f"r{number}", prompt(number, 40), count=4 + number)
    run.step()
    assert run.started() == ["r0", "r1"]
    run.finish()
    assert run.started() == [f"r{number}" for number in range(5)]
    places = Run(open_model(plain_checkpoint(), pieces=8, max_running=3))
    for number in range(5):
        places.submit(f"r{number}", prompt(number, 5), count=4)
    places.step()
    assert places.started() == ["r0", "r1", "r2"]
    assert (places.core.running, places.core.waiting) == (3, 2)
    places.core.cancel_all()


def test_users_take_turns() -> None:
    run = Run(open_model(plain_checkpoint(), max_running=8))
    for number in range(6):
        run.submit(f"ada{number}", prompt(number, 5), count=30, user="ada")
    run.submit("bob", prompt(7, 5), count=3, user="bob")
    run.finish()
    assert run.started()[:3] == ["ada0", "bob", "ada1"]


def test_pages_are_given_back_whatever_way_a_request_ends() -> None:
    model = squeeze(open_model(plain_checkpoint(), max_running=8), full=12)
    break_down(model, RuntimeError("boom"), 5)
    run = Run(model)
    for number in range(12):
        run.submit(f"r{number}", prompt(number, 5), count=10)
        run.step()
        run.core.cancel(f"r{number - 3}")
    run.finish()
    run.submit("last", prompt(3, 3), count=1)
    run.finish()
    assert run.end("last").finish_reason is FinishReason.LENGTH
    assert len([event for event in run.events if isinstance(event, TokensFinished)]) == 13
    assert model.pages.full.used == model.pages.sliding.used == 0


def test_one_request_s_context_is_bounded_by_memory() -> None:
    whole = open_model(plain_checkpoint())
    assert whole.limits.context_length == 2048
    budget = budget_for(plain_checkpoint(), full=97, sliding=36)
    small = open_model(plain_checkpoint(), kv_budget_bytes=budget, max_running=1)
    assert 1024 <= small.limits.context_length < 2048
    assert small.status.context_length == small.limits.context_length
    assert small.limits.context_length == small.pages.full.capacity * 16
