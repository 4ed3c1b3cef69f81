"""The engine's border: ids in, ids out. This side runs in the web's event loop and never imports torch."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from inference.catalog import AUTO, resolve
from inference.errors import EngineUnavailable, InvalidRequest, PromptTooLong, QueueFull
from inference.types import (
    EngineHealth,
    FinishReason,
    GenerationRequest,
    ModelStage,
    ModelStatus,
    SamplingParams,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.worker.messages import Board, Cancel, Close, EngineConfig, Limits, Load, Submit

if TYPE_CHECKING:
    from inference.worker.main import Command

__all__ = ["Engine", "EngineConfig", "LocalEngine"]

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 10.0
MAX_SEED = 2**63 - 1


class Engine(Protocol):
    """Anything that continues token ids: this process's worker, another process, a remote server."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Accept a request; its events end with exactly one ``TokensFinished``.

        Raises:
            RequestRefused: at once, and then nothing was started.
        """
        ...

    def check(self, prompt_tokens: int, sampling: SamplingParams) -> None:
        """Raise what ``submit`` would for a prompt of this length; the queue is not looked at."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """End a request early; it still gets its last event. False when there is no such request."""
        ...

    async def load(self, model: str) -> None:
        """Begin to load another model; ``health`` shows how far it is.

        Raises:
            ModelLoadError: the name means nothing.
        """
        ...

    def health(self) -> EngineHealth:
        """What the engine is doing now."""
        ...

    async def close(self) -> None:
        """End every request as cancelled and stop."""
        ...


class TokenStream:
    """The events of one request. A slow reader finds its tokens joined, and holds nobody back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[TokenEvent] = deque()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._ended = False

    def push(self, event: TokenEvent) -> None:
        """Add an event; called by the worker's thread. The reader is woken only if it waits."""
        with self._lock:
            self._events.append(event)
            waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        loop, future = waiter
        try:
            loop.call_soon_threadsafe(_wake, future)
        except RuntimeError:
            logger.debug("A reader's event loop is closed; its events are dropped.")

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> TokenEvent:
        while True:
            if self._ended:
                raise StopAsyncIteration
            with self._lock:
                event = self._take()
                if event is None:
                    loop = asyncio.get_running_loop()
                    future: asyncio.Future[None] = loop.create_future()
                    self._waiter = (loop, future)
            if event is not None:
                self._ended = isinstance(event, TokensFinished)
                return event
            await future

    def _take(self) -> TokenEvent | None:
        """The next event; neighbouring tokens come as one."""
        if not self._events:
            return None
        event = self._events.popleft()
        if not isinstance(event, TokensGenerated):
            return event
        ids = list(event.token_ids)
        while self._events and isinstance(self._events[0], TokensGenerated):
            following = self._events.popleft()
            if isinstance(following, TokensGenerated):
                ids.extend(following.token_ids)
        return TokensGenerated(event.request_id, tuple(ids))


