"""Generations: from queued to an end, with the text saved on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from inference.types import FinishReason, Timings, Usage
from storage.database import Database, Queries
from storage.errors import Conflict, InvalidValue
from storage.mapping import generation_record, message_record
from storage.owned import note_change, open_generation_row, owned_conversation, owned_generation
from storage.records import (
    OPEN_STATUSES,
    ChatSettings,
    GenerationRecord,
    GenerationStatus,
    GenerationTokens,
    MessageDraft,
    MessageRecord,
)
from storage.reply_rows import append_output, join_output, message_rows, save_messages, saved_output_length
from storage.reply_rows import output_ids as stored_output_ids
from storage.schema import ConversationRow, GenerationRow, MessageRow, ReplyDetailsRow
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
        schema_valid: bool | None = None,
        schema_reason: str | None = None,
    ) -> GenerationRecord:
        """Save the rest and end the generation. One that is over already is returned as it is.

        ``status`` is finished, cancelled, failed or interrupted; ``messages`` and ``output_ids`` as in
        ``save_progress``: what they leave out stays. ``schema_...`` is the check of an answer.
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
            row.finish_reason = finish_reason
            row.reasoning_seconds = reasoning_seconds
            row.error = error
            row.error_code = error_code
            _measure(row, usage, timings)
            if schema_valid is not None:
                _note_schema(session, row, schema_valid, schema_reason)
            end(session, row, status)
            note_change(session, _conversation(session, row))
            return generation_record(row)

        return self._database.write(work)

    def await_results(
        self,
        owner_id: str,
        generation_id: str,
        *,
        usage: Usage,
        timings: Timings,
        reasoning_seconds: float = 0.0,
        messages: Sequence[MessageDraft] = (),
        output_ids: Sequence[int] = (),
    ) -> GenerationRecord:
        """Save all of a reply that ended with calls, and leave it open while functions run.

        The arguments are those of ``finish_generation``, which ends it; so does ``begin_turn`` for the reply
        that goes on from it. A process that dies before leaves it finished, with calls without results.
        """

        def work(session: Session) -> GenerationRecord:
            row = _open(session, owner_id, generation_id)
            save_messages(session, row, messages)
            append_output(session, row.id, output_ids)
            row.finish_reason = FinishReason.TOOL_CALL
            row.reasoning_seconds = reasoning_seconds
            _measure(row, usage, timings)
            return generation_record(row)

        return self._database.write(work)

    def answers_to(self, owner_id: str, generation_id: str) -> tuple[list[str], str | None]:
        """The replies that go on from this one's calls, oldest first, and which of them is shown."""
        with self._database.read() as session:
            row = owned_generation(session, owner_id, generation_id)
            ids = list(session.scalars(_answers(row.id)))
            shown = session.scalar(_shown_below(row.id)) if ids else None
            return ids, shown if shown in ids else next(reversed(ids), None)


def interrupt_open_generations(database: Database) -> None:
    """At start no run exists: what the last process left open ends as interrupted, with the text it had."""

    def work(session: Session) -> None:
        for row in session.scalars(select(GenerationRow).where(GenerationRow.status.in_(OPEN_STATUSES))):
            waits = row.finish_reason is FinishReason.TOOL_CALL  # its functions ran, and can run again
            end(session, row, GenerationStatus.FINISHED if waits else GenerationStatus.INTERRUPTED)
            note_change(session, _conversation(session, row))

    database.write(work)


def end(session: Session, row: GenerationRow, status: GenerationStatus) -> None:
    """Close a generation and count what it wrote."""
    row.status = status
    row.finished_at = datetime.now(UTC)
    _count(session, row)


def _answers(generation_id: str) -> Select[str]:
    """The ids of the replies that go on from the calls of this one, oldest first."""
    statement = select(GenerationRow.id).join(
        ReplyDetailsRow, ReplyDetailsRow.generation_id == GenerationRow.id
    )
    return statement.where(ReplyDetailsRow.answers_id == generation_id).order_by(GenerationRow.sequence)


def _shown_below(generation_id: str) -> Select[str | None]:
    """The reply that the last message of this one leads to."""
    last = select(MessageRow.chosen_child_id).where(MessageRow.generation_id == generation_id)
    last = last.order_by(MessageRow.sequence.desc()).limit(1)
    return select(MessageRow.generation_id).where(MessageRow.id == last.scalar_subquery())


def _note_schema(session: Session, row: GenerationRow, valid: bool, reason: str | None) -> None:
    """Keep the check of an answer."""
    details = session.get(ReplyDetailsRow, row.id)
    if details is None:
        details = ReplyDetailsRow(generation_id=row.id, settings=ChatSettings())
        session.add(details)
    details.schema_valid = valid
    details.schema_reason = reason
    session.flush()
    session.expire(row, ["schema_valid", "schema_reason"])


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
