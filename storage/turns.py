"""The beginning of a turn: the user's message, where there is a new one, and a queued generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.types import FinishReason, Message, ReasoningEffort, Role, SamplingParams
from storage.checksums import row_checksum
from storage.database import Queries, fresh_id
from storage.errors import Conflict, InvalidValue, NotFound
from storage.generations import end
from storage.mapping import CHECKED_COLUMNS, generation_record, message_record
from storage.owned import (
    described,
    next_sequence,
    next_time,
    note_turn,
    open_generation_row,
    owned_conversation,
)
from storage.records import ChatSettings, GenerationStatus, MessageRecord, ReplyMode, TurnRecord
from storage.reply_rows import add_results, append_output, leading_results, message_rows
from storage.schema import ConversationRow, GenerationRow, MessageRow, ReplyDetailsRow
from storage.tree import place_of, point, show, with_neighbours


@dataclass(frozen=True, slots=True)
class _Turn:
    """The arguments of ``begin_turn``."""

    owner_id: str
    conversation_id: str | None
    parent_id: str | None
    edit_of: str | None
    regenerate: str | None
    continues_id: str | None
    expected_leaf_id: str | None
    text: str
    title: str
    conversation_settings: ChatSettings
    effort: ReasoningEffort
    sampling: SamplingParams
    model: str
    prompt_ids: tuple[int, ...]
    primed_ids: tuple[int, ...]
    mode: ReplyMode | None
    dropped_reasoning: int
    dropped_turns: int
    context_length: int | None
    client_id: str | None
    answers_id: str | None
    results: tuple[Message, ...]
    turn_settings: ChatSettings


class TurnQueries(Queries):
    """The store's part for turns."""

    def begin_turn(
        self,
        owner_id: str,
        *,
        conversation_id: str | None,
        text: str,
        title: str,
        effort: ReasoningEffort,
        sampling: SamplingParams,
        model: str,
        prompt_ids: Sequence[int],
        parent_id: str | None = None,
        edit_of: str | None = None,
        regenerate: str | None = None,
        continues_id: str | None = None,
        primed_ids: Sequence[int] = (),
        mode: ReplyMode | None = None,
        dropped_reasoning: int = 0,
        dropped_turns: int = 0,
        context_length: int | None = None,
        conversation_settings: ChatSettings | None = None,
        expected_leaf_id: str | None = None,
        client_id: str | None = None,
        answers_id: str | None = None,
        results: Sequence[Message] = (),
        turn_settings: ChatSettings | None = None,
    ) -> TurnRecord:
        # long because every argument is a field of what is stored
        """Commit the question and a queued generation; when this returns, nothing of it can be lost.

        ``conversation_id`` None makes a conversation with ``title`` and ``conversation_settings``. The
        question stands at the leaf, or below ``parent_id``, or beside the question ``edit_of``. With
        ``regenerate`` (a question's id) or ``continues_id`` (a generation's id) there is no new question:
        ``text`` is not used, and ``user_message`` of the answer is the old one. The new reply is the one
        that is shown.

        ``primed_ids`` are output tokens taken over from ``continues_id``: they are stored as the first output
        ids, so the ``output_ids`` of later saves begin with them. ``answers_id`` is a generation whose calls
        have these ``results``: the new one begins with them, below its last message, and ends it where it
        waits for them. ``turn_settings`` count for this turn alone. ``expected_leaf_id`` is the leaf that
        ``prompt_ids`` was rendered from: Conflict when it moved meanwhile. The same ``client_id`` again gives
        what it gave before, ``existing`` set, and writes nothing. Raises Conflict while the conversation
        still answers, NotFound for what is not there.
        """
        turn = _Turn(
            owner_id=owner_id,
            conversation_id=conversation_id,
            parent_id=parent_id,
            edit_of=edit_of,
            regenerate=regenerate,
            continues_id=continues_id,
            expected_leaf_id=expected_leaf_id,
            text=text,
            title=title,
            conversation_settings=conversation_settings or ChatSettings(),
            effort=effort,
            sampling=sampling,
            model=model,
            prompt_ids=tuple(prompt_ids),
            primed_ids=tuple(primed_ids),
            mode=mode,
            dropped_reasoning=dropped_reasoning,
            dropped_turns=dropped_turns,
            context_length=context_length,
            client_id=client_id,
            answers_id=answers_id,
            results=tuple(results),
            turn_settings=turn_settings or ChatSettings(),
        )
        return self._database.write(lambda session: _begin(session, turn))

    def find_turn(self, owner_id: str, client_id: str) -> TurnRecord | None:
        """What this owner's ``client_id`` began before, if it did. Raises NotFound when that is deleted."""
        with self._database.read() as session:
            return _earlier(session, owner_id, client_id)


