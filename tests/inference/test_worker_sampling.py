"""The choice of the next token: against a plain sort, and against the distribution it must follow.

Where only some ids are listed and all others have the logit 0, the choice must follow the same distribution
as with the whole row written out.
"""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.types import SamplingParams
from inference.worker.sampler import (
    FIRST_CANDIDATES,
    Logits,
    choose_within,
    find_peaks,
    logprobs,
    nucleus,
    uniform_at,
)
from inference.worker.sampler import (
    choose as choose_at,
)

VOCAB = 60
POINTS = 500  # of the unit interval
IDS = torch.tensor([3, 4, 9, 17, 18, 19, 40, 58])
LISTED = {
    "mixed": torch.tensor([1.0, -2.0, 0.5, 3.0, -0.1, 2.0, 0.0, -4.0]),
    "below zero": torch.tensor([-1.0, -2.0, -0.5, -3.0, -0.1, -2.0, -6.0, -4.0]),
    "far above": torch.tensor([9.0, 7.0, 8.0, 9.5, 3.0, 2.0, 1.0, 0.5]),
    "far below": torch.tensor([-900.0, -700.0, -800.0, -950.0, -300.0, -200.0, -100.0, -50.0]),
}


def noise(seed: int, size: int, scale: float = 1.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * scale


def row(values: Tensor) -> Logits:
    """Every id is listed."""
    return Logits(values, None, values.numel())


def choose(logits: Logits, sampling: SamplingParams, uniform: float) -> int:
    (peak,) = find_peaks(logits.values[None])
    assert peak is not None
    return choose_at(logits, sampling, uniform, peak)


def sorted_nucleus(weights: Tensor, goal: float) -> set[int]:
    """The textbook way: sort everything, keep what comes before the goal is reached."""
    kept: set[int] = set()
    total = 0.0
    for index in weights.argsort(descending=True, stable=True).tolist():
        if kept and total >= goal:
            break
        kept.add(index)
        total += float(weights[index])
    return kept


def shares(logits: Logits, sampling: SamplingParams, points: int = POINTS) -> Tensor:
    """How much of the unit interval leads to each id: [vocab], on a grid of so many points."""
    chosen = [choose(logits, sampling, (point + 0.5) / points) for point in range(points)]
    return torch.bincount(torch.tensor(chosen), minlength=logits.vocab) / points


def test_temperature_zero_takes_the_largest_and_the_lowest_id_of_equals() -> None:
    assert choose(row(torch.tensor([0.0, 3.0, 3.0, -1.0])), SamplingParams(temperature=0), 0.9) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([-1.0, -2.0], 0), ([-1.0, 2.0], 7), ([-1.0, 0.0], 0), ([-3.0, -3.0], 0)],
)
def test_temperature_zero_sees_the_ids_that_are_not_listed(values: list[float], expected: int) -> None:
    logits = Logits(torch.tensor(values), torch.tensor([5, 7]), 10)
    assert choose(logits, SamplingParams(temperature=0), 0.5) == expected


def test_the_lowest_id_that_is_not_listed_is_found_behind_listed_ones() -> None:
    logits = Logits(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([0, 1, 3]), 10)
    assert choose(logits, SamplingParams(temperature=0), 0.5) == 2
    assert [logits.id_at(place) for place in range(10)] == [0, 1, 3, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("listed", [False, True])
def test_tokens_come_as_often_as_their_probability_says(temperature: float, listed: bool) -> None:
    values = torch.tensor([0.3, 1.0, 2.0, -2.0, 0.5])
    logits = Logits(values, torch.tensor([0, 2, 3, 5, 8]), 9) if listed else row(values)
    draws = 4_000
    sampling = SamplingParams(temperature=temperature)
    chosen = [choose(logits, sampling, uniform_at(7, place)) for place in range(draws)]
    counts = torch.bincount(torch.tensor(chosen), minlength=logits.vocab)
    expected = torch.softmax(logits.whole() / temperature, 0) * draws
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < (26.1 if listed else 18.5)  # 8 and 4 degrees of freedom: one in a thousand


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_each_id_gets_its_share_of_the_unit_interval(name: str, temperature: float) -> None:
    logits = Logits(LISTED[name], IDS, VOCAB)
    expected = torch.softmax(logits.whole().double() / temperature, 0)
    found = shares(logits, SamplingParams(temperature=temperature))
    assert float((found - expected).abs().max()) <= 1 / POINTS + 1e-9


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.8, 0.97, 0.9999])
def test_the_nucleus_of_a_row_with_unlisted_ids_is_that_of_the_whole_row(name: str, top_p: float) -> None:
    logits = Logits(LISTED[name], IDS, VOCAB)
    weights = torch.exp(logits.whole().double())
    inside = sorted_nucleus(weights, float(weights.sum()) * top_p)
    found = shares(logits, SamplingParams(top_p=top_p))
    # Equals may stand for each other, so the comparison is by weight.
    kept = weights[sorted(inside)].sort().values
    expected = (kept / kept.sum())[kept / kept.sum() > 2 / POINTS]
    assert float((found[found > 2 / POINTS].sort().values - expected).abs().max()) <= 2 / POINTS + 1e-9
    outside = [token for token in range(VOCAB) if float(weights[token]) < float(kept.min()) * (1 - 1e-9)]
    assert float(found[outside].sum()) == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 3000),
    scale=st.sampled_from([0.0, 0.01, 1.0, 8.0]),
    top_p=st.floats(0.001, 1.0),
)
def test_the_nucleus_is_what_a_full_sort_gives(seed: int, size: int, scale: float, top_p: float) -> None:
    weights = torch.exp(noise(seed, size, scale).double())
    goal = float(weights.sum()) * top_p
    kept, ids = nucleus(weights, goal)
    expected = sorted_nucleus(weights, goal)
    # Rounding of two different sums may move the border by one entry, and equals may stand for each other.
    assert abs(len(ids) - len(expected)) <= 1
    assert kept.tolist() == sorted(kept.tolist(), reverse=True)
    assert torch.equal(weights[ids], kept)
    rest = weights[[index for index in range(size) if index not in set(ids.tolist())]]
    assert rest.numel() == 0 or float(kept.min()) >= float(rest.max())


