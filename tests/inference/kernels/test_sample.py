"""The sampler draws what it should: the argmax, the softmax or the nucleus, and the same wherever the row
stands.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.sample import sample, sample_workspace
from tests.inference.constrained import bits_of

DRAWS = 64


def draw(
    logits: Tensor,
    temperature: float | list[float] = 1.0,
    top_p: float = 1.0,
    seed: int | list[int] = 5,
    position: int | list[int] = 3,
    slots: list[int] | None = None,
    allowed: dict[int, list[int]] | None = None,
) -> tuple[list[int], Tensor, Tensor]:
    """The ids of the rows; then ``last_id`` and ``position`` by slot. There is one slot more than rows: the
    dummy. ``allowed`` has the ids that the masks of some slots leave.
    """
    rows, vocabulary = logits.shape
    slots = slots or list(range(rows))

    def by_slot(value: float | list[float] | list[int], dtype: torch.dtype) -> Tensor:
        values = torch.zeros(rows + 1, dtype=dtype)
        values[slots] = torch.tensor(value if isinstance(value, list) else [value] * rows, dtype=dtype)
        return values

    last_id, where = torch.full((rows + 1,), -7, dtype=torch.int32), by_slot(position, torch.int32)
    out = torch.full((rows,), -9, dtype=torch.int32)
    workspace = sample_workspace(rows, vocabulary, "cpu")
    bits = has_mask = None
    if allowed is not None:
        bits = torch.zeros((rows + 1, -(-vocabulary // 32)), dtype=torch.int32)
        has_mask = torch.zeros(rows + 1, dtype=torch.int32)
        for slot, ids in allowed.items():
            bits[slot], has_mask[slot] = bits_of(ids, vocabulary), 1
    sample(
        logits,
        torch.tensor(slots, dtype=torch.int32),
        by_slot(temperature, torch.float32),
        by_slot(top_p, torch.float32),
        by_slot(seed, torch.int64),
        *(where, last_id, out),
        workspace,
        masks=bits,
        has_mask=has_mask,
    )
    assert not workspace.arrivals.any()
    return out.tolist(), last_id, where


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def chi_square(ids: list[int], probabilities: Tensor) -> float:
    """Pearson's statistic of the draws, without entries that cannot come."""
    expected = probabilities.double() * len(ids)
    counts = torch.bincount(torch.tensor(ids), minlength=len(expected)).double()
    assert not counts[expected == 0].any()
    possible = expected > 0
    return float(((counts - expected)[possible] ** 2 / expected[possible]).sum())


def test_temperature_zero_takes_the_first_of_the_heaviest() -> None:
    logits = normal(3, 5000)
    logits[0, [4100, 700, 4999]] = 50.0
    logits[1, [2047, 2048]] = 50.0
    logits[2, 4999] = 50.0
    assert draw(logits.bfloat16(), 0.0)[0] == [700, 2047, 4999]


@pytest.mark.parametrize(("temperature", "by_seed"), [(1.0, True), (0.5, False)])
def test_draws_follow_the_softmax(temperature: float, *, by_seed: bool) -> None:
    logits = torch.tensor([0.0, 1.0, 0.5, -1.0, 0.0, 1.5])
    rows = logits.repeat(DRAWS, 1)
    many = list(range(DRAWS))
    ids = draw(rows, temperature, seed=many if by_seed else 11, position=3 if by_seed else many)[0]
    assert (
        chi_square(ids, (logits / temperature).softmax(-1)) < 20.5
    )  # 5 degrees of freedom: one in a thousand


def test_draws_follow_the_nucleus() -> None:
    logits = torch.tensor([0.0, 1.0, 0.5, -1.0, 0.0, 1.5, -0.5])
    ids = draw(logits.repeat(DRAWS, 1), top_p=0.7, seed=list(range(DRAWS)))[0]
    probabilities = logits.softmax(-1)
    nucleus = torch.zeros(7, dtype=torch.bool)
    nucleus[[5, 1, 2]] = True  # 0.39 + 0.12 < 0.7 <= 0.39 + 0.12 + 0.14
    assert set(ids) == {5, 1, 2}
    assert chi_square(ids, torch.where(nucleus, probabilities, 0.0) / probabilities[nucleus].sum()) < 13.8


