"""What crosses the border between the web side and the worker: plain values, standard library only.

The worker may be a thread or a process of its own, so every ``Command`` and every ``Report`` can be pickled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from inference.types import (
    EngineHealth,
    EngineMetrics,
    GenerationRequest,
    MachineInfo,
    ModelStatus,
    TokenEvent,
    TokensGenerated,
)

Isolation = Literal["auto", "thread", "process"]
CpuDtype = Literal["float32", "bfloat16"]


class Stopped(Exception):
    """Raised by a progress callback: the model is not wanted any more, give it up."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How a ``LocalEngine`` works.

    ``model`` is any name that ``inference.catalog.resolve`` takes. ``demo_folder`` is where the
    demonstration model is written out (``None``: the user's cache folder), or a folder that already is
    its checkpoint. ``hub_cache``, ``endpoint`` and ``token`` of ``None`` mean the hub library's own
    defaults (the token of the user who logged in to the hub, if any). ``max_running`` of ``None`` means
    32. ``max_prefill_chunk`` is how many prompt tokens a step may read (``None``: 512 on a CPU, 2048 on a
    GPU). ``device`` is ``"cpu"``, ``"cuda"`` or ``None`` for the best there is. ``cpu_dtype`` is the number
    type of the weights on a CPU.
    ``reproducible``: on a GPU a request gives the same tokens whatever runs beside it, at some cost.
    ``kv_budget_bytes`` bounds the memory of all running requests (``None``: a share of what is free).
    ``threads`` is torch's thread count (``None``: torch's own choice). ``start_delay`` are seconds that
    the worker waits before it imports torch, so that a page can be served first. ``fallback``: answer
    with the demonstration model while the wanted one is on its way or has failed.

    ``isolation`` is where the worker runs: in a thread, in a process of its own, or (``"auto"``) in a process
    where a CUDA GPU is to be used and in a thread elsewhere. A step of more than ``step_limit`` seconds is a
    hang, and the worker is started anew. ``restart_delay`` are the seconds before the first restart; each
    further one waits twice as long. ``worker`` names the class that does the work, ``module:class``.
    """

    model: str = "auto"
    demo_folder: Path | None = None
    hub_cache: Path | None = None
    endpoint: str | None = None
    token: str | None = None
    queue_limit: int = 64
    max_running: int | None = None
    max_prefill_chunk: int | None = None
    device: str | None = None
    cpu_dtype: CpuDtype = "float32"
    reproducible: bool = False
    kv_budget_bytes: int | None = None
    threads: int | None = None
    start_delay: float = 0.0
    fallback: bool = True
    isolation: Isolation = "auto"
    step_limit: float = 120.0
    restart_delay: float = 1.0
    worker: str = "inference.worker.main:Worker"


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
    """Fetch and load this model, and let it answer from then on; ``none`` gives up what is loaded."""

    model: str


@dataclass(frozen=True, slots=True)
class Close:
    """End every request as cancelled and stop."""


Command = Submit | Cancel | Load | Close


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loaded model can take: the number of token ids, and tokens of prompt and reply together."""

    vocab_size: int
    context_length: int


@dataclass(frozen=True, slots=True)
class State:
    """What the worker does now: ``limits`` of every model that answers, ``max_running`` of the active one.

    ``closed`` is a sentence for new requests: why no model takes them. It is empty while one does, and while
    the first one is on its way.
    """

    health: EngineHealth
    limits: Mapping[str, Limits] = field(default_factory=dict)
    max_running: int = 1
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to requests, in order; a worker process sends one of these a step."""

    events: tuple[TokenEvent, ...]

    def __reduce__(self) -> tuple[Callable[[Iterable[_Plain]], Events], tuple[tuple[_Plain, ...]]]:
        """Tokens travel as plain pairs: a pickled dataclass costs several times as much, in every step."""
        return _events, (tuple(_plain(event) for event in self.events),)


def _plain(event: TokenEvent) -> _Plain:
    if isinstance(event, TokensGenerated) and not event.logprobs:
        return event.request_id, event.token_ids
    return event


_Plain = TokenEvent | tuple[str, tuple[int, ...]]


def _events(plain: Iterable[_Plain]) -> Events:
    return Events(tuple(TokensGenerated(*each) if isinstance(each, tuple) else each for each in plain))


Report = State | Events


class Pulse:
    """Tells a step that hangs from one that is awaited: the worker writes it, its supervisor reads it."""

    def __init__(self) -> None:
        self._since = 0.0

    @property
    def since(self) -> float | None:
        """When the step began that is being worked on (``time.monotonic()``), or ``None`` between steps."""
        return self._since or None

    def beat(self) -> None:
        """A step begins, and the one before is over."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """There is nothing to do until the next command comes."""
        self._since = 0.0


class Board:
    """Where the worker's threads show their state; each change goes to ``tell``."""

    def __init__(self, queue_limit: int, tell: Callable[[State], None]) -> None:
        self._lock = threading.Lock()
        self._state = State(EngineHealth(alive=True, active=None, target=None, queue_limit=queue_limit))
        self._tell = tell

    def set_target(self, target: ModelStatus | None) -> None:
        """Show how far the model is that was asked for."""
        with self._lock:
            self._show(replace(self._state, health=replace(self._state.health, target=target)))

    def set_active(self, active: ModelStatus, limits: Limits, max_running: int) -> None:
        """From now on ``active`` answers new requests."""
        with self._lock:
            health = replace(self._state.health, active=active)
            self._show(State(health, {**self._state.limits, active.name: limits}, max_running))

    def close(self, why: str) -> None:
        """From now on no model takes new requests; ``why`` is the sentence that they get."""
        with self._lock:
            health = replace(self._state.health, active=None)
            self._show(State(health, max_running=self._state.max_running, closed=why))

    def forget(self, model: str) -> None:
        """This model is gone; requests that name it are refused."""
        with self._lock:
            kept = {name: limits for name, limits in self._state.limits.items() if name != model}
            self._show(replace(self._state, limits=kept))

    def set_running(self, running: int) -> None:
        """How many requests are being read or answered."""
        if running != self._state.health.running:
            with self._lock:
                self._show(replace(self._state, health=replace(self._state.health, running=running)))

    def set_machine(self, machine: MachineInfo) -> None:
        """What models run on, before anything is measured."""
        with self._lock:
            self._show(replace(self._state, health=replace(self._state.health, machine=machine)))

    def set_measured(self, metrics: EngineMetrics, machine: MachineInfo | None) -> None:
        """What the engine measured; ``machine`` of ``None`` leaves what is known of it as it is."""
        with self._lock:
            health = self._state.health
            machine = machine or health.machine
            health = replace(health, running=metrics.running, metrics=metrics, machine=machine)
            self._show(replace(self._state, health=health))

    def _show(self, state: State) -> None:
        """Called with the lock held, so that states are told in their order."""
        self._state = state
        self._tell(state)