def _begin(session: Session, turn: _Turn) -> TurnRecord:
    """The whole transaction."""
    if (turn.answers_id is None) != (not turn.results):
        raise InvalidValue("Results belong to the calls of a reply.")
    if sum(place is not None for place in (turn.parent_id, turn.edit_of, _asked_again(turn))) > 1:
        raise InvalidValue("A turn has one place: below a message, beside a question, or at an old question.")
    earlier = _earlier(session, turn.owner_id, turn.client_id)
    if earlier is not None:
        return earlier
    if turn.conversation_id is None:
        conversation = _new_conversation(session, turn)
    else:
        conversation = owned_conversation(session, turn.owner_id, turn.conversation_id)
        turn = _like_the_continued(session, conversation, turn)
        _check_free(session, conversation, turn)
        note_turn(session, conversation)
    if _asked_again(turn) is None:
        question = _new_question(session, conversation, turn)
    else:
        question = _old_question(session, conversation, turn)
    generation = _new_generation(turn, fresh_id(session), conversation.id, question.id)
    session.add(generation)
    session.flush()
    append_output(session, generation.id, turn.primed_ids)
    if turn.answers_id is not None or turn.turn_settings != ChatSettings():
        session.add(
            ReplyDetailsRow(
                generation_id=generation.id, answers_id=turn.answers_id, settings=turn.turn_settings
            )
        )
    if turn.answers_id is None:
        question.chosen_generation_id = generation.id
        conversation.leaf_id = question.id
    else:
        before = message_rows(session, turn.answers_id)
        if not before:
            raise InvalidValue("This reply called nothing.")
        last = add_results(session, generation, before[-1], turn.results)
        show(session, conversation, last.id)
        conversation.leaf_id = last.id
    session.flush()
    return _record(session, conversation, question, generation)


def _record(
    session: Session,
    conversation: ConversationRow,
    question: MessageRow,
    generation: GenerationRow,
    existing: bool = False,
) -> TurnRecord:
    """What was begun, now or before."""
    results: list[MessageRow] = []
    if generation.answers_id is not None:
        results = leading_results(message_rows(session, generation.id))
    return TurnRecord(
        conversation=described(session, conversation),
        user_message=_with_neighbours(session, conversation, question),
        generation=generation_record(generation),
        existing=existing,
        tool_messages=tuple(map(message_record, results)),
    )


def _like_the_continued(session: Session, conversation: ConversationRow, turn: _Turn) -> _Turn:
    """A reply that goes on with one that began with results begins with the same."""
    if turn.continues_id is None:
        return turn
    old = _reply(session, conversation, turn.continues_id)
    if old.answers_id is None:
        return turn
    given = leading_results(message_rows(session, old.id))
    messages = tuple(message_record(row).message for row in given)
    return replace(turn, answers_id=old.answers_id, results=messages)


def _asked_again(turn: _Turn) -> str | None:
    """What names an old question, if anything does."""
    return turn.continues_id or turn.answers_id or turn.regenerate


def _reply(session: Session, conversation: ConversationRow, generation_id: str) -> GenerationRow:
    """A generation of this conversation. Raises NotFound."""
    row = session.scalar(
        select(GenerationRow).where(
            GenerationRow.id == generation_id, GenerationRow.conversation_id == conversation.id
        )
    )
    if row is None:
        raise NotFound
    return row


def _earlier(session: Session, owner_id: str, client_id: str | None) -> TurnRecord | None:
    """What the same ``client_id`` began before."""
    if client_id is None:
        return None
    generation = session.scalar(
        select(GenerationRow).where(GenerationRow.owner_id == owner_id, GenerationRow.client_id == client_id)
    )
    if generation is None:
        return None
    message = session.scalars(select(MessageRow).where(MessageRow.id == generation.user_message_id)).one()
    conversation = owned_conversation(session, owner_id, generation.conversation_id)
    return _record(session, conversation, message, generation, existing=True)


def _with_neighbours(session: Session, conversation: ConversationRow, row: MessageRow) -> MessageRecord:
    """A question as ``path`` would tell it."""
    columns = [getattr(row, column.key) for column in CHECKED_COLUMNS]
    return with_neighbours(session, conversation.id, [columns], [row.chosen_generation_id])[0]


