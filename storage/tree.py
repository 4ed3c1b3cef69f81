"""The tree of a conversation: which branch each place shows, and where it ends.

A place goes on like this. From a question: into the first message of ``chosen_generation_id``; when that
reply has no message, or there is none, to the question ``chosen_child_id``. From a message of a reply: to
``chosen_child_id`` if it is set, which is a question or the first message of the reply that goes on from its
calls, else to the next message of the same reply.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import CTE, Exists, exists, select, text, update
from sqlalchemy.orm import Session

from storage.checksums import DAMAGED_MESSAGE, check_message
from storage.errors import DatabaseCorrupt, NotFound
from storage.mapping import CHECKED_COLUMNS, MESSAGE_COLUMNS
from storage.records import MessageRecord
from storage.schema import ConversationRow, GenerationRow, MessageRow, ReplyDetailsRow

_COLUMNS = (
    MessageRow.id,
    MessageRow.generation_id,
    MessageRow.chosen_generation_id,
    MessageRow.chosen_child_id,
)
_PARENT, _GENERATION, _SEQUENCE, _FIELDS = 2, 3, 4, len(MESSAGE_COLUMNS)
"""Places in ``MESSAGE_COLUMNS``, and how many there are."""
_sequence = itemgetter(_SEQUENCE)

_LEAF_BELOW = text("""
WITH RECURSIVE way (id, depth) AS (
    SELECT :start, 0
    UNION ALL
    SELECT
        coalesce(
            CASE WHEN place.role = 'user' THEN (
                SELECT child.id FROM messages AS child
                WHERE child.generation_id = place.chosen_generation_id AND child.parent_id = place.id
            ) END,
            place.chosen_child_id,
            CASE WHEN place.role <> 'user' THEN (
                SELECT child.id FROM messages AS child
                WHERE child.generation_id = place.generation_id AND child.parent_id = place.id
            ) END
        ),
        way.depth + 1
    FROM way JOIN messages AS place ON place.id = way.id
)
SELECT id FROM way WHERE id IS NOT NULL ORDER BY depth DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Place:
    """What a message's row says about its way on."""

    id: str
    generation_id: str | None
    chosen_generation_id: str | None
    chosen_child_id: str | None

    @property
    def is_question(self) -> bool:
        """True for what the user wrote."""
        return self.generation_id is None


def leaf_below(session: Session, message_id: str) -> str:
    """The end of the branch that is shown below this message; the message itself when nothing is."""
    return str(session.execute(_LEAF_BELOW, {"start": message_id}).scalar_one())


def show(session: Session, conversation: ConversationRow, message_id: str) -> None:
    """Make every place above this message show the way to it. Raises NotFound when it is elsewhere."""
    places = _places(session, conversation.id, message_id)
    conversation.chosen_root_id = places[0].id
    for parent, child in pairwise(places):
        point(session, parent, child)


