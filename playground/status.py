"""What the status panel shows: the engine's figures, made ready to be read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import psutil  # type: ignore[import-untyped]

from inference.metrics import quantile
from inference.types import EngineHealth, EngineMetrics
from playground import views


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use and bytes in all: of the GPU, or of this process in the machine's memory."""

    of: Literal["gpu", "process"]
    used: int
    total: int


def memory_of(health: EngineHealth) -> Memory:
    """The memory that models live in."""
    metrics = health.metrics
    if metrics is not None and metrics.memory_total > 0:
        return Memory("gpu", metrics.memory_used, metrics.memory_total)
    return Memory("process", int(psutil.Process().memory_info().rss), int(psutil.virtual_memory().total))


def free_pages(metrics: EngineMetrics) -> int:
    """Pages of the cache that hold nothing."""
    return max(0, metrics.pages_total - metrics.pages_used - metrics.pages_cached)


def status(health: EngineHealth) -> views.Json:
    """The panel's figures; what nobody has measured is ``None``."""
    metrics = health.metrics
    return {
        "alive": health.alive,
        "model": views.model_status(health.active),
        "running": health.running,
        "waiting": health.waiting,
        "queue_limit": health.queue_limit,
        "machine": None if health.machine is None else asdict(health.machine),
        "memory": asdict(memory_of(health)),
        **(_NOTHING_MEASURED if metrics is None else _measured(metrics)),
    }


_NOTHING_MEASURED = {"pages": None, "prompts": None, "speed": None, "preemptions": None, "restarts": None}


def _measured(metrics: EngineMetrics) -> views.Json:
    gap = quantile(metrics.inter_token, 0.5)
    return {
        "pages": {
            "total": metrics.pages_total,
            "used": metrics.pages_used,
            "cached": metrics.pages_cached,
            "free": free_pages(metrics),
        },
        "prompts": {"tokens": metrics.prompt_tokens, "cached": metrics.cached_tokens},
        "speed": {
            "first_token_seconds": quantile(metrics.ttft, 0.5),
            "between_tokens_seconds": gap,
            "tokens_per_second": None if not gap else 1 / gap,
        },
        "preemptions": metrics.preemptions,
        "restarts": metrics.restarts,
    }
