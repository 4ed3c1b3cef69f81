"""How much each owner has stored, in bytes: of conversations, those that can still be restored among them,
and of links. Stored responses have room of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import LargeBinary, Select, cast, func, select

from storage.column_types import BYTES_PER_ID, pack_settings
from storage.database import Queries
from storage.drafts import ConversationDraft, GenerationDraft
from storage.records import TurnRecord
from storage.schema import (
    ConversationRow,
    GenerationRow,
    MessageRow,
    OutputTokensRow,
    ReplyDetailsRow,
    ShareRow,
)

ROW_BYTES = 500
"""About what a row costs beside its texts, with its part of the indexes: many empty ones are not free."""


class StoredQueries(Queries):
    """The store's part for how much there is."""

    def stored_bytes(self, owner_id: str) -> int:
        """About what this owner's conversations and links take. Reads all their texts: not for each turn."""
        with self._database.read() as session:
            return sum(session.scalar(statement) or 0 for statement in _sums(owner_id))


def draft_bytes(drafts: Iterable[ConversationDraft]) -> int:
    """What these conversations will add to that."""
    return sum(_size(draft) for draft in drafts)


def turn_bytes(turn: TurnRecord, *, asked: bool) -> int:
    """What a turn that began now has added; its reply comes later. ``asked``: its question is new."""
    messages = (*((turn.user_message,) if asked else ()), *turn.tool_messages)
    texts = sum(len(each.content.encode(errors="surrogatepass")) + ROW_BYTES for each in messages)
    return texts + ROW_BYTES + BYTES_PER_ID * turn.generation.usage.prompt


def _sums(owner_id: str) -> list[Select[Any]]:
    """One statement for each table."""
    conversations = select(ConversationRow.id).where(ConversationRow.owner_id == owner_id).subquery()
    replies = select(GenerationRow.id).where(GenerationRow.owner_id == owner_id).subquery()
    return [
        _sum(ConversationRow.settings).where(ConversationRow.owner_id == owner_id),
        _sum(MessageRow.content).join(conversations, conversations.c.id == MessageRow.conversation_id),
        _sum(GenerationRow.prompt_ids).where(GenerationRow.owner_id == owner_id),
        _sum(OutputTokensRow.ids).join(replies, replies.c.id == OutputTokensRow.generation_id),
        _sum(ReplyDetailsRow.settings).join(replies, replies.c.id == ReplyDetailsRow.generation_id),
        _sum(ShareRow.snapshot).where(ShareRow.owner_id == owner_id),
    ]


def _sum(column: Any) -> Select[Any]:
    """What the rows take of whose texts or ids this is; a text is counted in bytes, not in characters."""
    return select(func.sum(func.length(cast(column, LargeBinary)) + ROW_BYTES)).select_from(column.class_)


def _size(draft: ConversationDraft) -> int:
    replies = {node.generation.key: node.generation for node in draft.nodes if node.generation is not None}
    replies |= {each.generation.key: each.generation for each in draft.empty_replies}
    texts = sum(len(node.message.content.encode(errors="surrogatepass")) + ROW_BYTES for node in draft.nodes)
    settings = len(pack_settings(draft.settings).encode(errors="surrogatepass")) + ROW_BYTES
    return settings + texts + sum(map(_reply_size, replies.values()))


def _reply_size(reply: GenerationDraft) -> int:
    size = ROW_BYTES + BYTES_PER_ID * (len(reply.prompt_ids) + len(reply.output_ids))
    if reply.output_ids:
        size += ROW_BYTES
    if reply.turn_settings is not None:
        size += ROW_BYTES + len(pack_settings(reply.turn_settings).encode(errors="surrogatepass"))
    return size
