"""An engine's figures as a busy one would have them."""

from __future__ import annotations

import dataclasses

from inference.metrics import MetricsBuilder
from inference.types import EngineMetrics, FinishReason, MachineInfo

H200 = MachineInfo("cuda", "NVIDIA H200", 150_000_000_000, 139_000_000_000, native_mxfp4=True)
CARD = dataclasses.replace(H200, name="NVIDIA L4", total_bytes=24_000_000_000, free_bytes=22_000_000_000)
LAPTOP = MachineInfo("cpu", "CPU", 32_000_000_000, 18_000_000_000, native_mxfp4=False)


def busy(builder: MetricsBuilder | None = None) -> EngineMetrics:
    """Three requests of 100 tokens, two of them answered; a fifth of the cache is in use."""
    builder = builder or MetricsBuilder()
    for _ in range(3):
        builder.started(prompt_tokens=100, cached_tokens=64)
        builder.first_token(0.03)
    builder.next_tokens(0.0025, tokens=300)
    for _ in range(100):
        builder.stepped(0.0025)
    builder.ended(FinishReason.STOP)
    builder.ended(FinishReason.CANCELLED)
    builder.preempted()
    return builder.build(
        running=1,
        waiting=2,
        pages_total=1000,
        pages_used=200,
        pages_cached=300,
        memory_used=15_000_000_000,
        memory_total=150_000_000_000,
    )
