"""Keeps a worker running: notices when one dies or hangs, tells every waiter, and starts another one."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from inference import catalog
from inference.errors import ModelLoadError
from inference.streams import OpenRequests, Trouble
from inference.transport import Life, new_life
from inference.types import EngineHealth, ModelStage, ModelStatus
from inference.worker.messages import Close, EngineConfig, Load

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 10.0
LONGEST_DELAY = 30.0
LONGEST_WAIT = 1.0
MOST_DEATHS = 5
DEATHS_SECONDS = 600.0

DIED = Trouble("The model stopped working and is being restarted, so try again in a moment.")
HUNG = Trouble("The model hung and is being restarted, so try again in a moment.")
GAVE_UP = Trouble(
    f"The model stopped working {MOST_DEATHS} times within {DEATHS_SECONDS / 60:.0f} minutes, so it is not "
    "started again until the app is restarted.",
    final=True,
)
GPU_LOST = Trouble("The GPU failed, and no model can use it again until the app is restarted.", final=True)


class Supervisor:
    """Runs one worker after another in its thread until it is closed or gives up."""

    def __init__(self, config: EngineConfig, requests: OpenRequests) -> None:
        self._config = config
        self._requests = requests
        self._closing = threading.Event()
        self._closed_at = 0.0
        self._wanted = config.model
        self._names: dict[str, str] = {}
        self._deaths: deque[float] = deque()
        self._thread = threading.Thread(target=self._run, name="inference-supervisor", daemon=True)

    def start(self) -> None:
        """Start the first worker."""
        self._thread.start()

    def load(self, model: str) -> None:
        """Have the worker, and every later one, load this model, or give up all models for ``none``.

        Raises:
            ModelLoadError: the name means nothing.
        """
        if model.strip().lower() not in {catalog.AUTO, catalog.NONE}:
            self._names[catalog.resolve(model).name] = model
        self._wanted = model
        self._requests.send(Load(model))

    def close(self) -> None:
        """Stop the worker, and wait for it, but not for ever."""
        self._closed_at = time.monotonic()
        self._closing.set()
        self._requests.send(Close())
        if self._thread.is_alive():
            self._thread.join(2 * CLOSE_TIMEOUT)
        self._requests.end(_dead(self._requests.health(), None), None)

    def _run(self) -> None:
        try:
            self._closing.wait(self._config.start_delay)
            while not self._closing.is_set():
                trouble = self._live()
                if trouble is None or trouble.final:
                    return
                self._closing.wait(restart_delay(self._config.restart_delay, len(self._deaths)))
        except BaseException:
            logger.exception("The engine's supervisor died.")
            self._requests.end(_dead(self._requests.health(), GAVE_UP), GAVE_UP)

    def _live(self) -> Trouble | None:
        """One worker from its start to its end; gives what to do about it, or ``None`` if it was to end."""
        model = self._wanted
        life = new_life(replace(self._config, model=model), self._requests.hear)
        self._requests.begin(life)
        trouble: Trouble | None = DIED
        try:
            life.start()
            # What was asked for before ``begin`` had nobody to go to.
            if self._wanted != model:
                life.send(Load(self._wanted))
            if self._closing.is_set():
                life.send(Close())
            trouble = self._watch(life)
        except OSError:
            logger.exception("The inference worker could not be started.")
        finally:
            if trouble is not None:
                trouble = self._tell(trouble)
            life.stop()
        return trouble

    def _watch(self, life: Life) -> Trouble | None:
        """Wait for the worker's end, or for a step that takes too long."""
        limit, late = self._config.step_limit, 0.0
        while not life.wait(min(LONGEST_WAIT, limit / 4)):
            now, since = time.monotonic(), life.since() or 0.0
            if self._closing.is_set():
                if now - self._closed_at > CLOSE_TIMEOUT:
                    return None
            elif since and now - since > limit:
                # Twice, for this whole machine may have slept, and the worker's next beat be on its way.
                if late == since:
                    logger.error("A step of the inference worker takes more than %g seconds.", limit)
                    return HUNG
                late = since
        if self._closing.is_set():
            return None
        return GPU_LOST if life.final else DIED

    def _tell(self, trouble: Trouble) -> Trouble:
        """End all requests and say why no model answers; the trouble is final after too many of them."""
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > DEATHS_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) >= MOST_DEATHS and not trouble.final:
            trouble = GAVE_UP
        health = self._requests.health()
        if trouble.final:
            self._requests.end(_dead(health, trouble), trouble)
            return trouble
        self._wanted = self._next(health)
        name = (health.target or health.active or ModelStatus(self._wanted, ModelStage.QUEUED)).name
        target = ModelStatus(name=name, stage=ModelStage.QUEUED)
        self._requests.end(replace(health, active=None, target=target, running=0), trouble)
        return trouble

    def _next(self, health: EngineHealth) -> str:
        """What a new worker shall load: what was asked for last, or what answered if that had failed."""
        target, active = health.target, health.active
        if target is None or active is None or target.stage is not ModelStage.FAILED:
            return self._wanted
        if self._wanted.strip().lower() != catalog.AUTO and _name_of(self._wanted) != target.name:
            return self._wanted  # asked for after that failure, and the worker never came to it
        return self._names.get(active.name, active.name)


def _name_of(model: str) -> str:
    """What ``health`` calls a model that was asked for by this name."""
    try:
        return catalog.resolve(model).name
    except ModelLoadError:
        return Path(model).name


def restart_delay(first: float, deaths: int) -> float:
    """Seconds to wait before the next worker, after this many deaths of late."""
    return min(first * 2.0 ** (deaths - 1), LONGEST_DELAY)


def _dead(health: EngineHealth, trouble: Trouble | None) -> EngineHealth:
    """What is left when no worker will come any more."""
    target = health.target
    if trouble is not None:
        name = (target or health.active or ModelStatus("", ModelStage.NONE)).name
        target = ModelStatus(name, ModelStage.FAILED, note=trouble.sentence, error_code=trouble.code)
    return replace(health, alive=False, active=None, target=target, running=0)
