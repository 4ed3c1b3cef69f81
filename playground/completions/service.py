"""The use case of the OpenAI APIs: check, render, generate, count. Nothing here knows a wire format."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.errors import EngineUnavailable
from inference.harmony import HarmonyCodec
from inference.types import GenerationRequest, ModelStatus, SamplingParams
from playground.completions.replays import Replays
from playground.completions.request import CompletionRequest
from playground.completions.run import CompletionRun
from playground.errors import PlaygroundError, restarting
from playground.generation import GenerationEvent, Outcome
from playground.limits.allowance import Allowance, Places
from playground.limits.line import PromptThreads
from playground.limits.spent import utc_now
from playground.model_names import answers_to
from playground.recorder import ChannelTokens
from playground.turn_request import TurnLimits
from storage.errors import StorageError
from storage.records import new_id
from storage.store import Store

log = logging.getLogger(__name__)

CLOSE_SECONDS = 3.0
SMALLEST_TOP_P = 1e-6
"""Stands for 0: only the likeliest token is left."""


class Completion:
    """The accepted replies to one request, each to be followed once by ``follow``.

    The first one has its place. Those for which there was none wait for it once they are followed.
    ``stopped``: whoever asked may not ask any more.
    """

    def __init__(
        self, service: CompletionService, owner_id: str, model: ModelStatus, allowance: Allowance
    ) -> None:
        self._service = service
        self.owner_id = owner_id
        self.place = allowance.place_of(owner_id)
        self.model = model
        self.allowance = allowance
        self.runs: list[CompletionRun] = []
        self.stopped = False

    @property
    def sampling(self) -> SamplingParams:
        """What is in force, after the server's own limits."""
        return self.runs[0].request.sampling

    async def follow(self, run: CompletionRun) -> AsyncGenerator[GenerationEvent]:
        """The events of one reply. At their end, or when the reader leaves, it is counted."""
        try:
            await self._service.admit(self, run)
            async with aclosing(run.events()) as events:
                async for event in events:
                    if isinstance(event, Outcome):
                        self._service.ended(self, run)
                    yield event
        finally:
            self._service.ended(self, run)

    async def cancel(self) -> None:
        """End all replies early; whoever follows them gets the end."""
        for run in self.runs:
            await run.cancel()

    async def close(self) -> None:
        """Give up replies that are not followed, or not any more."""
        for run in self.runs:
            await run.close()
            self._service.ended(self, run)


