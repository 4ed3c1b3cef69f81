"""How many pages a budget gives: never more than it holds, and always enough for one request."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from inference.errors import ModelLoadError
from inference.worker.capacity import LEAST_CONTEXT, Capacity, page_bytes, plan_capacity
from inference.worker.pages import PAGE, KvPages
from inference.worker.plain_attention import PagedKv
from inference.worker.weights import Shape
from tests.inference.checkpoints import generate, plain_checkpoint, prompt
from tests.inference.cores import Run, open_model, squeeze


def shape_of(windows: tuple[int | None, ...], max_positions: int = 131_072) -> Shape:
    return Shape(320, 64, 64, 8, 2, 16, 4, 2, windows, 1e-5, 7.0, 1.702, max_positions)


TWENTY = Shape(201_088, 2880, 2880, 64, 8, 64, 32, 4, (128, None) * 12, 1e-5, 7.0, 1.702, 131_072)


def cost(shape: Shape, room: Capacity, itemsize: int) -> int:
    return room.full * page_bytes(shape, None, itemsize) + room.sliding * page_bytes(
        shape, shape.window, itemsize
    )


def test_a_page_takes_what_its_tensors_take() -> None:
    shape = shape_of((16, None, 16))
    kv = PagedKv(shape, 7, 5, torch.bfloat16, torch.device("cpu"))
    taken = sum(buffer.nbytes for buffer in (*kv.keys, *kv.values))
    assert taken == cost(shape, Capacity(7, 5, 0), 2)


@settings(max_examples=300, deadline=None)
@given(
    windows=st.sampled_from([(128, None), (16, None, 16, None), (None,), (128,), (5, None, None)]),
    budget=st.integers(0, 2_000_000_000),
    max_running=st.integers(1, 64),
    chunk=st.sampled_from([1, 7, 512, 2048]),
    longest=st.sampled_from([500, 2048, 131_072]),
)
def test_the_budget_is_kept_and_one_request_always_fits(
    windows: tuple[int | None, ...], budget: int, max_running: int, chunk: int, longest: int
) -> None:
    shape = shape_of(windows, longest)
    try:
        room = plan_capacity(shape, budget, 4, max_running, chunk)
    except ModelLoadError:
        assert budget < cost(shape, Capacity(LEAST_CONTEXT // PAGE + 1, chunk // PAGE + 14, 0), 4)
        return
    assert cost(shape, room, 4) <= budget
    assert min(longest, LEAST_CONTEXT) <= room.context_length <= longest
    pages = KvPages(room.full, room.sliding, shape.window)
    assert pages.fits(room.context_length)
    if shape.window is not None:
        # One piece and the window before it, wherever in a page they begin.
        assert room.sliding - 1 >= -(-(chunk + shape.window) // PAGE) + 1


def test_a_large_budget_is_not_used_up() -> None:
    room = plan_capacity(TWENTY, 100_000_000_000, 2, 32, 2048)
    assert room.context_length == 131_072
    assert room.full == 32 * 8192 // PAGE + 1
    assert cost(TWENTY, room, 2) < 9_000_000_000
    assert plan_capacity(TWENTY, 100_000_000_000, 2, 1, 2048).full == 131_072 // PAGE + 1


def test_a_small_budget_shortens_the_context() -> None:
    room = plan_capacity(TWENTY, 1_000_000_000, 2, 32, 512)
    assert LEAST_CONTEXT <= room.context_length < 131_072
    assert room.context_length == (room.full - 1) * PAGE


@pytest.mark.parametrize("windows", [(128, None), (None,), (128,)])
def test_too_small_a_budget_is_told_with_its_figures(windows: tuple[int | None, ...]) -> None:
    with pytest.raises(ModelLoadError, match=r"for a conversation \([1-9]\d* MB are needed, 1 MB are free"):
        plan_capacity(shape_of(windows * 6), 1_000_000, 4, 8, 2048)


@pytest.mark.parametrize("chunk", [16, 50, 300])
def test_the_least_pages_carry_a_long_request_with_a_crowd_behind_it(chunk: int) -> None:
    shape = shape_of((16, None), 2048)
    least = next(
        plan.sliding
        for budget in range(0, 10**8, 10_000)
        if (plan := _plan_or_none(shape, budget, chunk)) is not None
    )
    model = squeeze(open_model(plain_checkpoint(), max_prefill_chunk=chunk, max_running=4), 30, least)
    run = Run(model)
    run.submit("long", prompt(1, 400), 20)
    for number in range(6):
        run.submit(f"r{number}", prompt(number, 60), 10)
    run.finish()
    assert run.tokens("long") == generate(plain_checkpoint(), prompt(1, 400), 20)
    for number in range(6):
        assert run.tokens(f"r{number}") == generate(plain_checkpoint(), prompt(number, 60), 10)


def _plan_or_none(shape: Shape, budget: int, chunk: int) -> Capacity | None:
    try:
        return plan_capacity(shape, budget, 4, 4, chunk)
    except ModelLoadError:
        return None
