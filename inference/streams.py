"""The open requests of an engine: each one's events on their way from the worker to its reader."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from inference.errors import EngineUnavailable, InvalidRequest, QueueFull
from inference.transport import Life
from inference.types import (
    EngineHealth,
    FinishReason,
    GenerationRequest,
    ModelStatus,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.worker.messages import Command, Events, Limits, Report, State, Submit

logger = logging.getLogger(__name__)

SHARE = 3
"""How many places one user may hold for each that is still free: three in four, and never all."""

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why no worker answers, told to open requests and to new ones; ``final``: it will not pass."""

    sentence: str
    final: bool = False
    code: str = "engine_died"


class TokenStream:
    """The events of one request. A slow reader finds its tokens joined, and holds nobody back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[TokenEvent] = deque()
        self._waiter: Waiter | None = None
        self._ended = False

    def push(self, event: TokenEvent) -> Waiter | None:
        """Add an event, from any thread. Gives the reader that waits for it, which must be woken."""
        with self._lock:
            self._events.append(event)
            waiter, self._waiter = self._waiter, None
        return waiter

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
        ids, scores = list(event.token_ids), list(event.logprobs)
        while self._events and isinstance(self._events[0], TokensGenerated):
            following = self._events.popleft()
            if isinstance(following, TokensGenerated):
                ids.extend(following.token_ids)
                scores.extend(following.logprobs)
        return TokensGenerated(event.request_id, tuple(ids), tuple(scores))


class OpenRequests:
    """Every request that has not had its last event, and the one worker that may speak about them.

    What another worker than the present one reports is dropped: it was given up, and may still be alive. All
    methods may be called from any thread.
    """

    def __init__(self, queue_limit: int, target: ModelStatus) -> None:
        self._queue_limit = queue_limit
        self._lock = threading.Lock()
        self._streams: dict[str, TokenStream] = {}
        self._users: dict[str, str] = {}
        self._held: Counter[str] = Counter()  # open requests, by user
        self._waiting: dict[str, None] = {}
        self._life: Life | None = None
        self._state = State(EngineHealth(alive=True, active=None, target=target, queue_limit=queue_limit))
        self._trouble: Trouble | None = None
        self._restarts = 0

    def health(self) -> EngineHealth:
        """The latest state, with why it is not a better one in the note of the model that is awaited."""
        with self._lock:
            health, trouble = self._state.health, self._trouble
            restarts, waiting = self._restarts, len(self._waiting)
        target, metrics = health.target, health.metrics
        if trouble is not None and target is not None and not target.note:
            target = replace(target, note=trouble.sentence)
        if metrics is not None:
            metrics = replace(metrics, restarts=restarts)
        return replace(health, target=target, metrics=metrics, waiting=waiting)

    def limits(self, model: str) -> Limits | None:
        """The limits of a model that answers, or ``None`` when there is no such one."""
        return self._state.limits.get(model)

    @property
    def closed(self) -> str:
        """Why the worker gave up its model, as a sentence for new requests; empty when it did not."""
        return self._state.closed

    @property
    def trouble(self) -> Trouble | None:
        """What happened to the last worker, until a model answers again."""
        return self._trouble

    def open(self, request: GenerationRequest, model: str) -> TokenStream:
        """Send a request, which was checked, to the worker.

        Raises:
            RequestRefused: its id is taken, the queue is full, this user's share of it is used up, or the
                worker has just gone.
        """
        now = time.monotonic()
        with self._lock:
            if self._life is None:
                raise EngineUnavailable(
                    self._trouble.sentence if self._trouble else "The model is not running any more."
                )
            if request.request_id in self._streams:
                raise InvalidRequest("A request with this id is still running.")
            free = self._queue_limit + self._state.max_running - len(self._streams)
            if free <= 0 or self._held[request.user_key] >= SHARE * free:
                waiting = len(self._waiting)
                raise QueueFull(f"The model is busy: {waiting} requests are waiting. Try again in a moment.")
            self._life.send(Submit(request, model, now))
            stream = self._streams[request.request_id] = TokenStream()
            self._users[request.request_id] = request.user_key
            self._held[request.user_key] += 1
            self._waiting[request.request_id] = None
        return stream

    def has(self, request_id: str) -> bool:
        """Whether this request still waits for its last event."""
        with self._lock:
            return request_id in self._streams

    def send(self, command: Command) -> None:
        """Send a command to the worker, if there is one."""
        with self._lock:
            if self._life is not None:
                self._life.send(command)

    def begin(self, life: Life) -> None:
        """From now on this worker is the one."""
        with self._lock:
            self._life = life

    def hear(self, life: Life, report: Report) -> None:
        """Take in what a worker says."""
        waiters: list[Waiter | None] = []
        with self._lock:
            if life is not self._life:
                return
            match report:
                case State():
                    self._state = report
                    if report.health.active is not None or report.closed:
                        self._trouble = None
                case Events(events):
                    waiters = [self._pass_on(event) for event in events]
        _wake(waiters)

    def end(self, health: EngineHealth, trouble: Trouble | None) -> None:
        """The worker is gone: every open request gets its last event, and no new one is taken.

        ``trouble`` of ``None`` means that this was wanted.
        """
        reason = FinishReason.CANCELLED if trouble is None else FinishReason.ERROR
        error, code = (None, None) if trouble is None else (trouble.sentence, trouble.code)
        with self._lock:
            self._life = None
            self._state = State(replace(health, queue_limit=self._queue_limit))
            self._trouble = trouble
            self._restarts += trouble is not None and health.alive
            ends = [
                TokensFinished(request_id, reason, Usage(), Timings(), error, code)
                for request_id in self._streams
            ]
            waiters = [self._pass_on(event) for event in ends]
        _wake(waiters)

    def _pass_on(self, event: TokenEvent) -> Waiter | None:
        """Hand an event to the request's reader; the lock is held."""
        if isinstance(event, TokensStarted | TokensFinished):
            self._waiting.pop(event.request_id, None)
        stream = self._streams.get(event.request_id)
        if isinstance(event, TokensFinished):
            self._streams.pop(event.request_id, None)
            self._leave(event.request_id)
        return stream.push(event) if stream is not None else None

    def _leave(self, request_id: str) -> None:
        """Give back the place of a request that is over; the lock is held."""
        user = self._users.pop(request_id, None)
        if user is not None:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]


def _wake(waiters: Iterable[Waiter | None]) -> None:
    """Let readers go on: one call into each event loop, however many wait there."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if waiter is not None:
            loops.setdefault(waiter[0], []).append(waiter[1])
    for loop, futures in loops.items():
        try:
            loop.call_soon_threadsafe(_finish, futures)
        except RuntimeError:
            logger.debug("A reader's event loop is closed; its events are dropped.")


def _finish(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
