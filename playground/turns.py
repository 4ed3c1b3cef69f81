"""The use case: one turn = check, save the question, generate, save the answer.

``TurnService.start`` returns once the user's message and a queued generation are committed: that is the
acknowledgement. The reply itself is a task of the server, which no reader's coming or going stops. What
comes before the commit is the business of ``preparation``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.errors import InferenceError
from inference.harmony import HarmonyCodec
from inference.types import GenerationRequest
from playground import views
from playground.errors import PlaygroundError, restarting
from playground.functions import MOST_ROUNDS, Entered, Functions
from playground.generation import Outcome
from playground.limits.allowance import Allowance, Places
from playground.limits.room import Room
from playground.operator_functions import OperatorFunctions
from playground.preparation import Preparation, PreparedTurn
from playground.recorder import ChannelTokens
from playground.reply import Primed, Reply
from playground.rounds import Step, after, due, refused, too_many_rounds
from playground.runs import Run, RunRegistry
from playground.temporary import Chat, Stores
from playground.titles import Titles
from playground.turn_request import TurnLimits, TurnRequest, check_request
from playground.waiting import BUSY, Lines
from storage.errors import Conflict, NotFound, StorageError
from storage.records import GenerationRecord, GenerationStatus, MessageRecord, TurnRecord
from storage.store import Store

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
CLOSE_SECONDS = 3.0


class TurnService:
    """Starts, watches over and stops turns. Belongs to one event loop."""

    def __init__(
        self,
        stores: Stores,
        engine: Engine,
        codec: HarmonyCodec,
        runs: RunRegistry,
        limits: TurnLimits,
        operator: OperatorFunctions,
    ) -> None:
        self.stores = self._stores = stores
        self._engine = engine
        self._codec = codec
        self.preparation = Preparation(engine, codec, limits, operator.specs)
        self.functions = Functions(operator)
        self.runs = runs
        self.limits = limits
        self.tokens = ChannelTokens()
        self.titles = Titles(engine, codec, runs)
        self.places = Places()
        self._lines = Lines()
        self._deleting: set[tuple[str, str]] = set()
        self._starting: dict[tuple[str, str], asyncio.Task[TurnRecord]] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._titling: set[asyncio.Task[object]] = set()
        self._closing = asyncio.Event()
        self._draining = False

    @property
    def task_count(self) -> int:
        """How many tasks work on replies now."""
        return len(self._tasks)

    async def start(self, owner_id: str, request: TurnRequest, room: Room) -> TurnRecord:
        """Check, save and begin one turn; with ``wait`` once the conversation has answered.

        Raises:
            PlaygroundError: the request cannot be taken, or it is more than ``room`` allows.
            RequestRefused: the engine would not take the prompt. Nothing was saved.
            StorageError: the conversation is not there, still answers, or cannot be saved.
        """
        check_request(request, self.limits)
        # A reader that leaves now must not part the acknowledgement from the run.
        turn = await asyncio.shield(self._task_of(owner_id, request, room))
        store = self._stores.of(turn.conversation.id)
        question = await run_in_threadpool(_in_tree, store, owner_id, turn)
        return dataclasses.replace(turn, user_message=question)

    def _task_of(self, owner_id: str, request: TurnRequest, room: Room) -> asyncio.Task[TurnRecord]:
        """What starts this turn; the same request that comes twice gets the same task."""
        if request.client_id is None:
            return self._spawn(self._start(owner_id, request, room))
        key = (owner_id, request.client_id)
        if key not in self._starting:
            self._starting[key] = self._spawn(self._start(owner_id, request, room))
            self._starting[key].add_done_callback(lambda _: self._starting.pop(key, None))
        return self._starting[key]

    async def cancel(self, owner_id: str, generation_id: str) -> tuple[GenerationRecord, bool]:
        """Ask the owner's run to stop; its text is kept. Returns the generation and whether it was running.

        Raises:
            NotFound: there is no such generation of this owner.
        """
        store = self._stores.of(generation_id)
        generation = await run_in_threadpool(store.get_generation, owner_id, generation_id)
        run = self.runs.get(owner_id, generation_id)
        if run is None or run.finished:
            return generation, False
        await self._stop(run)
        return generation, True

    async def delete_conversation(self, owner_id: str, conversation_id: str) -> None:
        """Stop the conversation's open run, if it has one, and delete it once that has ended.

        Raises:
            NotFound: there is no such conversation of this owner.
        """
        store = self._stores.of(conversation_id)
        await run_in_threadpool(store.get_conversation, owner_id, conversation_id)
        key = (owner_id, conversation_id)
        self._deleting.add(key)
        try:
            await self._stop_all(*key)
            await run_in_threadpool(store.delete_conversation, owner_id, conversation_id)
            await self._stop_all(*key)  # one that was being begun meanwhile
        finally:
            self._deleting.discard(key)
        self.runs.forget_conversation(*key)
        self._stores.forget(Chat(*key))

    async def expire_temporary(self) -> None:
        """Remove the temporary chats whose time is over, with the replies that run there."""
        for chat in self._stores.due():
            with contextlib.suppress(NotFound):  # deleted by hand before
                await self.delete_conversation(chat.owner_id, chat.conversation_id)
            self._stores.forget(chat)

    @property
    def open_count(self) -> int:
        """How many replies run or wait now."""
        return len(self.runs.find_open(lambda run: not run.finished))

    @property
    def _stops(self) -> bool:
        return self._draining or self._closing.is_set()

    async def drain(self, seconds: float) -> None:
        """Take no new turns, and wait until the replies that run or wait have ended, but not for longer."""
        self._draining = True
        for task in self._titling:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while open_runs := self.runs.find_open(lambda run: not run.finished):
                    await open_runs[0].done.wait()

    async def close(self) -> None:
        """End every run as interrupted, with its text saved; then forget all of them."""
        self._closing.set()
        for task in self._titling:
            task.cancel()
        for run in self.runs.find_open(lambda run: not run.finished):
            await self._stop(run)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._titling:
            await asyncio.wait(self._titling)
        self.runs.close()

    async def _start(self, owner_id: str, request: TurnRequest, room: Room) -> TurnRecord:
        self._check_open()
        if request.conversation_id is None:
            store = self._stores.kept
            if request.temporary:
                store = await run_in_threadpool(self._stores.in_memory, owner_id)
            earlier = await self._earlier(store, owner_id, request)
            return earlier or await self._begin(store, owner_id, request, room)
        store = self._stores.of(request.conversation_id)
        key = (owner_id, request.conversation_id)
        try:
            ticket = self._lines.join(key, patient=request.wait)
        except Conflict:
            if earlier := await self._earlier(store, owner_id, request):
                return earlier
            raise
        try:
            # Before all checks: what was taken once stays taken, whatever has become of the model since.
            if earlier := await self._earlier(store, owner_id, request):
                return earlier
            await ticket.turn()
            while request.wait and (open_runs := self._open_runs(*key)):
                await open_runs[0].done.wait()
            return await self._begin(store, owner_id, request, room)
        finally:
            ticket.leave()

    async def _earlier(self, store: Store, owner_id: str, request: TurnRequest) -> TurnRecord | None:
        """What the same request began before."""
        if request.client_id is None:
            return None
        return await run_in_threadpool(store.find_turn, owner_id, request.client_id)

    async def _begin(self, store: Store, owner_id: str, request: TurnRequest, room: Room) -> TurnRecord:
        allowance = room.allowance
        await run_in_threadpool(room.check_turn, request)
        with contextlib.ExitStack() as place:
            place.enter_context(self.places.one(owner_id, allowance))
            await run_in_threadpool(self.places.check_tokens, self._stores.kept, owner_id, allowance)
            prepared = await self.preparation.prompts.run(owner_id, self._prepare, store, owner_id, request)
            self._check_open()
            if (owner_id, request.conversation_id) in self._deleting:
                raise NotFound
            turn = await run_in_threadpool(prepared.begin, store, owner_id)
            self._stores.use(owner_id, turn.conversation.id)
            if not turn.existing:
                room.count_turn(request, turn)
                step = Step(self._open(owner_id, turn, allowance.key), turn, prepared)
                replying = self._spawn(self._reply(store, step, allowance))
                leave = place.pop_all().close
                replying.add_done_callback(lambda _: leave())
        return turn

    def _check_open(self) -> None:
        if self._stops:
            raise restarting()

    def _prepare(self, store: Store, owner_id: str, request: TurnRequest) -> PreparedTurn:
        # Before the path is read: a reply that ends meanwhile would stand in the prompt by half.
        known = request.conversation_id
        if known and request.continue_of is None and store.open_generation(owner_id, known) is not None:
            raise Conflict(BUSY)
        preferences = self._stores.kept.get_preferences(owner_id)
        return self.preparation.prepare(store, owner_id, preferences, request)

    async def _stop_all(self, owner_id: str, conversation_id: str) -> None:
        for run in self._open_runs(owner_id, conversation_id):
            await self._stop(run)
            await run.done.wait()

    def _open_runs(self, *key: str) -> list[Run]:
        return self.runs.find_open(
            lambda run: not run.finished and (run.owner_id, run.conversation_id) == key
        )

    def _open(self, owner_id: str, turn: TurnRecord, key: str) -> Run:
        run = self.runs.open(owner_id, turn.generation.id, turn.generation.conversation_id, key)
        if turn.tool_messages:
            run.publish("results", {"messages": [views.message(each) for each in turn.tool_messages]})
        return run

    async def _reply(self, store: Store, step: Step | None, allowance: Allowance) -> None:
        """All replies of a turn that follow one another without a person."""
        while step is not None:
            step = await self._generate(store, step, allowance)

    async def _generate(self, store: Store, step: Step, allowance: Allowance) -> Step | None:
        """The whole life of one run, to the ``finish`` event; and the reply that goes on from its calls."""
        run, turn, prepared = step.run, step.turn, step.prepared
        generation = turn.generation
        request = GenerationRequest(
            generation.id,
            prepared.prompt.ids + prepared.primed_ids,
            prepared.sampling,
            user_key=allowance.user_key(run.owner_id),
            model=generation.model,
            constraint=prepared.constraint,
        )
        primed = Primed(prepared.primed_ids, prepared.reasoning_seconds)
        reply = Reply(run, generation, store, self.tokens, primed, prepared.response_format)
        outcome = await reply.generate(self._engine, self._codec.parser(tools=prepared.functions), request)
        self.places.count_tokens(run.owner_id, allowance, reply.written)
        if self._closing.is_set() and outcome.status is GenerationStatus.CANCELLED:
            outcome = dataclasses.replace(outcome, status=GenerationStatus.INTERRUPTED)
        outcome, following = await self._run_functions(store, step, reply, outcome, allowance)
        saved = False
        try:
            record = await run_in_threadpool(reply.save_end, outcome)
            saved = True
            await run_in_threadpool(self._stores.count_temporary, store, run.owner_id, generation.id)
        except NotFound:  # the conversation was deleted meanwhile
            record = reply.unsaved(outcome)
        except StorageError as error:
            log.error("generation %s could not be saved: %s", generation.id, error.code)
            record = dataclasses.replace(reply.unsaved(outcome), error=str(error), error_code=error.code)
            if not self._closing.is_set():
                self._spawn(self._save_later(reply, outcome))
        self._stores.use(run.owner_id, run.conversation_id)
        run.finish(views.generation(record, after(outcome, reply.messages, following)))
        self.runs.keep_finished(run)
        if saved and not self._stops and self.titles.wanted(turn, record):
            task = asyncio.create_task(self.titles.make(store, run.owner_id, turn, request.user_key))
            self._titling.add(task)
            task.add_done_callback(self._titling.discard)
        if following is not None and run.cancel_requested:  # the wish came while the next one was begun
            await self._stop(following.run)
        return following

    async def _run_functions(
        self, store: Store, step: Step, reply: Reply, outcome: Outcome, allowance: Allowance
    ) -> tuple[Outcome, Step | None]:
        """Let the server's functions answer the calls of a reply; where all have results, begin the next.

        Whatever hinders that leaves the calls waiting, and ``error`` of the outcome says why.
        """
        run, prepared, prompts = step.run, step.prepared, self.preparation.prompts
        calls, others = due(outcome, reply.messages, prepared.answered)
        if not calls or run.cancel_requested:
            return outcome, None
        if step.round >= MOST_ROUNDS:
            return refused(outcome, too_many_rounds()), None
        try:
            await run_in_threadpool(reply.save_calls, outcome)
            texts = await self.functions.results(run, calls)
            if texts is None:
                return outcome, None
            if others:
                reply.add_results([call.result(text) for call, text in zip(calls, texts, strict=True)])
                return outcome, None
            entered = tuple(Entered(call.message_id, text) for call, text in zip(calls, texts, strict=True))
            begun = await prompts.run(run.owner_id, self._go_on, store, step, entered, allowance)
            if begun is None:
                return outcome, None
            return outcome, Step(self._open(run.owner_id, begun[0], run.key), *begun, round=step.round + 1)
        except (PlaygroundError, InferenceError, StorageError) as error:
            return refused(outcome, error), None

    def _go_on(
        self, store: Store, step: Step, results: tuple[Entered, ...], allowance: Allowance
    ) -> tuple[TurnRecord, PreparedTurn] | None:
        """Commit the reply that goes on from these results. Blocks."""
        run = step.run
        request = TurnRequest(
            conversation_id=run.conversation_id, results=results, settings=step.prepared.settings
        )
        with run.owner.lock:
            self.places.check_tokens(self._stores.kept, run.owner_id, allowance)
            preferences = self._stores.kept.get_preferences(run.owner_id)
            prepared = self.preparation.prepare(store, run.owner_id, preferences, request)
            if run.cancel_requested:
                return None
            return prepared.begin(store, run.owner_id), prepared

    async def _save_later(self, reply: Reply, outcome: Outcome) -> None:
        """Try until the end of a reply is saved, without which its conversation stays locked.

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


def _in_tree(store: Store, owner_id: str, turn: TurnRecord) -> MessageRecord:
    """The question with its siblings and replies."""
    with contextlib.suppress(StorageError):  # deleted meanwhile; or unreadable, but it is committed
        return store.path(owner_id, turn.conversation.id, leaf_id=turn.user_message.id)[-1]
    return turn.user_message
