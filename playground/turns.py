"""The use case: one turn = check, save the question, generate, save the answer.

``TurnService.start`` returns once the user's message and a queued generation are committed: that is the
acknowledgement. The reply itself is a task of the server, which no reader's coming or going stops.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.errors import EngineUnavailable
from inference.harmony import HarmonyCodec
from inference.types import (
    GenerationRequest,
    Message,
    ModelStatus,
    Prompt,
    ReasoningEffort,
    Role,
    SamplingParams,
)
from playground import views
from playground.recorder import ChannelTokens
from playground.reply import Outcome, Reply
from playground.runs import Run, RunRegistry
from playground.text import check_message, title_from
from storage.errors import NotFound, StorageError
from storage.records import GenerationRecord, GenerationStatus, TurnRecord
from storage.store import Store

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of a turn: characters of a message, and tokens of a reply that names no limit of its own."""

    message_chars: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a person asks for. No conversation: a new one. No parent: continue at the current leaf."""

    text: str
    conversation_id: str | None = None
    parent_id: str | None = None
    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    client_id: str | None = None


class TurnService:
    """Starts, watches over and stops turns. Belongs to one event loop."""

    def __init__(
        self, store: Store, engine: Engine, codec: HarmonyCodec, runs: RunRegistry, limits: TurnLimits
    ) -> None:
        self._store = store
        self._engine = engine
        self._codec = codec
        self.runs = runs
        self.limits = limits
        self.tokens = ChannelTokens()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closing = asyncio.Event()

    @property
    def task_count(self) -> int:
        """How many tasks work on replies now."""
        return len(self._tasks)

    async def start(self, owner_id: str, request: TurnRequest) -> TurnRecord:
        """Check, save and begin one turn.

        Raises:
            PlaygroundError: the text cannot be taken.
            RequestRefused: the engine would not take the prompt. Nothing was saved.
            StorageError: the conversation is not there, still answers, or cannot be saved.
        """
        text = check_message(request.text, self.limits.message_chars)
        request = dataclasses.replace(request, text=text)
        # A reader that leaves now must not part the acknowledgement from the run.
        return await asyncio.shield(self._spawn(self._start(owner_id, request)))

    async def cancel(self, owner_id: str, generation_id: str) -> tuple[GenerationRecord, bool]:
        """Ask the owner's run to stop; its text is kept. Returns the generation and whether it was running.

        Raises:
            NotFound: there is no such generation of this owner.
        """
        generation = await run_in_threadpool(self._store.get_generation, owner_id, generation_id)
        run = self.runs.get(owner_id, generation_id)
        if run is None or run.finished:
            return generation, False
        await self._stop(run)
        return generation, True

    async def stop_conversation(self, owner_id: str, conversation_id: str) -> None:
        """Stop the conversation's open run, if it has one, and wait until it has ended."""
        for run in self.runs.find_open(
            lambda run: run.owner_id == owner_id and run.conversation_id == conversation_id
        ):
            await self._stop(run)
            await run.done.wait()

    async def close(self) -> None:
        """End every run as interrupted, with its text saved; then forget all of them."""
        self._closing.set()
        for run in self.runs.find_open(lambda run: not run.finished):
            await self._stop(run)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5.0)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self.runs.close()

    async def _start(self, owner_id: str, request: TurnRequest) -> TurnRecord:
        if self._closing.is_set():
            raise EngineUnavailable("The server is stopping. Try again in a moment.")
        if request.client_id is not None:
            # Before all checks: what was taken once stays taken, whatever has become of the model since.
            earlier = await run_in_threadpool(self._store.find_turn, owner_id, request.client_id)
            if earlier is not None:
                return earlier
        model = self._model()
        prompt, leaf_id = await run_in_threadpool(self._prompt, owner_id, request)
        prompt_ids = tuple(await run_in_threadpool(self._codec.render, prompt))
        sampling = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=self._max_tokens(request, model, len(prompt_ids)),
            seed=request.seed,
            stop_token_ids=self._codec.STOP_TOKEN_IDS,
        )
        self._engine.check(len(prompt_ids), sampling)
        turn = await run_in_threadpool(
            self._store.begin_turn,
            owner_id,
            conversation_id=request.conversation_id,
            parent_id=request.parent_id,
            expected_leaf_id=leaf_id,
            text=request.text,
            title=title_from(request.text),
            effort=request.effort,
            sampling=sampling,
            model=model.name,
            prompt_ids=prompt_ids,
            client_id=request.client_id,
        )
        if not turn.existing:
            generation = turn.generation
            run = self.runs.open(owner_id, generation.id, generation.conversation_id)
            self._spawn(self._generate(run, generation, prompt_ids, sampling))
        return turn

    def _prompt(self, owner_id: str, request: TurnRequest) -> tuple[Prompt, str | None]:
        """What the model reads, from the database alone, and the leaf that it was read at."""
        instructions: str | None = None
        leaf_id: str | None = None
        messages: list[Message] = []
        if request.conversation_id is not None:
            conversation = self._store.get_conversation(owner_id, request.conversation_id)
            instructions, leaf_id = conversation.instructions, conversation.leaf_id
            path = self._store.path(owner_id, conversation.id, leaf_id=request.parent_id or leaf_id)
            messages = [record.message for record in path]
        messages.append(Message(Role.USER, request.text))
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        prompt = Prompt(messages, request.effort, instructions or None, current_date=today)
        return prompt, leaf_id

    def _model(self) -> ModelStatus:
        """What answers now; without one the engine says in its own words why not."""
        health = self._engine.health()
        if health.active is None or not health.alive:
            self._engine.check(1, SamplingParams(max_tokens=1))
            raise EngineUnavailable("The model is not ready yet. Try again in a moment.")
        return health.active

    def _max_tokens(self, request: TurnRequest, model: ModelStatus, prompt_tokens: int) -> int:
        """The limit asked for, or what the context still holds up to the default."""
        if request.max_tokens is not None:
            return request.max_tokens
        room = (model.context_length or self.limits.max_tokens + prompt_tokens) - prompt_tokens
        return max(1, min(self.limits.max_tokens, room))

    async def _generate(
        self,
        run: Run,
        generation: GenerationRecord,
        prompt_ids: tuple[int, ...],
        sampling: SamplingParams,
    ) -> None:
        """The whole life of one run; always ends with the ``finish`` event."""
        request = GenerationRequest(
            generation.id, prompt_ids, sampling, user_key=run.owner_id, model=generation.model
        )
        reply = Reply(run, generation, self._store, self.tokens)
        outcome = await reply.generate(self._engine, self._codec.parser(), request)
        if self._closing.is_set() and outcome.status is GenerationStatus.CANCELLED:
            outcome = dataclasses.replace(outcome, status=GenerationStatus.INTERRUPTED)
        try:
            record = await run_in_threadpool(reply.save_end, outcome)
        except NotFound:  # the conversation was deleted meanwhile
            record = reply.unsaved(outcome)
        except StorageError as error:
            log.error("generation %s could not be saved: %s", generation.id, error.code)
            record = dataclasses.replace(reply.unsaved(outcome), error=str(error), error_code=error.code)
            if not self._closing.is_set():
                self._spawn(self._save_later(reply, outcome))
        run.finish(views.generation(record))
        self.runs.keep_finished(run)

    async def _save_later(self, reply: Reply, outcome: Outcome) -> None:
        """Try again until the end of a reply is saved; otherwise its conversation would stay locked.

        A server that stops tries one last time, at once.
        """
        wait = FIRST_RETRY_SECONDS
        last = False
        while not last:
            try:
                async with asyncio.timeout(wait):
                    last = await self._closing.wait()
            except TimeoutError:
                wait = min(2 * wait, LAST_RETRY_SECONDS)
            try:
                await run_in_threadpool(reply.save_end, outcome)
            except NotFound:
                return
            except StorageError:
                continue
            return

    async def _stop(self, run: Run) -> None:
        """Ask the engine to end this run; before it was submitted, the wish waits in ``cancel_requested``."""
        run.cancel_requested = True
        await self._engine.cancel(run.generation_id)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that is held until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
