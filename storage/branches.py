"""The tree of a conversation: the path that is shown, another branch, and all of it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Queries
from storage.errors import InvalidValue, NotFound
from storage.mapping import CHECKED_COLUMNS, GENERATION_COLUMNS, generation_of
from storage.owned import described, owned_conversation
from storage.records import ConversationRecord, ConversationTree, GenerationRecord, MessageRecord
from storage.reply_rows import message_rows
from storage.schema import ConversationRow, GenerationRow, MessageRow
from storage.tree import check_parents, leaf_below, path_records, place_of, show, with_neighbours


class BranchQueries(Queries):
    """The store's part for branches."""

    def path(self, owner_id: str, conversation_id: str, leaf_id: str | None = None) -> list[MessageRecord]:
        """The messages from the root to the leaf (the one shown, or ``leaf_id``), the oldest first.

        Raises NotFound when the conversation is not the owner's or the leaf is not in it.
        """
        with self._database.read() as session:
            row = owned_conversation(session, owner_id, conversation_id)
            leaf = row.leaf_id if leaf_id is None else leaf_id
            return [] if leaf is None else path_records(session, row, leaf)

    def conversation_generations(self, owner_id: str, conversation_id: str) -> list[GenerationRecord]:
        """Every generation of a conversation, those of other branches included, the oldest first."""
        with self._database.read() as session:
            return _generations(session, owned_conversation(session, owner_id, conversation_id))

    def select_branch(
        self,
        owner_id: str,
        conversation_id: str,
        *,
        message_id: str | None = None,
        generation_id: str | None = None,
    ) -> ConversationRecord:
        """Show the branch that has this message or reply, below it as it was shown before.

        A running reply goes on unseen while another branch is shown, and is followed again once it is
        selected. Raises NotFound for what is not in the conversation, InvalidValue unless exactly one is
        named.
        """
        if (message_id is None) == (generation_id is None):
            raise InvalidValue("Name one message or one reply.")

        def work(session: Session) -> ConversationRecord:
            row = owned_conversation(session, owner_id, conversation_id)
            if message_id is not None:
                target = place_of(session, row.id, message_id).id
            else:
                target = _begin_of_reply(session, row, generation_id)
            show(session, row, target)
            row.leaf_id = leaf_below(session, target)
            return described(session, row)

        return self._database.write(work)

    def export_conversation(self, owner_id: str, conversation_id: str) -> ConversationTree:
        """All of a conversation, every branch included. Raises NotFound."""
        with self._database.read() as session:
            row = owned_conversation(session, owner_id, conversation_id)
            statement = select(*CHECKED_COLUMNS, MessageRow.chosen_generation_id)
            statement = statement.where(MessageRow.conversation_id == row.id).order_by(MessageRow.sequence)
            rows = session.connection().execute(statement).all()
            check_parents(rows)
            return ConversationTree(
                conversation=described(session, row),
                messages=tuple(with_neighbours(session, row.id, rows, [each[-1] for each in rows])),
                generations=tuple(_generations(session, row)),
            )


def _generations(session: Session, row: ConversationRow) -> list[GenerationRecord]:
    """All of a conversation, the oldest first."""
    statement = select(*GENERATION_COLUMNS).where(GenerationRow.conversation_id == row.id)
    return [
        generation_of(each)
        for each in session.connection().execute(statement.order_by(GenerationRow.sequence))
    ]


def _begin_of_reply(session: Session, row: ConversationRow, generation_id: str | None) -> str:
    """The first message of a reply, or its question, which then shows it, when it has none."""
    generation = session.scalar(
        select(GenerationRow).where(
            GenerationRow.id == generation_id, GenerationRow.conversation_id == row.id
        )
    )
    if generation is None:
        raise NotFound
    messages = message_rows(session, generation.id)
    if messages:
        return messages[0].id
    question = session.scalars(select(MessageRow).where(MessageRow.id == generation.user_message_id)).one()
    question.chosen_generation_id = generation.id
    session.flush()
    return question.id