def place_of(session: Session, conversation_id: str, message_id: str) -> Place:
    """One message of this conversation. Raises NotFound."""
    statement = select(*_COLUMNS).where(
        MessageRow.id == message_id, MessageRow.conversation_id == conversation_id
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound
    return Place(*row)


def point(session: Session, parent: Place, child: Place) -> None:
    """Let a place show its child; the ways that it does not show any more stay remembered where they can."""
    generation, onward = parent.chosen_generation_id, parent.chosen_child_id
    if child.is_question:
        onward = child.id
        if parent.is_question:
            generation = _shown_empty(session, parent.id, generation)
    elif parent.is_question:
        generation = child.generation_id
    else:
        onward = None if child.generation_id == parent.generation_id else child.id
    if (generation, onward) != (parent.chosen_generation_id, parent.chosen_child_id):
        session.execute(
            update(MessageRow)
            .where(MessageRow.id == parent.id)
            .values(chosen_generation_id=generation, chosen_child_id=onward)
        )


def path_records(session: Session, conversation: ConversationRow, leaf_id: str) -> list[MessageRecord]:
    """The messages from the root to the leaf, each as it was written, and none of them missing.

    Raises NotFound when the leaf is not in the conversation, DatabaseCorrupt for what is damaged.
    """
    chain = _chain(conversation.id, leaf_id)
    statement = select(*CHECKED_COLUMNS, MessageRow.chosen_generation_id)
    statement = statement.join(chain, MessageRow.sequence == chain.c.sequence)
    found = session.connection().execute(statement)  # the session would look at each row
    rows: list[Sequence[Any]] = sorted(found, key=_sequence)
    if not rows:
        raise NotFound if leaf_id != conversation.leaf_id else DatabaseCorrupt(DAMAGED_MESSAGE)
    _check_chain(rows, leaf_id)
    shown = [
        after[_GENERATION] or (_shown_empty(session, row[0], row[-1]) if row[_GENERATION] is None else None)
        for row, after in pairwise(rows)
    ]
    return with_neighbours(session, conversation.id, rows, [*shown, rows[-1][-1]])


def _check_chain(rows: Sequence[Sequence[Any]], leaf_id: str) -> None:
    """Raise DatabaseCorrupt unless each message follows the one before, from a root to the leaf."""
    before = None
    for row in rows:
        if row[_PARENT] != before:
            raise DatabaseCorrupt(DAMAGED_MESSAGE)
        before = row[0]
    if before != leaf_id:
        raise DatabaseCorrupt(DAMAGED_MESSAGE)


def check_parents(rows: Sequence[Sequence[Any]]) -> None:
    """Raise DatabaseCorrupt when one of these, parents first, is below a message that is not among them."""
    seen = {None}
    for row in rows:
        if row[_PARENT] not in seen:
            raise DatabaseCorrupt(DAMAGED_MESSAGE)
        seen.add(row[0])


def with_neighbours(
    session: Session,
    conversation_id: str,
    rows: Sequence[Sequence[Any]],
    shown: Iterable[str | None],
) -> list[MessageRecord]:
    """Records of rows that begin with ``CHECKED_COLUMNS``, a parent before its children.

    Questions get their siblings and replies, and of ``shown`` (a value for each row) the reply that is shown.
    Raises DatabaseCorrupt for what is damaged.
    """
    questions = defaultdict(list)
    asked = select(MessageRow.id, MessageRow.parent_id).where(
        MessageRow.conversation_id == conversation_id, MessageRow.role == text("'user'")
    )
    for message_id, parent_id in session.connection().execute(asked.order_by(MessageRow.sequence)):
        questions[parent_id].append(message_id)
    replies = defaultdict(list)
    made = select(GenerationRow.user_message_id, GenerationRow.id)
    made = made.where(GenerationRow.conversation_id == conversation_id, ~goes_on()).order_by(
        GenerationRow.sequence
    )
    for question_id, generation_id in session.connection().execute(made):
        replies[question_id].append(generation_id)
    siblings = {parent_id: tuple(ids) for parent_id, ids in questions.items()}
    for row in rows:
        check_message(row)
        if row[_GENERATION] is None and row[_PARENT] not in siblings:
            raise DatabaseCorrupt(DAMAGED_MESSAGE)
    return [
        MessageRecord(*[*row[:_FIELDS], siblings[row[_PARENT]], tuple(replies[row[0]]), reply])
        if row[_GENERATION] is None
        else MessageRecord(*row[:_FIELDS])
        for row, reply in zip(rows, shown, strict=True)
    ]


def goes_on() -> Exists:
    """Whether a generation goes on from the calls of another: it is no reply to the question by itself."""
    details = exists().where(ReplyDetailsRow.generation_id == GenerationRow.id)
    return details.where(ReplyDetailsRow.answers_id.is_not(None))


def _places(session: Session, conversation_id: str, leaf_id: str) -> list[Place]:
    """The way from the root to this message."""
    chain = _chain(conversation_id, leaf_id)
    statement = select(*_COLUMNS).join(chain, MessageRow.sequence == chain.c.sequence)
    places = [Place(*row) for row in session.execute(statement.order_by(MessageRow.sequence))]
    if not places:
        raise NotFound
    return places


def _chain(conversation_id: str, leaf_id: str) -> CTE:
    """All messages from the leaf up to the root; none when the leaf is not in the conversation.

    A message's sequence is higher than its parent's: that is their order.
    """
    chain = (
        select(MessageRow.sequence, MessageRow.parent_id)
        .where(MessageRow.id == leaf_id, MessageRow.conversation_id == conversation_id)
        .cte("chain", recursive=True)
    )
    return chain.union_all(
        select(MessageRow.sequence, MessageRow.parent_id).where(MessageRow.id == chain.c.parent_id)
    )


def _shown_empty(session: Session, question_id: str, chosen: str | None) -> str | None:
    """The reply without messages that stands between two questions: the chosen one, else the newest."""
    statement = select(GenerationRow.id).where(
        GenerationRow.user_message_id == question_id,
        ~exists().where(MessageRow.generation_id == GenerationRow.id),
    )
    empty = session.scalars(statement.order_by(GenerationRow.sequence.desc())).all()
    return chosen if chosen is None or chosen in empty else next(iter(empty), None)
