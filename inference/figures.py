"""What the engine measures, as plain values: standard library only. ``inference.types`` hands them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a measured value lay where, since the start.

    ``bounds`` are upper bounds in rising order; ``counts[i]`` counts values above ``bounds[i - 1]`` and at
    most ``bounds[i]``, the last one those above every bound. ``total`` is the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What models run on: ``device`` is ``cpu`` or ``cuda``, ``name`` the device's own name.

    ``free_bytes`` is what the next model may take: what is free now, and what the model in use would give
    back. ``native_mxfp4``: four-bit experts run as they are stored.
    """

    device: str
    name: str
    total_bytes: int
    free_bytes: int
    native_mxfp4: bool


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """The engine's counters and gauges at one moment. Counters grow from the start of the process.

    ``running`` and ``waiting`` are requests. Of ``pages_total`` pages of the cache ``pages_used`` belong to
    requests, ``pages_cached`` hold only what a later prompt may begin with, and the rest is free.
    ``cached_tokens`` is the part of ``prompt_tokens`` that needed no prefill. ``finished`` counts requests by
    ``FinishReason``. The histograms are in seconds: to a request's first token, between two of its tokens,
    and of one step. ``memory_used`` and ``memory_total`` are bytes of the device, 0 where models run on the
    CPU. ``restarts`` counts how often the worker began anew after a fault.
    """

    running: int
    waiting: int
    pages_total: int
    pages_used: int
    pages_cached: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    preemptions: int
    steps: int
    finished: Mapping[str, int]
    ttft: Histogram
    inter_token: Histogram
    step: Histogram
    memory_used: int
    memory_total: int
    restarts: int
