"""The use case of the Responses API: a body becomes a reply that is streamed, kept and found again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.grammar import matches
from inference.harmony import HarmonyCodec
from inference.types import Prompt, Role
from playground.api.openai.errors import invalid
from playground.api.openai.notes import effective, remarks
from playground.completions.request import CompletionRequest
from playground.completions.service import Completion, CompletionService
from playground.errors import PlaygroundError
from playground.limits.allowance import Allowance
from playground.responses.asked import Asked, input_items, read_body
from playground.responses.body import ResponseBody
from playground.responses.encoder import ResponseEncoder, encode_again, new_record, response_object
from playground.responses.item_ids import new_response_id
from playground.responses.items import Reader
from playground.responses.job import ResponseJob
from playground.responses.known import Known, named_responses
from playground.responses.log import ResponseLog
from playground.responses.room import AddressRoom
from playground.runs import RunRegistry
from storage.errors import Conflict, NotFound, StorageError
from storage.response_records import ResponseRecord
from storage.store import Store

Json = dict[str, Any]

MOST_UNSAVED = 64
"""Responses that could not be stored and are kept in memory instead."""
PART_FOR_THE_REPLY = 4
"""With ``truncation: auto`` a quarter of the context is left for the reply, or what was asked for if less."""


class ResponseService:
    """Makes responses and finds them. Belongs to one event loop. ``owners`` tells whose things are now."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        codec: HarmonyCodec,
        completions: CompletionService,
        owners: RunRegistry,
    ) -> None:
        self._store = store
        self._engine = engine
        self._codec = codec
        self._completions = completions
        self._owners = owners
        self.room = AddressRoom()
        self._jobs: dict[str, ResponseJob] = {}
        self._unsaved: OrderedDict[str, ResponseJob] = OrderedDict()

    @property
    def open_count(self) -> int:
        """How many responses are being written now."""
        return len(self._jobs)

    async def create(self, owner_id: str, body: ResponseBody, allowance: Allowance) -> ResponseJob:
        """Check all of it, and begin.

        Raises:
            PlaygroundError: it makes no sense, names what is not there, or is more than may be had.
            InferenceError: a message, a function or a schema is not allowed, or the engine refuses.
            StorageError: what it goes on from cannot be read, or one in the background cannot be stored.
        """
        person, prompts = allowance.place_of(owner_id), self._completions.prompts
        asked = await prompts.run(person, read_body, body)
        response_id = new_response_id()
        items = input_items(body, response_id)
        prompt = await prompts.run(person, self._prompt, owner_id, asked, items)
        request = CompletionRequest(
            prompt,
            model=body.model or None,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            max_tokens=body.max_output_tokens,
            seed=body.seed,
            logprobs=asked.logprobs,
            tool_choice=asked.choice,
            one_call=body.parallel_tool_calls is False,
        )
        completion = await self._completions.begin(owner_id, request, allowance)
        settings = effective(completion, asked.effort)
        record = new_record(
            response_id,
            datetime.now(UTC),
            completion.model.name,
            {**asked.echo, "playground": remarks(settings, asked.notes)},
            items,
            background=asked.background,
            previous_response_id=body.previous_response_id or None,
        )
        wanted = asked.response_format
        job = ResponseJob(
            self._store,
            self._codec,
            self._owners.owner(owner_id),
            completion,
            ResponseEncoder(record, asked.notes),
            self.room,
            stored=asked.store,
            check=None if wanted is None else partial(matches, wanted.schema),
        )
        if asked.background:
            await self._save_open(job, completion)
        self._jobs[job.id] = job
        job.encoder.begin()
        self._completions.spawn(self._work(job))
        return job

    def leave(self, job: ResponseJob) -> None:
        """Whoever asked has gone: what is not in the background ends."""
        if not job.done.is_set() and not job.encoder.record.background:
            self._completions.spawn(job.cancel())

    async def get(self, owner_id: str, response_id: str) -> Json:
        """The Response object as it is now. Raises PlaygroundError (404), StorageError."""
        job = self._job(owner_id, response_id)
        if job is not None:
            return job.encoder.snapshot()
        return response_object(await self._stored(owner_id, response_id))

    async def log_of(self, owner_id: str, response_id: str) -> ResponseLog:
        """The events of a response, which may still grow. Raises PlaygroundError (404), StorageError."""
        job = self._job(owner_id, response_id)
        if job is not None:
            return job.encoder.log
        return encode_again(await self._stored(owner_id, response_id))

    async def cancel(self, owner_id: str, response_id: str) -> Json:
        """End a response; one that has ended stays as it is. Raises PlaygroundError (404), StorageError."""
        job = self._job(owner_id, response_id)
        if job is not None and not job.done.is_set():
            await job.cancel()
            await job.done.wait()
        return await self.get(owner_id, response_id)

    async def delete(self, owner_id: str, response_id: str) -> None:
        """Remove a response for good; one that is being written ends.

        Raises PlaygroundError (404), StorageError.
        """
        job = self._job(owner_id, response_id)
        if job is not None and not job.done.is_set():
            await job.cancel()
            await job.done.wait()
        if self._unsaved.pop(response_id, None) is None:
            try:
                await run_in_threadpool(self._store.delete_response, owner_id, response_id)
            except NotFound:
                raise no_such_response() from None
        self.room.forget(response_id)

    async def input_items(self, owner_id: str, response_id: str) -> list[Json]:
        """What went in, in order. Raises PlaygroundError (404), StorageError."""
        job = self._job(owner_id, response_id)
        record = job.encoder.record if job is not None else await self._stored(owner_id, response_id)
        return list(record.input_items)

    async def stop_owner(self, owner_id: str) -> None:
        """End all that is being written for somebody's programs, and wait for the responses."""
        jobs = self._cancelled(lambda job: job.owner.id == owner_id)
        await self._completions.stop(lambda each: each.owner_id == owner_id)
        await self._ended(jobs)

    async def stop_key(self, key_id: str) -> None:
        """End all that is being written for the programs with this key, and wait for the responses."""
        jobs = self._cancelled(lambda job: job.completion.allowance.key == key_id)
        await self._completions.stop(lambda each: each.allowance.key == key_id)
        await self._ended(jobs)

    def _cancelled(self, matches: Callable[[ResponseJob], bool]) -> list[ResponseJob]:
        """Those of the responses that are meant; from now on their end is that they were cancelled."""
        jobs = [each for each in self._jobs.values() if matches(each)]
        for job in jobs:
            job.cancel_requested = True
        return jobs

    async def _ended(self, jobs: Sequence[ResponseJob]) -> None:
        for job in jobs:
            await job.cancel()
            await job.done.wait()

    async def _save_open(self, job: ResponseJob, completion: Completion) -> None:
        """Store what has not begun yet. Who leaves meanwhile has no id of it, so it is removed again."""
        record = job.encoder.record
        saving = asyncio.ensure_future(run_in_threadpool(job.save, record))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            self._completions.spawn(self._withdraw(job, saving))
            await completion.close()
            raise
        except Exception:
            await completion.close()
            raise

    async def _withdraw(self, job: ResponseJob, saving: asyncio.Future[None]) -> None:
        """Remove what is just being stored. A restart ends what cannot be removed."""
        with contextlib.suppress(StorageError):
            await saving
            await run_in_threadpool(self._store.delete_response, job.owner.id, job.id)

    async def _work(self, job: ResponseJob) -> None:
        try:
            await job.work()
        finally:
            self._jobs.pop(job.id, None)
            if job.stored and not job.kept and not job.lost:
                self._unsaved[job.id] = job
                while len(self._unsaved) > MOST_UNSAVED:
                    self._unsaved.popitem(last=False)

    def _job(self, owner_id: str, response_id: str) -> ResponseJob | None:
        job = self._jobs.get(response_id) or self._unsaved.get(response_id)
        return job if job is not None and job.stored and job.owner.id == owner_id else None

    async def _stored(self, owner_id: str, response_id: str) -> ResponseRecord:
        try:
            return await run_in_threadpool(self._store.get_response, owner_id, response_id)
        except NotFound:
            raise no_such_response() from None

    def _prompt(self, owner_id: str, asked: Asked, items: list[Json]) -> Prompt:
        """The conversation with this request at its end. References among ``items`` are resolved. Blocks."""
        before = self._before(owner_id, asked.body.previous_response_id)
        named = self._store.find_responses(owner_id, named_responses(items))
        known = Known(chain(before, named), lambda call_id: self._completions.replays.find(owner_id, call_id))
        reader = Reader(known, asked.notes)
        items[:] = reader.resolved(items)
        for record in before:
            reader.read_stored(record)
        reader.read(items)
        if not reader.messages and not reader.instructions:
            raise invalid("input holds no message, and there is nothing to go on from.", "input")
        instructions = [asked.body.instructions or "", *reader.instructions]
        prompt = Prompt(
            reader.messages,
            asked.effort,
            "\n\n".join(each for each in instructions if each.strip()) or None,
            asked.declared,
            current_date=self._completions.date_told(),
            response_format=asked.response_format,
        )
        return self._shortened(prompt, asked) if asked.body.truncation == "auto" else prompt

    def _before(self, owner_id: str, previous_id: str | None) -> list[ResponseRecord]:
        """The stored conversation."""
        if not previous_id:
            return []
        try:
            return self._store.response_chain(owner_id, previous_id)
        except NotFound:
            raise PlaygroundError(
                "previous_response_not_found",
                "There is no stored response of the id in previous_response_id.",
                status=404,
                param="previous_response_id",
            ) from None
        except Conflict as conflict:  # not as 409, which clients try again
            raise invalid(str(conflict), "previous_response_id") from None

    def _shortened(self, prompt: Prompt, asked: Asked) -> Prompt:
        """Without the oldest turns, where all of them do not fit."""
        model = self._engine.health().active
        if model is None or model.context_length is None:
            return prompt
        context = model.context_length
        wanted = asked.body.max_output_tokens or context
        limit = context - min(wanted, context // PART_FOR_THE_REPLY)
        dropped = self._codec.render_within(prompt, limit, context).dropped_turns
        if not dropped:
            return prompt
        turns = "The oldest turn was" if dropped == 1 else f"The {dropped} oldest turns were"
        asked.notes.add("truncation", f"{turns} left out of the prompt, because all of them do not fit.")
        return _without_turns(prompt, dropped)


def no_such_response() -> PlaygroundError:
    """The answer for an id that is unknown or somebody else's."""
    return PlaygroundError("not_found", "There is no response of this id.", status=404)


def _without_turns(prompt: Prompt, count: int) -> Prompt:
    """Without so many of the oldest turns; a turn begins with each user's message."""
    starts = [0]
    starts += [place for place, message in enumerate(prompt.messages) if place and message.role is Role.USER]
    return replace(prompt, messages=prompt.messages[starts[count] :])