class CompletionService:
    """Accepts requests and keeps count of their replies. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        codec: HarmonyCodec,
        places: Places,
        tokens: ChannelTokens,
        limits: TurnLimits,
        prompts: PromptThreads,
    ) -> None:
        self.date_told = limits.date_told
        self._store = store
        self._engine = engine
        self._codec = codec
        self._places = places
        self._tokens = tokens
        self._max_tokens = limits.max_tokens
        self.prompts = prompts
        self.replays = Replays()
        self._open: dict[str, Completion] = {}
        self._placed: set[str] = set()
        self._beginning: set[Completion] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stops = False

    @property
    def open_count(self) -> int:
        """How many replies are being written now, or are about to be."""
        return len(self._open)

    async def begin(self, owner_id: str, request: CompletionRequest, allowance: Allowance) -> Completion:
        """Check the request, wait for a place of the owner's, and give it to the engine.

        Raises:
            PlaygroundError: it cannot be taken, or is more than ``allowance`` allows and too many others of
                the owner's wait already.
            InferenceError: a message, a function or a schema is not allowed, or the engine refuses.
        """
        self._check_open()
        completion = Completion(self, owner_id, self._model(request.model), allowance)
        self._beginning.add(completion)
        try:
            return await self._begin(completion, request)
        finally:
            self._beginning.discard(completion)

    async def _begin(self, completion: Completion, request: CompletionRequest) -> Completion:
        owner_id, allowance = completion.owner_id, completion.allowance
        requests = await self.prompts.run(completion.place, self._requests, completion, request)
        functions = [tool.name for tool in request.prompt.tools]
        completion.runs = [
            CompletionRun(
                self._engine, self._codec, self._tokens, each, functions, request.stop, request.one_call
            )
            for each in requests
        ]
        await self._places.take(completion.place, allowance, self._engine.health().queue_limit)
        self._placed.add(requests[0].request_id)
        self._open.update(dict.fromkeys((each.request_id for each in requests), completion))
        self._idle.clear()
        try:
            await run_in_threadpool(self._places.check_tokens, self._store, owner_id, allowance)
            self._check_open()
            if completion.stopped:
                sentence = "Whoever asked may not ask here any more."
                raise PlaygroundError("not_allowed", sentence, status=403)
            for run in completion.runs:
                if not self._has_place(completion, run):
                    break
                if refused := await run.submit():
                    raise _refusal(refused)
        except BaseException:
            await completion.close()
            raise
        return completion

    async def admit(self, completion: Completion, run: CompletionRun) -> None:
        """Wait until there is a place for this reply, if it has none yet."""
        name = run.request.request_id
        if name in self._open and name not in self._placed:
            await self._places.take(completion.place, completion.allowance)
            self._placed.add(name)

    def ended(self, completion: Completion, run: CompletionRun) -> None:
        """One reply is over, however it ended; only the first call counts."""
        if self._open.pop(run.request.request_id, None) is None:
            return
        if run.request.request_id in self._placed:
            self._placed.remove(run.request.request_id)
            self._places.give_back(completion.place, completion.allowance)
        replay = run.replay()
        if replay is not None:
            self.replays.keep(completion.owner_id, replay)
        if run.began:
            self._places.count_tokens(completion.owner_id, completion.allowance, len(run.output_ids))
            self.spawn(self._count(completion.owner_id, len(run.output_ids)))
        if not self._open:
            self._idle.set()

    async def stop(self, matches: Callable[[Completion], bool]) -> None:
        """End every reply that is being written for those that ``matches`` picks; what waits never begins."""
        for completion in {each for each in (*self._open.values(), *self._beginning) if matches(each)}:
            completion.stopped = True
            await completion.cancel()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something that no reader's leaving stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Take nothing new, and wait until all replies have ended, but not for longer."""
        self._stops = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def close(self) -> None:
        """End every reply, and what still works on one."""
        self._stops = True
        for completion in set(self._open.values()):
            await completion.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _has_place(self, completion: Completion, run: CompletionRun) -> bool:
        """Whether this reply has a place, or there is one for it without waiting."""
        name = run.request.request_id
        if name not in self._placed and self._places.take_free(completion.place, completion.allowance):
            self._placed.add(name)
        return name in self._placed

    def _requests(self, completion: Completion, request: CompletionRequest) -> list[GenerationRequest]:
        """What the engine is given. Blocks: long prompts take a while to write."""
        model = completion.model
        prompt_ids = tuple(self._codec.render(request.prompt, model.context_length))
        room = self._max_tokens
        if model.context_length is not None:
            room = max(1, model.context_length - len(prompt_ids))
        constraint = self._codec.constraint(request.prompt, request.tool_choice)
        requests = []
        user_key = completion.allowance.user_key(completion.owner_id)
        for number in range(request.count):
            sampling = SamplingParams(
                temperature=request.temperature,
                top_p=max(request.top_p, SMALLEST_TOP_P),
                max_tokens=min(request.max_tokens or self._max_tokens, room),
                seed=None if request.seed is None else (request.seed + number) % 2**63,
                stop_token_ids=self._codec.STOP_TOKEN_IDS,
                logprobs=request.logprobs,
            )
            self._engine.check(len(prompt_ids), sampling)
            requests.append(
                GenerationRequest(new_id(), prompt_ids, sampling, user_key, model.name, constraint)
            )
        return requests

    def _model(self, wanted: str | None) -> ModelStatus:
        health = self._engine.health()
        if health.active is None or not health.alive:
            self._engine.check(1, SamplingParams(max_tokens=1))
            raise EngineUnavailable("The model is not ready yet. Try again in a moment.")
        if wanted is not None and not answers_to(health.active, wanted):
            raise PlaygroundError(
                "model_not_found",
                f"This server runs {health.active.name}, and not that model. Ask for it, or for default.",
                status=404,
                param="model",
            )
        return health.active

    def _check_open(self) -> None:
        if self._stops:
            raise restarting()

    async def _count(self, owner_id: str, tokens: int) -> None:
        """Add to what the owner has used today."""
        day = utc_now().date().isoformat()
        try:
            await run_in_threadpool(self._store.add_usage, owner_id, day, 1, tokens)
        except StorageError as error:
            log.warning("a reply could not be counted: %s", error.code)


def _refusal(outcome: Outcome) -> PlaygroundError:
    """What the engine said when it was given the request."""
    code = outcome.error_code or "engine_unavailable"
    status = {"queue_full": 429, "engine_unavailable": 503}.get(code, 400)
    return PlaygroundError(code, outcome.error or "", status=status, retry_after=5 if status == 429 else None)
