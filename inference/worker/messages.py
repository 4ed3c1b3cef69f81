"""What crosses the border between the web side and the worker thread: plain values, standard library only."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from inference.types import EngineHealth, GenerationRequest, ModelStatus


class Stopped(Exception):
    """Raised by a progress callback: the model is not wanted any more, give it up."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How a ``LocalEngine`` works.

    ``model`` is any name that ``inference.catalog.resolve`` takes. ``demo_folder`` is where the
    demonstration model is written out (``None``: the user's cache folder), or a folder that already is
    its checkpoint. ``hub_cache``, ``endpoint`` and ``token`` of ``None`` mean the hub library's own
    defaults (the token of the user who logged in to the hub, if any). ``max_running`` of ``None`` means 8
    on a CPU and 32 on a GPU. ``device`` is ``"cpu"``, ``"cuda"`` or ``None`` for the best there is.
    ``local_kernels`` is a folder that holds the MXFP4 kernels (``build/<variant>/...``).
    ``kv_budget_bytes`` bounds the memory of all running requests (``None``: a share of what is free).
    ``threads`` is torch's thread count (``None``: torch's own choice). ``start_delay`` are seconds that
    the worker waits before it imports torch, so that a page can be served first. ``fallback``: answer
    with the demonstration model while the wanted one is on its way or has failed.
    """

    model: str = "auto"
    demo_folder: Path | None = None
    hub_cache: Path | None = None
    endpoint: str | None = None
    token: str | None = None
    queue_limit: int = 64
    max_running: int | None = None
    max_prefill_chunk: int = 512
    device: str | None = None
    local_kernels: Path | None = None
    kv_budget_bytes: int | None = None
    threads: int | None = None
    start_delay: float = 0.0
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Submit:
    """Run ``request`` on the loaded model ``model``. ``submitted`` is ``time.monotonic()`` at acceptance."""

    request: GenerationRequest
    model: str
    submitted: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """End this request early; unknown and finished ids are ignored."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Fetch and load this model, and let it answer from then on."""

    model: str


@dataclass(frozen=True, slots=True)
class Close:
    """End every request as cancelled and leave the thread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loaded model can take: the number of token ids, and tokens of prompt and reply together."""

    vocab_size: int
    context_length: int


class Board:
    """The state that the worker writes and everybody may read, at any time and from any thread."""

    def __init__(self, queue_limit: int, target: ModelStatus | None) -> None:
        self._lock = threading.Lock()
        self._health = EngineHealth(alive=True, active=None, target=target, queue_limit=queue_limit)
        self._limits: dict[str, Limits] = {}
        self.max_running = 1

    def health(self) -> EngineHealth:
        """The latest state; a frozen value."""
        return self._health

    def limits(self, model: str) -> Limits | None:
        """The limits of a model that answers, or ``None`` when there is no such one."""
        return self._limits.get(model)

    def set_target(self, target: ModelStatus | None) -> None:
        """Show how far the model is that was asked for."""
        with self._lock:
            self._health = replace(self._health, target=target)

    def set_active(self, active: ModelStatus, limits: Limits, max_running: int) -> None:
        """From now on ``active`` answers new requests."""
        with self._lock:
            self._health = replace(self._health, active=active)
            self._limits = {**self._limits, active.name: limits}
            self.max_running = max_running

    def forget(self, model: str) -> None:
        """This model is gone; requests that name it are refused."""
        with self._lock:
            self._limits = {name: limits for name, limits in self._limits.items() if name != model}

    def set_running(self, running: int) -> None:
        """How many requests are being read or answered."""
        if running != self._health.running:
            with self._lock:
                self._health = replace(self._health, running=running)

    def set_dead(self) -> None:
        """The worker is gone for good."""
        with self._lock:
            self._health = replace(self._health, alive=False, active=None, running=0)
            self._limits = {}