def test_a_flat_distribution_keeps_its_tail() -> None:
    size = FIRST_CANDIDATES * 20
    kept, _ids = nucleus(torch.ones(size, dtype=torch.float64), 0.9 * size)
    assert len(kept) == size * 9 // 10


def test_top_p_never_takes_a_token_outside_of_the_nucleus() -> None:
    logits = row(torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])))
    assert shares(logits, SamplingParams(top_p=0.75), 500).nonzero()[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("listed", [False, True])
def test_a_tiny_top_p_is_greedy(listed: bool) -> None:
    values = noise(5, 500)
    logits = Logits(values, torch.arange(0, 1000, 2), 1000) if listed else row(values)
    best = choose(logits, SamplingParams(temperature=0), 0.0)
    assert shares(logits, SamplingParams(temperature=2, top_p=1e-9), 20)[best] == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-12])
@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 4, 5])])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature: float, ids: Tensor | None) -> None:
    logits = Logits(torch.tensor([1.0, 60000.0, -60000.0, 2.0]), ids, 4 if ids is None else 8)
    assert choose(logits, SamplingParams(temperature=temperature), 0.5) == 1
    assert choose(logits, SamplingParams(temperature=temperature, top_p=0.9), 0.5) == 1


def test_a_tiny_temperature_over_logits_below_zero_takes_an_id_that_is_not_listed() -> None:
    logits = Logits(torch.tensor([-1.0, -2.0]), torch.tensor([0, 2]), 4)
    assert {choose(logits, SamplingParams(temperature=1e-300), u / 10) for u in range(10)} == {1, 3}
    assert {choose(logits, SamplingParams(temperature=1e-300, top_p=0.9), u / 10) for u in range(10)} == {
        1,
        3,
    }


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (1 - 2**-53, 3)])
@pytest.mark.parametrize("top_p", [1.0, 0.99999])
def test_the_ends_of_the_unit_interval_never_hit_a_token_of_no_weight(
    uniform: float, expected: int, top_p: float
) -> None:
    logits = row(torch.tensor([-1e30, 0.0, 1.0, 0.3, -1e30]))
    chosen = choose(logits, SamplingParams(top_p=top_p), uniform)
    assert chosen in {1, 2, 3}
    assert top_p < 1 or chosen == expected


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_ends_of_the_unit_interval_lead_to_ids_of_the_vocabulary(name: str, top_p: float) -> None:
    logits = Logits(LISTED[name], IDS, VOCAB)
    for uniform in (0.0, 1 - 2**-53):
        assert 0 <= choose(logits, SamplingParams(top_p=top_p), uniform) < VOCAB


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("size", [3, 1024, 5000])
def test_rows_with_numbers_that_make_no_sense_have_no_peak(bad: float, size: int) -> None:
    rows = noise(1, 4 * size).view(4, size)
    rows[1, size // 2] = bad
    rows[3, -1] = bad
    found = find_peaks(rows)
    assert [peak is None for peak in found] == [False, True, False, True]
    for row in (0, 2):
        assert found[row] == (float(rows[row].max()), int(rows[row].argmax()))


def test_the_first_of_equals_is_the_peak() -> None:
    rows = torch.zeros(2, 5000)
    rows[0, [1500, 1501, 4990]] = 1
    rows[1, [4991, 4999]] = 1
    assert find_peaks(rows) == [(1, 1500), (1, 4991)]


def test_random_numbers_follow_from_seed_and_place_and_are_even() -> None:
    assert uniform_at(1, 0) == uniform_at(1, 0)
    numbers = [uniform_at(seed, place) for seed in (0, 1, 2**63 - 1) for place in range(2000)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 for number in numbers)
    counts = torch.histc(torch.tensor(numbers), 20, 0, 1)
    assert float(((counts - 300) ** 2 / 300).sum()) < 43.8  # 19 degrees of freedom: one in a thousand
    pairs = torch.tensor(numbers).view(-1, 2).T
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.06  # neighbours know nothing of each other


def test_log_probabilities_are_those_of_the_whole_row() -> None:
    rng = random.Random(1)
    for name, values in LISTED.items():
        logits = Logits(values, IDS, VOCAB)
        whole = torch.log_softmax(logits.whole().double(), 0)
        token = rng.randrange(VOCAB)
        scored = logprobs(logits, token, 5)
        assert scored.token_id == token, name
        assert scored.logprob == pytest.approx(float(whole[token]), abs=1e-9)
        assert [score for _, score in scored.top] == pytest.approx(whole.topk(5).values.tolist(), abs=1e-9)
        assert all(score == pytest.approx(float(whole[other])) for other, score in scored.top)
    assert logprobs(row(torch.tensor([1.0, 2.0])), 0, 20).top[0][0] == 1
    assert logprobs(row(torch.tensor([1.0, 2.0])), 0, 0).top == ()


# --- only some ids are allowed -----------------------------------------------------------------------

ALLOWED = {
    "listed and others": [3, 5, 9, 17, 41, 59],
    "listed alone": [4, 9, 40],
    "one": [18],
    "others alone": [0, 5, 59],
    "another one": [59],
}


def within(logits: Logits, allowed: list[int], sampling: SamplingParams, uniform: float, rare: bool) -> int:
    possible = torch.zeros(logits.vocab, dtype=torch.bool)
    possible[allowed] = True
    (peak,) = find_peaks(logits.values[None])
    assert peak is not None
    return choose_within(logits, sampling, uniform, peak, possible, rare=rare)


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("sampling", [SamplingParams(), SamplingParams(temperature=2.0)])
def test_each_allowed_id_gets_its_share_and_the_others_get_none(
    name: str, allowed: list[int], whole: bool, sampling: SamplingParams
) -> None:
    logits = Logits(LISTED[name], IDS, VOCAB)
    weights = torch.full((VOCAB,), float("-inf"), dtype=torch.float64)
    weights[allowed] = logits.whole().double()[allowed]
    expected = torch.softmax(weights / sampling.temperature, 0)
    if whole:
        logits = row(logits.whole())
    chosen = [within(logits, allowed, sampling, (u + 0.5) / 200, rare=False) for u in range(200)]
    found = torch.bincount(torch.tensor(chosen), minlength=VOCAB) / 200
    assert float((found - expected).abs().max()) <= 1 / 200 + 1e-9
    assert float(found[expected == 0].sum()) == 0


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("whole", [False, True])
def test_greedy_and_nucleus_hold_among_the_allowed_ids(name: str, allowed: list[int], whole: bool) -> None:
    logits = Logits(LISTED[name], IDS, VOCAB)
    values = logits.whole()[allowed].double()
    if whole:
        logits = row(logits.whole())
    best = within(logits, allowed, SamplingParams(temperature=0), 0.5, rare=False)
    assert best == allowed[int(values.argmax())]
    weights = values.softmax(0)
    for top_p in (0.05, 0.6, 0.95):
        inside = sorted_nucleus(weights, top_p)
        least = min(float(weights[place]) for place in inside)
        for uniform in (0.0, 0.3, 0.7, 1 - 2**-53):
            token = within(logits, allowed, SamplingParams(top_p=top_p), uniform, rare=False)
            assert float(weights[allowed.index(token)]) >= least * (1 - 1e-9)


def test_where_little_is_forbidden_the_choice_is_the_same_unless_it_is_forbidden() -> None:
    logits, allowed = row(noise(2, VOCAB)), [id_ for id_ in range(VOCAB) if id_ % 7]
    found = set()
    for place in range(300):
        uniform = uniform_at(4, place)
        free = choose(logits, SamplingParams(), uniform)
        held = within(logits, allowed, SamplingParams(), uniform, rare=True)
        assert held in allowed
        assert held == free or free % 7 == 0
        if free % 7 == 0:
            found.add(held)
    assert len(found) > 5, "another one is drawn at random"