@pytest.mark.parametrize("top_p", [0.0, 0.05, 0.5, 0.9, 0.99])
def test_every_draw_is_a_member_of_the_nucleus(top_p: float) -> None:
    logits = normal(1, 2100).bfloat16()
    ids = draw(logits.repeat(6, 1), 1.3, top_p, seed=list(range(6)))[0]
    weights = (logits[0].double() / 1.3).softmax(-1)
    for index in set(ids):
        heavier = weights[logits[0] > logits[0, index]].sum()
        assert heavier < top_p + 1e-6 or heavier == 0


def test_the_same_seed_and_position_give_the_same_token_anywhere() -> None:
    logits = normal(1, 2100)
    alone = draw(logits, seed=2**40 + 3, position=9)[0]
    crowd = torch.cat((normal(3, 2100, seed=2), logits, normal(1, 2100, seed=3)))
    ids, _, _ = draw(crowd, seed=[1, 2, 3, 2**40 + 3, 5], position=[7, 7, 7, 9, 7], slots=[4, 0, 1, 2, 3])
    assert ids[3] == alone[0]


def test_other_seeds_and_positions_give_other_tokens() -> None:
    flat = torch.zeros(12, 900)
    assert len(set(draw(flat, seed=list(range(12)), position=1)[0])) > 9
    assert len(set(draw(flat, seed=1, position=list(range(12)))[0])) > 9
    high = [index << 32 for index in range(12)]
    assert len(set(draw(flat, seed=high, position=1)[0])) > 9


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.5)])
def test_a_logit_that_is_no_number_is_told(bad: float, temperature: float, top_p: float) -> None:
    logits = normal(2, 2100)
    logits[1, 2099] = bad
    ids, last, _ = draw(logits, temperature, top_p)
    assert 0 <= ids[0] < 2100
    assert ids[1] == -1
    assert last.tolist() == [ids[0], 0, -7]


def test_steps_on_but_for_the_dummy() -> None:
    ids, last, position = draw(normal(3, 100), 0.0, position=[5, 8, 0], slots=[2, 0, 3])
    assert position.tolist() == [9, 0, 6, 0]
    assert last.tolist() == [ids[1], -7, ids[0], -7]
    assert ids[2] >= 0


SOME = [0, 31, 32, 700, 2047, 2048, 2099]


def test_a_masked_row_takes_the_heaviest_of_what_is_left_and_the_others_are_free() -> None:
    logits = normal(4, 2100)
    logits[:, 5] = 80.0
    logits[1, [31, 2047]] = 50.0
    ids = draw(logits, 0.0, allowed={1: SOME, 2: [2099], 4: [7]})[0]
    assert ids == [5, 31, 2099, 5]


def test_a_mask_that_leaves_all_changes_nothing() -> None:
    logits = normal(5, 2100)
    for top_p in (1.0, 0.7):
        free = draw(logits, top_p=top_p)[0]
        assert draw(logits, top_p=top_p, allowed={1: list(range(2100)), 3: list(range(2100))})[0] == free


def test_a_draw_that_the_mask_leaves_is_the_same_with_it() -> None:
    logits = normal(1, 2100)
    free = draw(logits.repeat(8, 1), seed=list(range(8)))[0]
    assert (
        draw(logits.repeat(8, 1), seed=list(range(8)), allowed={s: sorted({*free, 9}) for s in range(8)})[0]
        == free
    )


@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_masked_draws_follow_what_is_left(top_p: float) -> None:
    left = torch.tensor([1.0, 0.5, 0.0, -1.0])
    logits = torch.full((1, 70), 3.0)
    logits[0, [1, 31, 33, 69]] = left
    ids = draw(
        logits.repeat(DRAWS, 1),
        top_p=top_p,
        seed=list(range(DRAWS)),
        allowed={slot: [1, 31, 33, 69] for slot in range(DRAWS)},
    )[0]
    places = [[1, 31, 33, 69].index(token) for token in ids]
    expected = left.softmax(-1)
    if top_p < 1:  # 0.46 < 0.6 <= 0.46 + 0.28
        expected = torch.where(torch.tensor([True, True, False, False]), expected, 0.0)
        expected = expected / expected.sum()
    assert chi_square(places, expected) < 16.3  # 3 degrees of freedom: one in a thousand


def test_a_masked_row_with_a_logit_that_is_no_number_is_told() -> None:
    logits = normal(2, 2100)
    logits[:, 2099] = float("nan")
    assert draw(logits, 1.0, 0.5, allowed={0: [3, 4]})[0] == [-1, -1]