class LocalEngine:
    """An engine whose worker is a thread of this process. ``start`` it before use."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        target = ModelStatus(name=_shown(config.model), stage=ModelStage.QUEUED)
        self._board = Board(config.queue_limit, target)
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._streams: dict[str, TokenStream] = {}
        self._waiting: dict[str, tuple[float, int]] = {}
        self._alive = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="inference-worker", daemon=True)

    def start(self) -> None:
        """Start the worker; it imports torch and loads the configured model."""
        self._thread.start()

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """See ``Engine.submit``."""
        active = self._active(request.model)
        limits = self._limits(active)
        _check_ids(request, limits)
        _check_lengths(len(request.prompt_ids), request.sampling, limits)
        _check_sampling(request.sampling, limits)
        stream = TokenStream()
        now = time.monotonic()
        with self._lock:
            if not self._alive:
                raise EngineUnavailable("The model stopped working. Restart the app.")
            if request.request_id in self._streams:
                raise InvalidRequest("A request with this id is still running.")
            if len(self._streams) >= self._config.queue_limit + self._board.max_running:
                waiting = len(self._waiting)
                raise QueueFull(f"The model is busy: {waiting} requests are waiting. Try again in a moment.")
            self._streams[request.request_id] = stream
            self._waiting[request.request_id] = (now, len(request.prompt_ids))
            self._commands.put(Submit(request, active, now))
        return stream

    def check(self, prompt_tokens: int, sampling: SamplingParams) -> None:
        """See ``Engine.check``."""
        limits = self._limits(self._active(None))
        _check_lengths(prompt_tokens, sampling, limits)
        _check_sampling(sampling, limits)

    async def cancel(self, request_id: str) -> bool:
        """See ``Engine.cancel``."""
        with self._lock:
            known = request_id in self._streams
        if known:
            self._commands.put(Cancel(request_id))
        return known

    async def load(self, model: str) -> None:
        """See ``Engine.load``."""
        if model.strip().lower() != AUTO:
            resolve(model)
        self._commands.put(Load(model))

    def health(self) -> EngineHealth:
        """See ``Engine.health``."""
        return replace(self._board.health(), waiting=len(self._waiting))

    async def close(self) -> None:
        """See ``Engine.close``. The wait has an end: a model that is just being loaded may outlive it."""
        self._closing.set()
        self._commands.put(Close())
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT)
        self._end_all(FinishReason.CANCELLED)

    def _active(self, model: str | None) -> str:
        """The name of the model that would answer."""
        health = self._board.health()
        if not health.alive:
            raise EngineUnavailable("The model stopped working. Restart the app.")
        if model is not None:
            return model
        if health.active is not None:
            return health.active.name
        if health.target is not None and health.target.stage is ModelStage.FAILED:
            raise EngineUnavailable("No model could be loaded, so there is nothing to answer.")
        raise EngineUnavailable("The model is still being loaded. Try again in a moment.")

    def _limits(self, model: str) -> Limits:
        limits = self._board.limits(model)
        if limits is None:
            raise EngineUnavailable("This model is not loaded.")
        return limits

    def _work(self) -> None:
        """The worker's thread: torch comes in here and nowhere earlier."""
        reason = FinishReason.ERROR
        try:
            if not self._closing.wait(self._config.start_delay):
                from inference.worker.main import Worker

                Worker(self._config, self._commands, self._board, self._dispatch).run()
            reason = FinishReason.CANCELLED
        except BaseException:
            logger.exception("The inference worker died.")
        finally:
            self._end_all(reason)

    def _dispatch(self, event: TokenEvent) -> None:
        """Hand an event from the worker to the request's reader."""
        with self._lock:
            if isinstance(event, TokensStarted | TokensFinished):
                self._waiting.pop(event.request_id, None)
            stream = self._streams.get(event.request_id)
            if isinstance(event, TokensFinished):
                self._streams.pop(event.request_id, None)
        if stream is not None:
            stream.push(event)

    def _end_all(self, reason: FinishReason) -> None:
        """Nothing runs any more: every open request gets its last event, and no new one is taken."""
        with self._lock:
            self._alive = False
            self._board.set_dead()
            streams, self._streams = self._streams, {}
            self._waiting.clear()
        died = reason is FinishReason.ERROR
        for request_id, stream in streams.items():
            stream.push(
                TokensFinished(
                    request_id,
                    reason,
                    Usage(),
                    Timings(),
                    "The model stopped working while it answered. Restart the app." if died else None,
                    "engine_died" if died else None,
                )
            )


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _shown(name: str) -> str:
    """A name for people: of a folder its last part only."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _check_ids(request: GenerationRequest, limits: Limits) -> None:
    ids = request.prompt_ids
    if not request.request_id:
        raise InvalidRequest("A request needs an id.")
    if not ids:
        raise InvalidRequest("The prompt is empty.")
    # type() and not isinstance(): True is an int, too, and no token.
    if any(type(token) is not int for token in ids) or min(ids) < 0 or max(ids) >= limits.vocab_size:
        raise InvalidRequest("The prompt holds ids that are not in the model's vocabulary.")


def _check_lengths(prompt_tokens: int, sampling: SamplingParams, limits: Limits) -> None:
    if type(sampling.max_tokens) is not int or sampling.max_tokens < 1:
        raise InvalidRequest("max_tokens must be a whole number of at least 1.")
    if prompt_tokens >= limits.context_length:
        raise PromptTooLong(
            f"With this message the conversation has {prompt_tokens:,} tokens, and the model holds "
            f"{limits.context_length:,}. Shorten the message, or start a new conversation."
        )
    if prompt_tokens + sampling.max_tokens > limits.context_length:
        raise PromptTooLong(
            f"The conversation has {prompt_tokens} tokens, and with a reply of up to {sampling.max_tokens} "
            f"it does not fit into the model's {limits.context_length}."
        )


def _check_sampling(sampling: SamplingParams, limits: Limits) -> None:
    if not _is_number(sampling.temperature) or not 0 <= sampling.temperature <= 2:
        raise InvalidRequest("The temperature must be a number from 0 to 2.")
    if not _is_number(sampling.top_p) or not 0 < sampling.top_p <= 1:
        raise InvalidRequest("top_p must be a number above 0 and at most 1.")
    seed = sampling.seed
    if seed is not None and (type(seed) is not int or not 0 <= seed <= MAX_SEED):
        raise InvalidRequest("The seed must be a whole number from 0 to 9223372036854775807.")
    if any(type(token) is not int or not 0 <= token < limits.vocab_size for token in sampling.stop_token_ids):
        raise InvalidRequest("A stop id is not in the model's vocabulary.")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and math.isfinite(value)
