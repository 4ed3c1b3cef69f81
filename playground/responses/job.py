"""One response that is being written: it follows the reply, writes its log, and is stored at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool

from inference.harmony import HarmonyCodec
from inference.types import (
    Channel,
    FinishReason,
    MessageFinished,
    MessageStarted,
    StreamEvent,
    TextDelta,
    TokensStarted,
    Usage,
)
from playground.api.openai.errors import failure_of
from playground.api.openai.logprobs import entry_of
from playground.api.openai.tools import is_call_of
from playground.completions.replays import NO_ARGUMENTS, with_ids
from playground.completions.service import Completion
from playground.generation import BROKEN, GenerationEvent, Outcome, Portion
from playground.responses.encoder import ResponseEncoder, phase_of
from playground.responses.room import AddressRoom
from playground.runs import Owner
from storage.errors import NotFound, StorageError
from storage.records import GenerationStatus
from storage.response_records import ResponseRecord, ResponseStatus
from storage.store import Store

log = logging.getLogger(__name__)
Json = dict[str, Any]

STOPPED = "The server was stopped before this response was complete. Ask again."
NOT_STORED = "This response could not be stored, so nothing can go on from it."


class ResponseJob:
    """Run ``work`` once, as a task that no reader's leaving stops. ``done`` is set at its end.

    ``stored``: the response is, or will be, in the database; ``kept`` once it is, ``lost`` when its owner is
    gone. ``check`` says of a whole answer what is wrong with it. ``room`` is that of the addresses of the
    guest that programs without a key share.
    """

    def __init__(
        self,
        store: Store,
        codec: HarmonyCodec,
        owner: Owner,
        completion: Completion,
        encoder: ResponseEncoder,
        room: AddressRoom,
        *,
        stored: bool,
        check: Callable[[str], str | None] | None = None,
    ) -> None:
        self._store = store
        self._codec = codec
        self.owner = owner
        self.completion = completion
        self._run = completion.runs[0]
        self.encoder = encoder
        self._room = room
        self.stored = stored
        self.kept = False
        self.lost = False
        self._check = check
        self._scores: dict[int, list[Json]] = {}
        self.cancel_requested = False
        self.done = asyncio.Event()

    @property
    def id(self) -> str:
        """The response's id."""
        return self.encoder.record.id

    async def cancel(self) -> None:
        """End the response early; ``done`` is set soon after."""
        self.cancel_requested = True
        await self.completion.cancel()

    async def work(self) -> None:
        """Follow the reply to its end. Never raises for what happens on the way."""
        outcome = BROKEN
        try:
            async with aclosing(self.completion.follow(self._run)) as events:
                async for event in events:
                    if isinstance(event, Outcome):
                        outcome = event
                    else:
                        self._take(event)
        except Exception:
            log.exception("a response broke")
        finally:
            self.encoder.close_item(None, complete=False)
            record = self._ended(outcome)
            try:
                record = await self._checked(record)
                if self.stored:
                    record = await self._keep(record)
            finally:
                self.encoder.finish(record)
                self.done.set()

    def _take(self, event: GenerationEvent) -> None:
        match event:
            case TokensStarted():
                self._note_start(event)
                self.encoder.start()
            case Portion():
                for scored in event.scored:
                    if scored.channel is not Channel.ANALYSIS:
                        self._scores.setdefault(scored.index, []).append(
                            entry_of(self._codec, scored.logprob)
                        )
                for one in event.events:
                    self._one(one)

    def _one(self, event: StreamEvent) -> None:
        match event:
            case MessageStarted():
                name = is_call_of(event.recipient)
                if name is not None:
                    call_id = self._run.call_ids[event.index]
                    self.encoder.open_item("function_call", call_id=call_id, name=name)
                elif event.channel is Channel.ANALYSIS:
                    self.encoder.open_item("reasoning")
                else:
                    phase = phase_of(event.channel is not Channel.COMMENTARY)
                    self.encoder.open_item("message", phase=phase)
            case TextDelta():
                self.encoder.add_text(event.text, self._scores.pop(event.index, None))
            case MessageFinished():
                if late := self._scores.pop(event.index, None):
                    self.encoder.add_text("", late)
                text = event.message.content
                if event.complete and event.message.recipient is not None and not text.strip():
                    text = NO_ARGUMENTS
                    self.encoder.add_text(text)
                self.encoder.close_item(text, complete=event.complete)

    def _note_start(self, event: TokensStarted) -> None:
        """The seed and the model are known now."""
        record = self.encoder.record
        remarks = record.echo["playground"]
        settings = {
            **remarks["settings"],
            "model": event.model,
            "revision": event.revision,
            "seed": event.seed,
        }
        echo = {**record.echo, "playground": {**remarks, "settings": settings}}
        self.encoder.record = replace(record, echo=echo, model=event.model)

    def _ended(self, outcome: Outcome) -> ResponseRecord:
        """The response as it ended."""
        status, error, reason = self._status(outcome)
        record = self.encoder.record
        messages = with_ids(self._run.messages, self._run.output_ids, self._run.request.prompt_ids[-2:])
        notes = self.encoder.notes
        playground = record.echo["playground"]
        if notes is not None:
            playground = {**playground, "notes": notes.items}
        return replace(
            record,
            status=status,
            error=error,
            incomplete_reason=reason,
            echo={**record.echo, "playground": playground},
            finished_at=datetime.now(UTC),
            usage=_usage(outcome.usage),
            written=tuple(message.written for message in messages[: len(record.output_items)]),
        )

    def _status(self, outcome: Outcome) -> tuple[ResponseStatus, Json | None, str | None]:
        """The status, the error and why it is incomplete."""
        if outcome.status is GenerationStatus.CANCELLED and self.cancel_requested:
            return ResponseStatus.CANCELLED, None, None
        if outcome.status is not GenerationStatus.FINISHED:
            stopped = outcome.status is GenerationStatus.CANCELLED
            message = STOPPED if stopped else failure_of(outcome).message
            return ResponseStatus.FAILED, {"code": "server_error", "message": message}, None
        if outcome.finish_reason is FinishReason.LENGTH:
            return ResponseStatus.INCOMPLETE, None, "max_output_tokens"
        return ResponseStatus.COMPLETED, None, None

    async def _checked(self, record: ResponseRecord) -> ResponseRecord:
        """With a note if the answer is not of the shape that was asked for."""
        last = record.output_items[-1] if record.output_items else {}
        whole = record.status is ResponseStatus.COMPLETED and last.get("type") == "message"
        if self._check is None or not whole:
            return record
        complaint = await run_in_threadpool(self._check, last["content"][0]["text"])
        return record if complaint is None else self._noted(record, "text.format", complaint)

    def _noted(self, record: ResponseRecord, param: str, message: str) -> ResponseRecord:
        """With one more note."""
        if self.encoder.notes is not None:
            self.encoder.notes.add(param, message)
        remarks = record.echo["playground"]
        notes = [*remarks["notes"], {"param": param, "message": message}]
        return replace(record, echo={**record.echo, "playground": {**remarks, "notes": notes}})

    async def _keep(self, record: ResponseRecord) -> ResponseRecord:
        """Store it. What cannot be stored is given to the reader all the same, with a note."""
        try:
            await run_in_threadpool(self.save, record)
            self.kept = True
            return record
        except NotFound:
            self.lost = True
        except StorageError as failure:
            log.warning("a response could not be stored: %s", failure.code)
        except Exception:
            log.exception("a response could not be stored")
        return self._noted(record, "store", NOT_STORED)

    def save(self, record: ResponseRecord) -> None:
        """Store the response as it is in ``record``. Blocks. Raises StorageError."""
        with self.owner.lock:  # whoever moves all that the owner has waits meanwhile
            size = self._store.save_response(self.owner.id, record)
            if not (address := self.completion.allowance.line):
                return
            for each in self._room.take(address, record.id, size, record.previous_response_id):
                with contextlib.suppress(NotFound):
                    self._store.delete_response(self.owner.id, each)


def _usage(usage: Usage) -> Json:
    """The tokens, as OpenAI counts them."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
