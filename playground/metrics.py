"""The playground's figures in Prometheus' text format; nothing in them comes from what people write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from inference.types import EngineHealth, EngineMetrics, Histogram, ModelStatus
from playground.backups import BackupState
from playground.status import free_pages, memory_of

PREFIX = "playground_"


class PlaygroundCollector(Collector):
    """Reads the engine's health and the replies' token counts anew for every scrape."""

    def __init__(
        self, health: Callable[[], EngineHealth], tokens: Mapping[str, int], backups: BackupState
    ) -> None:
        self._health = health
        self._tokens = tokens
        self._backups = backups

    def collect(self) -> Iterator[Metric]:
        """Every metric family, those of the engine only once it has measured something."""
        health = self._health()
        yield from _requests(health)
        yield _model(health.active)
        memory = memory_of(health)
        labels = {"of": memory.of}
        yield _gauge(
            "memory_used_bytes", "Memory in use, of the GPU or of this process.", memory.used, labels
        )
        yield _gauge("memory_total_bytes", "Memory of the GPU or of the machine.", memory.total, labels)
        yield _counters(
            "reply_tokens", "Content tokens of the replies, by harmony channel.", "channel", self._tokens
        )
        yield from _backups(self._backups)
        if health.metrics is not None:
            yield from _engine(health.metrics)


def _requests(health: EngineHealth) -> Iterator[Metric]:
    yield _gauge("engine_up", "Whether the worker is alive.", int(health.alive))
    yield _gauge("requests_running", "Requests that are being read or answered.", health.running)
    yield _gauge("requests_waiting", "Requests that wait for their turn.", health.waiting)
    yield _gauge("requests_waiting_limit", "Requests that may wait.", health.queue_limit)


def _backups(state: BackupState) -> Iterator[Metric]:
    made_at = 0.0 if state.last_backup is None else state.last_backup.timestamp()
    yield _gauge("database_whole", "Whether the database was found undamaged.", int(state.whole))
    yield _gauge("backup_failing", "Whether the latest backup failed.", int(state.error is not None))
    yield _gauge("backup_timestamp_seconds", "When the newest backup was made; 0 is never.", made_at)


def _model(model: ModelStatus | None) -> Metric:
    names = ("name", "revision", "device", "dtype", "quantization")
    family = GaugeMetricFamily(PREFIX + "model_info", "The model that answers now.", labels=names)
    if model is not None:
        family.add_metric([str(getattr(model, name)) for name in names], 1)
    return family


def _engine(metrics: EngineMetrics) -> Iterator[Metric]:
    states = {"used": metrics.pages_used, "cached": metrics.pages_cached, "free": free_pages(metrics)}
    pages = GaugeMetricFamily(PREFIX + "cache_pages", "Pages of the cache, by state.", labels=("state",))
    for state, count in states.items():
        pages.add_metric((state,), count)
    yield pages
    yield _counter("prompt_tokens", "Tokens of prompts.", metrics.prompt_tokens)
    yield _counter("prompt_tokens_cached", "Tokens of prompts that needed no prefill.", metrics.cached_tokens)
    yield _counter("generated_tokens", "Tokens that the model made.", metrics.generated_tokens)
    yield _counters("requests_finished", "Requests that ended, by reason.", "reason", metrics.finished)
    yield _counter("preemptions", "Requests that gave their pages back for a while.", metrics.preemptions)
    yield _counter("engine_restarts", "Times that the worker began anew after a fault.", metrics.restarts)
    yield _counter("engine_steps", "Steps of the engine.", metrics.steps)
    yield _histogram("time_to_first_token_seconds", "From submission to the first token.", metrics.ttft)
    yield _histogram("inter_token_seconds", "Between two tokens of a request.", metrics.inter_token)
    yield _histogram("step_seconds", "One step of the engine.", metrics.step)


def _gauge(name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=tuple(labels or {}))
    family.add_metric(tuple((labels or {}).values()), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    so_far, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=histogram.total)
