"""The engine's own figures: histograms, their quantiles, and the snapshot that readers get."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.metrics import TOKEN_BOUNDS, TTFT_BOUNDS, HistogramBuilder, MetricsBuilder, quantile
from inference.types import FinishReason, Histogram


def test_a_value_on_a_bound_belongs_below_it() -> None:
    builder = HistogramBuilder((0.1, 0.2))
    for value in (0.05, 0.1, 0.15, 0.2, 0.3):
        builder.add(value)
    assert builder.snapshot() == Histogram((0.1, 0.2), (2, 2, 1), math.fsum((0.05, 0.1, 0.15, 0.2, 0.3)))


def test_a_snapshot_stays_as_it_was() -> None:
    builder = HistogramBuilder((1.0,))
    before = builder.snapshot()
    builder.add(0.5, times=3)
    assert (before.counts, builder.snapshot().counts) == ((0, 0), (3, 0))
    assert builder.snapshot().total == 1.5


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0)])
def test_bounds_that_do_not_rise_are_refused(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        HistogramBuilder(bounds)


def test_a_quantile_lies_within_its_bucket() -> None:
    assert quantile(Histogram((1.0, 2.0), (0, 0, 0), 0.0), 0.5) is None
    assert quantile(Histogram((1.0, 2.0), (0, 4, 0), 6.0), 0.5) == 1.5
    assert quantile(Histogram((1.0, 2.0), (1, 2, 1), 6.0), 0.5) == 1.5
    assert quantile(Histogram((1.0, 2.0), (0, 0, 9), 99.0), 0.5) == 2.0


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 1))
def test_a_quantile_is_never_further_off_than_its_bucket_is_wide(values: list[float], share: float) -> None:
    builder = HistogramBuilder(TTFT_BOUNDS)
    for value in values:
        builder.add(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    low = max((bound for bound in TTFT_BOUNDS if bound < exact), default=0.0)
    high = min((bound for bound in TTFT_BOUNDS if bound >= exact), default=TTFT_BOUNDS[-1])
    found = quantile(builder.snapshot(), share)
    assert found is not None
    assert low <= found <= high


def test_the_builder_counts_what_it_is_told() -> None:
    builder = MetricsBuilder()
    builder.started(prompt_tokens=100, cached_tokens=64)
    builder.first_token(0.03)
    chance = random.Random(1)
    for _ in range(10):
        builder.stepped(chance.uniform(0.001, 0.01))
        builder.next_tokens(0.004, tokens=3)
    builder.preempted()
    builder.restarted()
    builder.ended(FinishReason.STOP)
    builder.ended(FinishReason.STOP)
    builder.ended(FinishReason.LENGTH)
    metrics = builder.build(running=2, waiting=1, pages_total=10, pages_used=4, pages_cached=3)
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.generated_tokens) == (100, 64, 31)
    assert (metrics.steps, metrics.preemptions, metrics.restarts) == (10, 1, 1)
    assert metrics.finished == {"stop": 2, "length": 1}
    assert sum(metrics.ttft.counts) == 1
    assert metrics.inter_token.counts[TOKEN_BOUNDS.index(0.005)] == 30
    assert metrics.inter_token.total == pytest.approx(0.12)
    builder.ended(FinishReason.ERROR)
    assert metrics.finished == {"stop": 2, "length": 1}
