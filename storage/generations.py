"""Generations: from queued to an end, with the text saved on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.types import FinishReason, Timings, Usage
from storage.database import Database, Queries
from storage.errors import Conflict, InvalidValue
from storage.mapping import generation_record, message_record
from storage.owned import note_change, open_generation_row, owned_conversation, owned_generation
from storage.records import (
    OPEN_STATUSES,
    GenerationRecord,
    GenerationStatus,
    GenerationTokens,
    MessageDraft,
    MessageRecord,
)
from storage.reply_rows import append_output, join_output, message_rows, save_messages, saved_output_length
from storage.reply_rows import output_ids as stored_output_ids
from storage.schema import ConversationRow, GenerationRow
from storage.take_over import count_usage


class GenerationQueries(Queries):
    """The store's part for generations. Every method raises NotFound for an id that is not the owner's.

    What runs in a conversation that was deleted meanwhile is saved on: a restore brings its text back.
    """

    def get_generation(self, owner_id: str, generation_id: str) -> GenerationRecord:
        """One generation."""
        with self._database.read() as session:
            return generation_record(owned_generation(session, owner_id, generation_id))

    def generation_messages(self, owner_id: str, generation_id: str) -> list[MessageRecord]:
        """The messages of a reply, the user's question not among them, in order."""
        with self._database.read() as session:
            row = owned_generation(session, owner_id, generation_id)
            return [message_record(message) for message in message_rows(session, row.id)]

    def generation_tokens(self, owner_id: str, generation_id: str) -> GenerationTokens:
        """The token ids that went in and came out."""
        with self._database.read() as session:
            row = owned_generation(session, owner_id, generation_id)
            return GenerationTokens(row.prompt_ids, stored_output_ids(session, row.id))

    def open_generation(self, owner_id: str, conversation_id: str) -> GenerationRecord | None:
        """The generation of this conversation that is queued or running, if there is one."""
        with self._database.read() as session:
            row = owned_conversation(session, owner_id, conversation_id)
            generation = open_generation_row(session, row.id)
            return None if generation is None else generation_record(generation)

    def mark_running(
        self, owner_id: str, generation_id: str, model: str, revision: str, seed: int | None = None
    ) -> GenerationRecord:
        """The model begins to read; ``seed`` was drawn for a request that named none.

        Raises Conflict when the generation is over.
        """

        def work(session: Session) -> GenerationRecord:
            row = _open(session, owner_id, generation_id)
            row.status = GenerationStatus.RUNNING
            row.model = model
            row.revision = revision
            row.seed = seed if row.seed is None else row.seed
            row.started_at = row.started_at or datetime.now(UTC)
            return generation_record(row)

        return self._database.write(work)

    def save_progress(
        self,
        owner_id: str,
        generation_id: str,
        messages: Sequence[MessageDraft],
        output_ids: Sequence[int],
    ) -> None:
        """Save the text so far; cheap enough for a few times a second.

        ``messages`` are the drafts that changed (or all of them), ``output_ids`` all ids so far: only what
        is new is written. New messages hang below the user's message as a chain, and the conversation's
        leaf follows. Raises Conflict when the generation is over or the drafts do not fit what was saved
        before.
        """

        def work(session: Session) -> None:
            row = _open(session, owner_id, generation_id)
            save_messages(session, row, messages)
            append_output(session, row.id, output_ids)

        self._database.write(work)

    def finish_generation(
        self,
        owner_id: str,
        generation_id: str,
        *,
        status: GenerationStatus,
        finish_reason: FinishReason | None,
        usage: Usage,
        timings: Timings,
        reasoning_seconds: float = 0.0,
        error: str | None = None,
        error_code: str | None = None,
        messages: Sequence[MessageDraft] = (),
        output_ids: Sequence[int] = (),
    ) -> GenerationRecord:
        """Save the rest and end the generation. One that is over already is returned as it is.

        ``status`` is finished, cancelled, failed or interrupted; ``messages`` and ``output_ids`` as in
        ``save_progress``: what they leave out stays.
        """
        if status.is_open:
            raise InvalidValue("A reply ends as finished, cancelled, failed or interrupted.")

        def work(session: Session) -> GenerationRecord:
            row = owned_generation(session, owner_id, generation_id, deleted=True)
            if not row.status.is_open:
                return generation_record(row)
            save_messages(session, row, messages)
            append_output(session, row.id, output_ids)
            join_output(session, row.id)
            row.status = status
            row.finish_reason = finish_reason
            row.reasoning_seconds = reasoning_seconds
            row.error = error
            row.error_code = error_code
            row.finished_at = datetime.now(UTC)
            _measure(row, usage, timings)
            _count(session, row)
            note_change(session, _conversation(session, row))
            return generation_record(row)

        return self._database.write(work)


def interrupt_open_generations(database: Database) -> None:
    """At start no run exists: what the last process left open ends as interrupted, with the text it had."""

    def work(session: Session) -> None:
        for row in session.scalars(select(GenerationRow).where(GenerationRow.status.in_(OPEN_STATUSES))):
            row.status = GenerationStatus.INTERRUPTED
            row.finished_at = datetime.now(UTC)
            _count(session, row)
            note_change(session, _conversation(session, row))

    database.write(work)


def _conversation(session: Session, row: GenerationRow) -> ConversationRow:
    """The conversation of a generation."""
    statement = select(ConversationRow).where(ConversationRow.id == row.conversation_id)
    return session.scalars(statement).one()


def _open(session: Session, owner_id: str, generation_id: str) -> GenerationRow:
    """This owner's generation while it may still grow."""
    row = owned_generation(session, owner_id, generation_id, deleted=True)
    if not row.status.is_open:
        raise Conflict("This reply has already ended.")
    return row


def _count(session: Session, row: GenerationRow) -> None:
    """Add what was written, and not what the reply began with, to its owner's use of the day.

    In the transaction that ends the reply: each is counted once, however it ends.
    """
    written = saved_output_length(session, row.id) - row.primed_tokens
    ended = row.finished_at or datetime.now(UTC)
    count_usage(session, row.owner_id, ended.date().isoformat(), 1, max(written, 0))


def _measure(row: GenerationRow, usage: Usage, timings: Timings) -> None:
    """Copy counts and seconds into the row."""
    row.prompt_tokens = usage.prompt
    row.cached_tokens = usage.cached
    row.completion_tokens = usage.completion
    row.reasoning_tokens = usage.reasoning
    row.commentary_tokens = usage.commentary
    row.final_tokens = usage.final
    row.queued_seconds = timings.queued
    row.ttft_seconds = timings.ttft
    row.total_seconds = timings.total
    row.tokens_per_second = timings.tokens_per_second
