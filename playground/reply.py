"""One reply from the engine to the database: token ids become text, text is saved a few times a second.

A ``Reply`` never raises for what the model or the engine do: whatever happens ends in an ``Outcome``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.errors import RequestRefused
from inference.harmony_stream import StreamParser
from inference.types import (
    Channel,
    FinishReason,
    GenerationRequest,
    MessageFinished,
    StreamEvent,
    Timings,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from playground.errors import INTERNAL_SENTENCE
from playground.recorder import ChannelTokens, Recorder
from playground.runs import Run
from storage.errors import StorageError
from storage.records import GenerationRecord, GenerationStatus, MessageDraft
from storage.store import Store

log = logging.getLogger(__name__)

SAVE_SECONDS = 0.3
STATUS = {
    FinishReason.STOP: GenerationStatus.FINISHED,
    FinishReason.LENGTH: GenerationStatus.FINISHED,
    FinishReason.TOOL_CALL: GenerationStatus.FINISHED,
    FinishReason.CANCELLED: GenerationStatus.CANCELLED,
    FinishReason.ERROR: GenerationStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reply ended."""

    status: GenerationStatus
    finish_reason: FinishReason | None
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    error: str | None = None
    error_code: str | None = None


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
    ) -> None:
        self._run = run
        self._generation = generation
        self._store = store
        self._tokens = tokens
        self._primed = primed
        self._recorder = Recorder(run, primed.reasoning_seconds)
        self._output_ids = list(primed.ids)
        self._counted: Counter[Channel] = Counter()
        self._written: Counter[Channel] = Counter()
        self._changed = asyncio.Event()

    async def generate(self, engine: Engine, parser: StreamParser, request: GenerationRequest) -> Outcome:
        """Run the model once, from submission to its last token, while a second task saves the text."""
        saver = asyncio.create_task(self._save_regularly())
        ended = False
        try:
            outcome = await self._consume(engine, parser, request)
            ended = True
        except Exception as error:
            log.exception("generation %s failed", request.request_id, exc_info=error)
            outcome = Outcome(
                GenerationStatus.FAILED,
                FinishReason.ERROR,
                error=INTERNAL_SENTENCE,
                error_code="internal_error",
            )
        finally:
            saver.cancel()
            await asyncio.wait({saver})
            if not ended:
                await engine.cancel(request.request_id)
        return outcome

    def save_end(self, outcome: Outcome) -> GenerationRecord:
        """Commit the rest of the text and how it ended. Blocks; raises ``StorageError``."""
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
                messages=self._recorder.drafts(),
                output_ids=self._output_ids,
            )

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
        self._take_over(parser)
        try:
            tokens = engine.submit(request)
        except RequestRefused as refusal:
            return Outcome(
                GenerationStatus.FAILED, FinishReason.ERROR, error=str(refusal), error_code=refusal.code
            )
        self._run.publish("queued", {"position": engine.health().waiting})
        if self._run.cancel_requested:
            await engine.cancel(request.request_id)
        async for event in tokens:
            match event:
                case TokensStarted():
                    await self._started(event, len(request.prompt_ids))
                case TokensGenerated():
                    if len(self._output_ids) == len(self._primed.ids):
                        self._recorder.resume()
                    self._output_ids.extend(event.token_ids)
                    self._apply(parser.feed(event.token_ids), parser)
                    self._changed.set()
                case TokensFinished():
                    return self._finished(event, parser)
        raise RuntimeError("the engine's stream ended without its last event")

    def _take_over(self, parser: StreamParser) -> None:
        """Show the text that the reply begins with, at once."""
        for event in parser.feed(self._primed.ids):
            self._recorder.apply(event)
        self._counted.update(parser.channel_tokens)
        if self._primed.ids:
            self._changed.set()

    def _apply(self, events: Sequence[StreamEvent], parser: StreamParser) -> None:
        """Record what came, and count the tokens once a message is over."""
        for event in events:
            self._recorder.apply(event)
        if any(isinstance(event, MessageFinished) for event in events):
            new = Counter(parser.channel_tokens) - self._counted
            self._tokens.add(new)
            self._counted += new
            self._written += new

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

    def _finished(self, event: TokensFinished, parser: StreamParser) -> Outcome:
        self._apply(parser.finish(event.finish_reason), parser)
        reason = parser.finish_reason(event.finish_reason)
        usage = dataclasses.replace(
            event.usage,
            reasoning=self._written[Channel.ANALYSIS],
            commentary=self._written[Channel.COMMENTARY],
            final=self._written[Channel.FINAL],
        )
        return Outcome(STATUS[reason], reason, usage, event.timings, event.error, event.error_code)

    async def _save_regularly(self) -> None:
        """Save what is new every 0.3 s. A failure is met again at the end, where it is told."""
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
            await asyncio.sleep(SAVE_SECONDS)
