"""One reply from the engine to the database: token ids become text, text is saved at least once a second.

A ``Reply`` never raises for what the model or the engine do: whatever happens ends in an ``Outcome``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.grammar import matches
from inference.harmony_stream import StreamParser
from inference.types import Channel, GenerationRequest, Message, ResponseFormat, TokensStarted
from playground.generation import BROKEN, Outcome, Portion, Queued, generate
from playground.recorder import ChannelTokens, Recorder
from playground.runs import Run
from storage.errors import StorageError
from storage.records import GenerationRecord, GenerationStatus, MessageDraft, new_id
from storage.store import Store

log = logging.getLogger(__name__)

SAVE_SECONDS = 0.3
LONGEST_SAVE_SECONDS = 1.0
FEW_REPLIES = 2


@dataclass(frozen=True, slots=True)
class Primed:
    """What a reply begins with that goes on with another one: its ids, and how long that one reasoned."""

    ids: tuple[int, ...] = ()
    reasoning_seconds: float = 0.0


NOTHING_PRIMED = Primed()


class Reply:
    """The state of one running generation; ``tokens`` counts what all of them write.

    The ``primed`` ids are part of the reply's text and output, and of the engine's prompt; what is counted is
    only what the model adds.
    """

    def __init__(
        self,
        run: Run,
        generation: GenerationRecord,
        store: Store,
        tokens: ChannelTokens,
        primed: Primed = NOTHING_PRIMED,
        response_format: ResponseFormat | None = None,
    ) -> None:
        self._run = run
        self._generation = generation
        self._store = store
        self._tokens = tokens
        self._primed = primed
        self._format = response_format
        self._results: list[MessageDraft] = []
        self._recorder = Recorder(run, primed.reasoning_seconds)
        self._output_ids = list(primed.ids)
        self._changed = asyncio.Event()

    async def generate(self, engine: Engine, parser: StreamParser, request: GenerationRequest) -> Outcome:
        """Run the model once, from submission to its last token, while a second task saves the text."""
        saver = asyncio.create_task(self._save_regularly(engine))
        try:
            return await self._consume(engine, parser, request)
        except Exception as error:
            log.exception("generation %s failed", request.request_id, exc_info=error)
            return BROKEN
        finally:
            saver.cancel()
            await asyncio.wait({saver})

    def save_end(self, outcome: Outcome) -> GenerationRecord:
        """Commit the rest of the text and how it ended. Blocks; raises ``StorageError``."""
        valid, reason = self._checked(outcome)
        with self._run.owner.lock:
            return self._store.finish_generation(
                self._run.owner_id,
                self._generation.id,
                status=outcome.status,
                finish_reason=outcome.finish_reason,
                usage=outcome.usage,
                timings=outcome.timings,
                reasoning_seconds=self._recorder.reasoning_seconds,
                error=outcome.error,
                error_code=outcome.error_code,
                messages=self.messages,
                output_ids=self._output_ids,
                schema_valid=valid,
                schema_reason=reason,
            )

    @property
    def written(self) -> int:
        """How many tokens the model has written."""
        return len(self._output_ids) - len(self._primed.ids)

    @property
    def messages(self) -> list[MessageDraft]:
        """All of the reply so far, the results among them that were added to it."""
        return self._recorder.drafts() + self._results

    def add_results(self, results: Sequence[Message]) -> None:
        """Results that come before the rest of its calls has any; they are saved with the end."""
        for message in results:
            self._results.append(MessageDraft(new_id(), len(self.messages), message, complete=True))

    def save_calls(self, outcome: Outcome) -> None:
        """Commit all of a reply whose functions run next. Blocks; raises ``StorageError``."""
        with self._run.owner.lock:
            self._store.await_results(
                self._run.owner_id,
                self._generation.id,
                usage=outcome.usage,
                timings=outcome.timings,
                reasoning_seconds=self._recorder.reasoning_seconds,
                messages=self.messages,
                output_ids=self._output_ids,
            )

    def _checked(self, outcome: Outcome) -> tuple[bool | None, str | None]:
        """Whether the answer matches what it was asked to match, and why not; None where there is none."""
        answers = [each.message for each in self.messages if each.message.channel is Channel.FINAL]
        if self._format is None or not answers or outcome.status is not GenerationStatus.FINISHED:
            return None, None
        reason = matches(self._format.schema, answers[-1].content)
        return reason is None, reason

    def _save_progress(self, drafts: list[MessageDraft], output_ids: tuple[int, ...]) -> None:
        """Commit the text so far. Blocks; raises ``StorageError``."""
        with self._run.owner.lock:
            self._store.save_progress(self._run.owner_id, self._generation.id, drafts, output_ids)

    def _mark_running(self, event: TokensStarted) -> None:
        """Commit that the model has begun. Blocks; raises ``StorageError``."""
        with self._run.owner.lock:
            self._store.mark_running(
                self._run.owner_id, self._generation.id, event.model, event.revision, event.seed
            )

    def unsaved(self, outcome: Outcome) -> GenerationRecord:
        """The same record as ``save_end`` would give, for an end that could not be saved."""
        return dataclasses.replace(
            self._generation,
            status=outcome.status,
            finish_reason=outcome.finish_reason,
            usage=outcome.usage,
            timings=outcome.timings,
            reasoning_seconds=self._recorder.reasoning_seconds,
            error=outcome.error,
            error_code=outcome.error_code,
            finished_at=datetime.now(UTC),
        )

    async def _consume(self, engine: Engine, parser: StreamParser, request: GenerationRequest) -> Outcome:
        outcome = BROKEN
        async with aclosing(generate(engine, parser, request, self._tokens, self._primed.ids)) as events:
            async for event in events:
                match event:
                    case Queued():
                        self._run.publish("queued", {"position": event.position})
                        if self._run.cancel_requested:
                            await engine.cancel(request.request_id)
                    case TokensStarted():
                        await self._started(event, len(request.prompt_ids))
                    case Portion():
                        self._write(event)
                    case Outcome():
                        outcome = event
        return outcome

    def _write(self, portion: Portion) -> None:
        if not portion.primed:
            if portion.token_ids and len(self._output_ids) == len(self._primed.ids):
                self._recorder.resume()
            self._output_ids.extend(portion.token_ids)
        for event in portion.events:
            self._recorder.apply(event)
        if portion.token_ids:
            self._changed.set()

    async def _started(self, event: TokensStarted, prompt_tokens: int) -> None:
        self._generation = dataclasses.replace(
            self._generation,
            status=GenerationStatus.RUNNING,
            model=event.model,
            revision=event.revision,
            seed=event.seed,
            started_at=datetime.now(UTC),
        )
        self._run.publish(
            "started", {"model": event.model, "revision": event.revision, "prompt_tokens": prompt_tokens}
        )
        try:
            await run_in_threadpool(self._mark_running, event)
        except StorageError as error:
            log.warning("generation %s could not be marked as running: %s", self._generation.id, error.code)

    async def _save_regularly(self, engine: Engine) -> None:
        """Save what is new every 0.3 s, and beside many others every second: all share one writer.

        A failure is met again at the end, where it is told.
        """
        failing = False
        while True:
            await self._changed.wait()
            self._changed.clear()
            drafts, output_ids = self._recorder.drafts(), tuple(self._output_ids)
            try:
                await run_in_threadpool(self._save_progress, drafts, output_ids)
                failing = False
            except StorageError as error:
                if not failing:
                    log.warning(
                        "generation %s could not be saved so far: %s", self._generation.id, error.code
                    )
                failing = True
            together = max(1.0, engine.health().running / FEW_REPLIES)
            await asyncio.sleep(min(LONGEST_SAVE_SECONDS, SAVE_SECONDS * together))