def _new_conversation(session: Session, turn: _Turn) -> ConversationRow:
    """A conversation without messages yet."""
    if turn.parent_id is not None or turn.edit_of is not None or _asked_again(turn) is not None:
        raise NotFound
    sequence = next_sequence(session, turn.owner_id)
    now = next_time(session, turn.owner_id)
    row = ConversationRow(
        id=fresh_id(session),
        owner_id=turn.owner_id,
        title=turn.title,
        title_by_hand=False,
        pinned=False,
        archived=False,
        settings=turn.conversation_settings,
        updated_sequence=sequence,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _check_free(session: Session, conversation: ConversationRow, turn: _Turn) -> None:
    """Refuse a conversation that answers already, or that moved since the prompt was rendered."""
    running = open_generation_row(session, conversation.id)
    if running is None:
        pass
    elif running.id == turn.answers_id and running.finish_reason is FinishReason.TOOL_CALL:
        end(session, running, GenerationStatus.FINISHED)
        session.flush()
    else:
        raise Conflict("This conversation is still answering. Wait for the end of the reply, or stop it.")
    if turn.expected_leaf_id is not None and turn.expected_leaf_id != conversation.leaf_id:
        raise Conflict("This conversation went on elsewhere. Reload it and try again.")


def _new_question(session: Session, conversation: ConversationRow, turn: _Turn) -> MessageRow:
    """A message of the user at its place, which the conversation shows from now on."""
    if turn.edit_of is not None:
        parent_id = _question(session, conversation, turn.edit_of).parent_id
    elif turn.parent_id is not None:
        parent_id = place_of(session, conversation.id, turn.parent_id).id
    else:
        parent_id = conversation.leaf_id
    row = MessageRow(
        id=fresh_id(session),
        conversation_id=conversation.id,
        parent_id=parent_id,
        role=Role.USER,
        content=turn.text,
        complete=True,
        recovered=False,
        token_count=0,
        created_at=datetime.now(UTC),
    )
    row.checksum = row_checksum(row)
    session.add(row)
    session.flush()
    if parent_id is not None and parent_id == conversation.leaf_id:  # the way there is shown already
        places = (place_of(session, conversation.id, each) for each in (parent_id, row.id))
        point(session, *places)
    else:
        show(session, conversation, row.id)
    return row


def _old_question(session: Session, conversation: ConversationRow, turn: _Turn) -> MessageRow:
    """The question that is answered again."""
    question_id = turn.regenerate
    reply_id = turn.continues_id or turn.answers_id
    if reply_id is not None:
        question_id = _reply(session, conversation, reply_id).user_message_id
        if turn.regenerate not in (None, question_id):
            raise InvalidValue("The reply to continue answers another question.")
    row = _question(session, conversation, question_id)
    show(session, conversation, row.id)
    return row


def _question(session: Session, conversation: ConversationRow, message_id: str | None) -> MessageRow:
    """A message of the user in this conversation. Raises NotFound."""
    row = session.scalar(
        select(MessageRow).where(
            MessageRow.id == message_id,
            MessageRow.conversation_id == conversation.id,
            MessageRow.role == Role.USER,
        )
    )
    if row is None:
        raise NotFound
    return row


def _new_generation(
    turn: _Turn, generation_id: str, conversation_id: str, user_message_id: str
) -> GenerationRow:
    """A queued generation that has measured nothing yet."""
    return GenerationRow(
        id=generation_id,
        conversation_id=conversation_id,
        user_message_id=user_message_id,
        owner_id=turn.owner_id,
        client_id=turn.client_id,
        status=GenerationStatus.QUEUED,
        effort=turn.effort,
        temperature=turn.sampling.temperature,
        top_p=turn.sampling.top_p,
        seed=turn.sampling.seed,
        max_tokens=turn.sampling.max_tokens,
        model=turn.model,
        revision="",
        prompt_ids=turn.prompt_ids,
        prompt_tokens=len(turn.prompt_ids),
        cached_tokens=0,
        completion_tokens=0,
        reasoning_tokens=0,
        commentary_tokens=0,
        final_tokens=0,
        queued_seconds=0.0,
        ttft_seconds=0.0,
        total_seconds=0.0,
        tokens_per_second=0.0,
        reasoning_seconds=0.0,
        continues_id=turn.continues_id,
        primed_tokens=len(turn.primed_ids),
        mode=turn.mode,
        dropped_reasoning=turn.dropped_reasoning,
        dropped_turns=turn.dropped_turns,
        context_length=turn.context_length,
        created_at=datetime.now(UTC),
    )
