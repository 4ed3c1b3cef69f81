"""What the engine measures about itself, collected cheaply: counters and histograms in pure Python.

One thread writes (the worker) and builds a frozen ``EngineMetrics`` a few times a second; readers only ever
see those.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate, pairwise

from inference.types import EngineMetrics, FinishReason, Histogram

# Seconds. A step of a small batch takes 2 to 20 ms on a GPU and up to a second on a CPU.
TTFT_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 180.0)
TOKEN_BOUNDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
STEP_BOUNDS = TOKEN_BOUNDS


class HistogramBuilder:
    """Counts values below each of ``bounds``, which must rise."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError("The bounds of a histogram must rise.")
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, ``times`` times; a value on a bound belongs below it."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._total += value * times

    def snapshot(self) -> Histogram:
        """The counts as they are now."""
        return Histogram(self._bounds, tuple(self._counts), self._total)


def quantile(histogram: Histogram, share: float) -> float | None:
    """The value that this share (0 to 1) of all values lies below, as near as the bounds tell.

    Within a bucket values count as evenly spread. ``None`` without any value; values above every bound give
    the highest bound.
    """
    ends = list(accumulate(histogram.counts))
    if not ends or ends[-1] == 0:
        return None
    rank = share * ends[-1]
    bucket = next(index for index, end in enumerate(ends) if end >= rank and histogram.counts[index])
    if bucket == len(histogram.bounds):
        return histogram.bounds[-1] if histogram.bounds else None
    low = histogram.bounds[bucket - 1] if bucket else 0.0
    inside = (rank - (ends[bucket] - histogram.counts[bucket])) / histogram.counts[bucket]
    return low + (histogram.bounds[bucket] - low) * inside


class MetricsBuilder:
    """The engine's counters while they grow; the worker's thread is the only one that touches them."""

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens = 0
        self.preemptions = 0
        self.steps = 0
        self.restarts = 0
        self._finished: Counter[str] = Counter()
        self._ttft = HistogramBuilder(TTFT_BOUNDS)
        self._inter_token = HistogramBuilder(TOKEN_BOUNDS)
        self._step = HistogramBuilder(STEP_BOUNDS)

    def started(self, prompt_tokens: int, cached_tokens: int) -> None:
        """A request's prompt is read; ``cached_tokens`` of it were there already."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens

    def first_token(self, seconds: float) -> None:
        """A request got its first token so long after it was submitted."""
        self.generated_tokens += 1
        self._ttft.add(seconds)

    def next_tokens(self, seconds: float, tokens: int = 1) -> None:
        """Requests together got so many tokens, each this long after the one before it."""
        self.generated_tokens += tokens
        self._inter_token.add(seconds, tokens)

    def stepped(self, seconds: float) -> None:
        """One step took so long."""
        self.steps += 1
        self._step.add(seconds)

    def preempted(self) -> None:
        """A running request had to give its pages back and will be read anew."""
        self.preemptions += 1

    def restarted(self) -> None:
        """The worker began anew after a fault."""
        self.restarts += 1

    def ended(self, reason: FinishReason) -> None:
        """A request got its last event."""
        self._finished[reason.value] += 1

    def build(
        self,
        *,
        running: int,
        waiting: int,
        pages_total: int = 0,
        pages_used: int = 0,
        pages_cached: int = 0,
        memory_used: int = 0,
        memory_total: int = 0,
    ) -> EngineMetrics:
        """Everything as it stands now, with the gauges that only the caller knows."""
        return EngineMetrics(
            running=running,
            waiting=waiting,
            pages_total=pages_total,
            pages_used=pages_used,
            pages_cached=pages_cached,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            generated_tokens=self.generated_tokens,
            preemptions=self.preemptions,
            steps=self.steps,
            finished=dict(self._finished),
            ttft=self._ttft.snapshot(),
            inter_token=self._inter_token.snapshot(),
            step=self._step.snapshot(),
            memory_used=memory_used,
            memory_total=memory_total,
            restarts=self.restarts,
        )
