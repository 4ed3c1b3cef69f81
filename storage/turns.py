"""The beginning of a turn: the user's message and a queued generation, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.types import ReasoningEffort, Role, SamplingParams
from storage.conversations import described, next_sequence, touch
from storage.database import Queries
from storage.errors import Conflict, NotFound
from storage.mapping import generation_record, message_record
from storage.owned import open_generation_row, owned_conversation
from storage.records import GenerationStatus, TurnRecord, new_id
from storage.schema import ConversationRow, GenerationRow, MessageRow, UserRow


@dataclass(frozen=True, slots=True)
class _Turn:
    """The arguments of ``begin_turn``."""

    owner_id: str
    conversation_id: str | None
    parent_id: str | None
    expected_leaf_id: str | None
    text: str
    title: str
    effort: ReasoningEffort
    sampling: SamplingParams
    model: str
    prompt_ids: tuple[int, ...]
    client_id: str | None


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
        expected_leaf_id: str | None = None,
        client_id: str | None = None,
    ) -> TurnRecord:
        """Commit the user's message and a queued generation; when this returns, nothing of it can be lost.

        ``conversation_id`` None makes a conversation called ``title``. ``parent_id`` None continues at the
        leaf. ``expected_leaf_id`` is the leaf that ``prompt_ids`` was rendered from: Conflict when it moved
        meanwhile. The same ``client_id`` again gives what it gave before, ``existing`` set, and writes
        nothing. Raises Conflict while the conversation still answers, NotFound for a conversation or parent
        that is not there.
        """
        turn = _Turn(
            owner_id=owner_id,
            conversation_id=conversation_id,
            parent_id=parent_id,
            expected_leaf_id=expected_leaf_id,
            text=text,
            title=title,
            effort=effort,
            sampling=sampling,
            model=model,
            prompt_ids=tuple(prompt_ids),
            client_id=client_id,
        )
        return self._database.write(lambda session: _begin(session, turn))

    def find_turn(self, owner_id: str, client_id: str) -> TurnRecord | None:
        """What this owner's ``client_id`` began before, if it did."""
        with self._database.read() as session:
            return _earlier(session, owner_id, client_id)


def _begin(session: Session, turn: _Turn) -> TurnRecord:
    """The whole transaction."""
    earlier = _earlier(session, turn.owner_id, turn.client_id)
    if earlier is not None:
        return earlier
    if turn.conversation_id is None:
        conversation = _new_conversation(session, turn)
    else:
        conversation = owned_conversation(session, turn.owner_id, turn.conversation_id)
        _check_free(session, conversation, turn)
        touch(session, conversation)
    message = MessageRow(
        id=new_id(),
        conversation_id=conversation.id,
        parent_id=_parent(session, conversation, turn.parent_id),
        role=Role.USER,
        content=turn.text,
        complete=True,
        recovered=False,
        token_count=0,
        created_at=datetime.now(UTC),
    )
    session.add(message)
    session.flush()
    generation = _new_generation(turn, conversation.id, message.id)
    session.add(generation)
    conversation.leaf_id = message.id
    session.flush()
    return TurnRecord(
        conversation=described(session, conversation),
        user_message=message_record(message),
        generation=generation_record(generation),
    )


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
    return TurnRecord(
        conversation=described(session, conversation),
        user_message=message_record(message),
        generation=generation_record(generation),
        existing=True,
    )


def _new_conversation(session: Session, turn: _Turn) -> ConversationRow:
    """A conversation without messages yet."""
    if turn.parent_id is not None or session.get(UserRow, turn.owner_id) is None:
        raise NotFound
    now = datetime.now(UTC)
    row = ConversationRow(
        id=new_id(),
        owner_id=turn.owner_id,
        title=turn.title,
        updated_sequence=next_sequence(session, turn.owner_id),
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _check_free(session: Session, conversation: ConversationRow, turn: _Turn) -> None:
    """Refuse a conversation that answers already, or that moved since the prompt was rendered."""
    if open_generation_row(session, conversation.id) is not None:
        raise Conflict("This conversation is still answering. Wait for the end of the reply, or stop it.")
    if turn.expected_leaf_id is not None and turn.expected_leaf_id != conversation.leaf_id:
        raise Conflict("This conversation went on elsewhere. Reload it and try again.")


def _parent(session: Session, conversation: ConversationRow, parent_id: str | None) -> str | None:
    """The message to continue at; NotFound when it belongs to another conversation."""
    if parent_id is None:
        return conversation.leaf_id
    found = session.scalar(
        select(MessageRow.id).where(MessageRow.id == parent_id, MessageRow.conversation_id == conversation.id)
    )
    if found is None:
        raise NotFound
    return found


def _new_generation(turn: _Turn, conversation_id: str, user_message_id: str) -> GenerationRow:
    """A queued generation that has measured nothing yet."""
    return GenerationRow(
        id=new_id(),
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
        final_tokens=0,
        queued_seconds=0.0,
        ttft_seconds=0.0,
        total_seconds=0.0,
        tokens_per_second=0.0,
        reasoning_seconds=0.0,
        created_at=datetime.now(UTC),
    )
