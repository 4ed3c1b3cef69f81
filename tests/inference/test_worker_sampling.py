"""The choice of the next token: against a plain sort, and against the distribution it must follow."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.types import SamplingParams
from inference.worker.sampling import FIRST_CANDIDATES, InvalidLogits, choose, nucleus


def noise(seed: int, size: int, scale: float = 1.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * scale


def sorted_nucleus(weights: Tensor, top_p: float) -> set[int]:
    """The textbook way: sort everything, keep what comes before the goal is reached."""
    kept: set[int] = set()
    total, goal = 0.0, float(weights.sum()) * top_p
    for index in weights.argsort(descending=True, stable=True).tolist():
        if kept and total >= goal:
            break
        kept.add(index)
        total += float(weights[index])
    return kept


def test_temperature_zero_takes_the_largest_and_uses_no_random_number() -> None:
    rng = random.Random(1)
    assert choose(torch.tensor([0.0, 3.0, 3.0, -1.0]), SamplingParams(temperature=0), rng) == 1
    assert rng.random() == random.Random(1).random()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability_says(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -2.0, 0.5])
    rng = random.Random(7)
    draws = 20_000
    sampling = SamplingParams(temperature=temperature)
    counts = torch.bincount(torch.tensor([choose(logits, sampling, rng) for _ in range(draws)]), minlength=5)
    expected = torch.softmax(logits / temperature, 0) * draws
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 18.5  # 4 degrees of freedom: one in a thousand


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 3000),
    scale=st.sampled_from([0.0, 0.01, 1.0, 8.0]),
    top_p=st.floats(0.001, 1.0),
)
def test_the_nucleus_is_what_a_full_sort_gives(seed: int, size: int, scale: float, top_p: float) -> None:
    weights = torch.exp(noise(seed, size, scale).double())
    kept, ids = nucleus(weights, top_p)
    expected = sorted_nucleus(weights, top_p)
    # Rounding of two different sums may move the border by one entry, and equals may stand for each other.
    assert abs(len(ids) - len(expected)) <= 1
    assert kept.tolist() == sorted(kept.tolist(), reverse=True)
    assert torch.equal(weights[ids], kept)
    rest = weights[[index for index in range(size) if index not in set(ids.tolist())]]
    assert rest.numel() == 0 or float(kept.min()) >= float(rest.max())


def test_a_flat_distribution_keeps_its_tail() -> None:
    size = FIRST_CANDIDATES * 20
    kept, _ids = nucleus(torch.ones(size, dtype=torch.float64), 0.9)
    assert len(kept) == size * 9 // 10


def test_top_p_never_takes_a_token_outside_of_the_nucleus() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    rng = random.Random(3)
    seen = {choose(logits, SamplingParams(top_p=0.75), rng) for _ in range(500)}
    assert seen == {0, 1}


def test_a_tiny_top_p_is_greedy() -> None:
    logits = noise(5, 500)
    rng = random.Random(0)
    assert {choose(logits, SamplingParams(temperature=2, top_p=1e-9), rng) for _ in range(20)} == {
        int(logits.argmax())
    }


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-12])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature: float) -> None:
    logits = torch.tensor([1.0, 60000.0, -60000.0, 2.0])
    assert choose(logits, SamplingParams(temperature=temperature), random.Random(0)) == 1


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    logits = noise(9, 5000)
    sampling = SamplingParams(temperature=1.0, top_p=0.95)

    def draw(seed: int) -> list[int]:
        rng = random.Random(seed)
        return [choose(logits, sampling, rng) for _ in range(20)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


class Always(random.Random):
    """Random numbers that are all the same."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (1 - 2**-53, 3)])
def test_the_ends_of_the_unit_interval_never_hit_a_token_of_no_weight(uniform: float, expected: int) -> None:
    logits = torch.tensor([-1e30, 0.0, 1.0, 0.3, -1e30])
    assert choose(logits, SamplingParams(), Always(uniform)) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_numbers_that_make_no_sense_are_refused(bad: float, temperature: float) -> None:
    with pytest.raises(InvalidLogits):
        choose(torch.tensor([0.0, bad, 1.0]), SamplingParams(temperature=temperature), random.Random(0))
