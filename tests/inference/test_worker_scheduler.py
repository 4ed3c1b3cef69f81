"""The step loop over a real (tiny, random) model: exactness, isolation, memory, cancelling."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.types import FinishReason, TokensFinished, TokensStarted
from inference.worker.kv import reserved_tokens
from inference.worker.network import LoadedModel
from inference.worker.scheduler import DeviceLost
from tests.inference.checkpoints import change_tensors, generate, plain_checkpoint, prompt, write_checkpoint
from tests.inference.schedulers import Run, open_model

LENGTHS = (1, 5, 15, 16, 17, 40, 130)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 4])
def test_greedy_replies_equal_generate_for_many_lengths_at_once(width: int) -> None:
    run = Run(open_model(plain_checkpoint(), width))
    for length in LENGTHS:
        run.submit(f"r{length}", prompt(length, length), count=40)
    run.finish()
    for length in LENGTHS:
        assert run.tokens(f"r{length}") == generate(plain_checkpoint(), prompt(length, length), 40)
        assert run.end(f"r{length}").finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("chunk", [7, 16, 33, 512])
def test_a_prompt_read_in_pieces_gives_the_same_reply(chunk: int) -> None:
    run = Run(open_model(plain_checkpoint(), max_prefill_chunk=chunk))
    run.submit("a", prompt(3, 100), count=30)
    run.finish()
    assert run.tokens("a") == generate(plain_checkpoint(), prompt(3, 100), 30)


def test_a_reply_grows_beyond_every_buffer_that_it_began_with() -> None:
    run = Run(open_model(plain_checkpoint()))
    run.submit("a", prompt(1, 10), count=600)
    run.finish()
    assert run.tokens("a") == generate(plain_checkpoint(), prompt(1, 10), 600)


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
    rows = open_model(folder).network.lm_head.weight.clone()
    rows[100:] = 0
    change_tensors(folder, **{"lm_head.weight": rows})
    model = open_model(folder)
    assert model.head is not None
    assert model.head.ids.tolist() == list(range(100))
    hidden = torch.randn(3, 64)
    torch.testing.assert_close(model.head(hidden), model.network.lm_head(hidden))
    run = Run(model)
    run.submit("a", prompt(2, 30), count=30)
    run.finish()
    assert run.tokens("a") == generate(folder, prompt(2, 30), 30)
    assert open_model(plain_checkpoint()).head is None


def test_the_same_seed_gives_the_same_tokens_alone_and_among_others() -> None:
    model = open_model(plain_checkpoint())
    ids = prompt(9, 50)
    alone = Run(model)
    alone.submit("mine", ids, count=60, temperature=1.0, top_p=0.9, seed=123)
    alone.finish()
    crowd = Run(model)
    for number in range(3):
        crowd.submit(f"early{number}", prompt(number, 20 + 30 * number), count=25, temperature=1.5)
    crowd.scheduler.turn()
    crowd.submit("mine", ids, count=60, temperature=1.0, top_p=0.9, seed=123)
    crowd.submit("late", prompt(8, 90), count=5)
    crowd.finish()
    assert crowd.tokens("mine") == alone.tokens("mine")
    other = Run(model)
    other.submit("mine", ids, count=60, temperature=1.0, top_p=0.9, seed=124)
    other.finish()
    assert other.tokens("mine") != alone.tokens("mine")


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
    again.finish()
    assert again.tokens("a") == first.tokens("a")


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


@pytest.mark.parametrize("when", ["waiting", "reading", "writing"])
@pytest.mark.parametrize("width", [1, 4])
def test_a_cancelled_request_ends_at_once_and_the_others_go_on(when: str, width: int) -> None:
    run = Run(open_model(plain_checkpoint(), width, max_prefill_chunk=16, max_running=2))
    run.submit("other", prompt(4, 10), count=30)
    run.submit("mine", prompt(6, 64), count=30)
    turns = {"waiting": 0, "reading": 2, "writing": 8}[when]
    for _ in range(turns):
        run.scheduler.turn()
    assert len(run.tokens("mine")) == {"waiting": 0, "reading": 0, "writing": 5}[when]
    assert run.scheduler.cancel("mine")
    assert run.end("mine").finish_reason is FinishReason.CANCELLED
    assert run.scheduler.running == (0 if when == "waiting" else 1)
    assert not run.scheduler.cancel("mine")
    run.finish()
    assert run.tokens("other") == generate(plain_checkpoint(), prompt(4, 10), 30)
    assert run.events[-1] == run.end("other")


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("failure", [RuntimeError("boom"), torch.OutOfMemoryError("no memory")])
def test_an_exception_ends_the_request_that_caused_it_and_no_other(width: int, failure: Exception) -> None:
    model = open_model(plain_checkpoint(), width)
    replies = {f"r{n}": generate(plain_checkpoint(), prompt(n, 10 + n), 30) for n in range(4)}
    poison = unique_token(replies, "r2")
    remove = fail_on_token(model, poison, failure)
    run = Run(model)
    for number in range(4):
        run.submit(f"r{number}", prompt(number, 10 + number), count=30)
    run.finish()
    remove()
    for name, reply in replies.items():
        if name != "r2":
            assert run.tokens(name) == reply
    end = run.end("r2")
    assert end.finish_reason is FinishReason.ERROR
    code = "out_of_memory" if isinstance(failure, torch.OutOfMemoryError) else "generation_failed"
    assert end.error_code == code
    assert end.error is not None
    assert str(failure) not in end.error
    assert run.tokens("r2") == replies["r2"][: replies["r2"].index(poison) + 1]


def unique_token(replies: dict[str, tuple[int, ...]], name: str) -> int:
    """A token in the middle of this reply that no other reply holds."""
    others = {token for other, reply in replies.items() if other != name for token in reply}
    return next(token for token in replies[name][3:] if token not in others)


def fail_on_token(model: LoadedModel, token: int, failure: Exception) -> Callable[[], None]:
    """Every forward pass that writes after this token raises."""

    def hook(_module: Any, _args: Any, options: dict[str, Any]) -> None:
        ids = options["input_ids"]
        if ids.shape[1] == 1 and bool((ids == token).any()):
            raise failure

    handle = model.network.model.register_forward_pre_hook(hook, with_kwargs=True)
    remove: Callable[[], None] = handle.remove
    return remove


def test_an_exception_while_a_prompt_is_read_ends_that_request_alone() -> None:
    model = open_model(plain_checkpoint(), max_prefill_chunk=8)

    def hook(_module: Any, _args: Any, options: dict[str, Any]) -> None:
        if bool((options["input_ids"] == 319).any()):
            raise RuntimeError

    handle = model.network.model.register_forward_pre_hook(hook, with_kwargs=True)
    run = Run(model)
    run.submit("good", (1, 2, 3), count=3)
    run.submit("bad", (*range(30), 319), count=3)
    run.submit("later", (4, 5, 6), count=3)
    run.finish()
    handle.remove()
    assert run.end("bad").error_code == "generation_failed"
    assert run.end("good").finish_reason is FinishReason.LENGTH
    assert run.end("later").finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("width", [1, 4])
def test_numbers_that_go_wrong_end_one_request_only(width: int, tmp_path: Path) -> None:
    replies = {f"r{n}": generate(plain_checkpoint(), prompt(n, 10 + n), 30) for n in range(4)}
    poison = unique_token(replies, "r1")
    folder = shutil.copytree(plain_checkpoint(), tmp_path / "poisoned")
    rows = open_model(folder).network.model.embed_tokens.weight.clone()
    rows[poison] = float("nan")
    change_tensors(folder, **{"model.embed_tokens.weight": rows})
    run = Run(open_model(folder, width))
    for number in range(4):
        run.submit(f"r{number}", prompt(number, 10 + number), count=30)
    run.finish()
    assert run.end("r1").error_code == "invalid_logits"
    for name, reply in replies.items():
        if name != "r1":
            assert run.tokens(name) == reply


def test_a_lost_device_is_not_taken_for_one_request_s_fault() -> None:
    model = open_model(plain_checkpoint())
    handle = model.network.model.register_forward_pre_hook(_raise_device_error)
    run = Run(model)
    run.submit("a", (1, 2), count=3)
    with pytest.raises(DeviceLost):
        run.scheduler.turn()
    handle.remove()


def _raise_device_error(*_: object) -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def test_requests_wait_in_order_for_memory_and_for_a_place() -> None:
    model = open_model(plain_checkpoint(), max_running=3)
    model.kv_budget = model.geometry.bytes_for(1024) * 2
    run = Run(model)
    for number in range(5):
        run.submit(f"r{number}", prompt(number, 5), count=4 + number)
    run.scheduler.turn()
    assert run.started() == ["r0", "r1"]
    run.finish()
    assert run.started() == [f"r{number}" for number in range(5)]
    places = Run(open_model(plain_checkpoint(), max_running=3))
    for number in range(5):
        places.submit(f"r{number}", prompt(number, 5), count=4)
    places.scheduler.turn()
    assert places.started() == ["r0", "r1", "r2"]


def test_memory_is_given_back_whatever_way_a_request_ends() -> None:
    model = open_model(plain_checkpoint(), max_running=8)
    model.kv_budget = model.geometry.bytes_for(1024)
    remove = fail_on_token(model, 5, RuntimeError("boom"))
    run = Run(model)
    for number in range(12):
        run.submit(f"r{number}", prompt(number, 5), count=10)
        run.scheduler.turn()
        run.scheduler.cancel(f"r{number - 3}")
    run.finish()
    remove()
    run.submit("last", prompt(3, 5), count=2)
    run.finish()
    assert run.end("last").finish_reason is FinishReason.LENGTH
    assert len([event for event in run.events if isinstance(event, TokensFinished)]) == 13


def test_one_request_s_context_is_bounded_by_memory() -> None:
    whole = open_model(plain_checkpoint())
    assert whole.limits.context_length == 2048
    small = open_model(plain_checkpoint(), kv_budget_bytes=whole.geometry.bytes_for(1536))
    assert small.limits.context_length == 1536
    assert small.status.context_length == 1536


@pytest.mark.parametrize(
    ("tokens", "size"), [(1, 1024), (1024, 1024), (1025, 1536), (1537, 2048), (2049, 3072), (3073, 4096)]
)
def test_size_classes(tokens: int, size: int) -> None:
    assert reserved_tokens(tokens) == size
