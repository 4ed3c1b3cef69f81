"""Conversations that were made elsewhere, put in with all their branches in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from storage.checksums import COVERED, message_checksum
from storage.database import Queries, fresh_id
from storage.draft_check import Reply, replies_of
from storage.drafts import ConversationDraft, MessageNode
from storage.mapping import conversation_record
from storage.owned import next_sequence
from storage.records import ChatSettings, ConversationRecord
from storage.schema import ConversationRow, GenerationRow, MessageRow, OutputTokensRow, ReplyDetailsRow
from storage.tree import leaf_below, show


class ImportQueries(Queries):
    """The store's part for conversations that were made elsewhere."""

    def insert_conversation(self, owner_id: str, draft: ConversationDraft) -> ConversationRecord:
        """Put one in under new ids. Raises InvalidValue for a draft that is no tree, NotFound."""
        return self.insert_conversations(owner_id, [draft])[0]

    def insert_conversations(
        self, owner_id: str, drafts: Sequence[ConversationDraft]
    ) -> list[ConversationRecord]:
        """Put all of them in, or none. Raises InvalidValue for a draft that is no tree, NotFound.

        Times in the future become now: the list is in their order.
        """

        def work(session: Session) -> list[ConversationRecord]:
            session.execute(text("PRAGMA defer_foreign_keys = ON"))  # rows point at each other both ways
            return [_insert(session, owner_id, draft) for draft in drafts]

        return self._database.write(work)


def _insert(session: Session, owner_id: str, draft: ConversationDraft) -> ConversationRecord:
    """One conversation; of its branches the newest are shown, and those that lead to its leaf."""
    replies = replies_of(draft)
    ids = {node.key: fresh_id(session) for node in draft.nodes}
    reply_ids = {reply.generation.key: fresh_id(session) for reply in replies}
    row = _conversation(session, owner_id, draft)
    onward = _onward(draft, ids)
    chosen = {
        reply.question_key: reply_ids[reply.generation.key]
        for reply in replies
        if reply.generation.answers_key is None
    }
    empty = _shown_empty(draft, replies)
    if empty is not None:
        chosen[empty.question_key] = reply_ids[empty.generation.key]
    row.chosen_root_id = onward.get(None)
    _insert_all(session, GenerationRow, [_generation(row, reply, ids, reply_ids) for reply in replies])
    _insert_all(
        session,
        MessageRow,
        [
            _message(row, node, ids, reply_ids)
            | {"chosen_generation_id": chosen.get(node.key), "chosen_child_id": onward.get(node.key)}
            for node in draft.nodes
        ],
    )
    _insert_all(
        session,
        OutputTokensRow,
        [
            {"generation_id": reply_ids[each.generation.key], "start": 0, "ids": each.generation.output_ids}
            for each in replies
            if each.generation.output_ids
        ],
    )
    details = (_details(each, reply_ids) for each in replies)
    _insert_all(session, ReplyDetailsRow, [each for each in details if each is not None])
    if draft.leaf_key is not None:
        row.leaf_id = ids[draft.leaf_key]
        show(session, row, row.leaf_id)
        if draft.leaf_key in chosen and empty is None:  # its reply is shown, and so is what stands in it
            row.leaf_id = leaf_below(session, row.leaf_id)
    elif row.chosen_root_id is not None:
        row.leaf_id = leaf_below(session, row.chosen_root_id)
    session.flush()
    return conversation_record(row, None)


def _onward(draft: ConversationDraft, ids: Mapping[str, str]) -> dict[str | None, str]:
    """Where a place goes on: with a question, or with a reply that goes on from calls, the newest there."""
    begun: set[str] = set()
    onward: dict[str | None, str] = {}
    for node in draft.nodes:
        generation = node.generation
        if generation is None or (generation.answers_key is not None and generation.key not in begun):
            onward[node.parent_key] = ids[node.key]
        if generation is not None:
            begun.add(generation.key)
    return onward


def _details(reply: Reply, reply_ids: Mapping[str, str]) -> dict[str, Any] | None:
    """What the reply has that few have."""
    draft = reply.generation
    details = {
        "answers_id": None if draft.answers_key is None else reply_ids[draft.answers_key],
        "schema_valid": draft.schema_valid,
        "schema_reason": draft.schema_reason,
    }
    if draft.turn_settings is None and not any(each is not None for each in details.values()):
        return None
    settings = draft.turn_settings or ChatSettings()
    return {"generation_id": reply_ids[draft.key], "settings": settings, **details}


def _shown_empty(draft: ConversationDraft, replies: Sequence[Reply]) -> Reply | None:
    """The reply without messages that is shown where the branch ends with its question: the newest."""
    keys = {each.generation.key for each in draft.empty_replies if each.question_key == draft.leaf_key}
    return next((reply for reply in reversed(replies) if reply.generation.key in keys), None)


def _conversation(session: Session, owner_id: str, draft: ConversationDraft) -> ConversationRow:
    """The conversation's row, without a leaf yet."""
    now = datetime.now(UTC)
    latest = max((node.created_at for node in draft.nodes), default=draft.created_at)
    row = ConversationRow(
        id=fresh_id(session),
        owner_id=owner_id,
        title=draft.title,
        title_by_hand=draft.title_by_hand,
        pinned=draft.pinned,
        archived=draft.archived,
        settings=draft.settings,
        updated_sequence=next_sequence(session, owner_id),
        created_at=min(now, draft.created_at),
        updated_at=min(now, draft.updated_at or latest),
    )
    session.add(row)
    session.flush()
    return row


def _generation(
    row: ConversationRow, reply: Reply, ids: Mapping[str, str], reply_ids: Mapping[str, str]
) -> dict[str, Any]:
    """One reply's columns."""
    draft = reply.generation
    return {
        "id": reply_ids[draft.key],
        "conversation_id": row.id,
        "user_message_id": ids[reply.question_key],
        "owner_id": row.owner_id,
        "client_id": None,
        "status": draft.status,
        "effort": draft.effort,
        "temperature": draft.sampling.temperature,
        "top_p": draft.sampling.top_p,
        "seed": draft.sampling.seed,
        "max_tokens": draft.sampling.max_tokens,
        "model": draft.model,
        "revision": draft.revision,
        "prompt_ids": draft.prompt_ids,
        "prompt_tokens": draft.usage.prompt,
        "cached_tokens": draft.usage.cached,
        "completion_tokens": draft.usage.completion,
        "reasoning_tokens": draft.usage.reasoning,
        "commentary_tokens": draft.usage.commentary,
        "final_tokens": draft.usage.final,
        "queued_seconds": draft.timings.queued,
        "ttft_seconds": draft.timings.ttft,
        "total_seconds": draft.timings.total,
        "tokens_per_second": draft.timings.tokens_per_second,
        "reasoning_seconds": draft.reasoning_seconds,
        "finish_reason": draft.finish_reason,
        "error": draft.error,
        "error_code": draft.error_code,
        "continues_id": None if draft.continues_key is None else reply_ids[draft.continues_key],
        "primed_tokens": draft.primed_tokens,
        "mode": draft.mode,
        "dropped_reasoning": draft.dropped_reasoning,
        "dropped_turns": draft.dropped_turns,
        "context_length": draft.context_length,
        "created_at": reply.created_at,
        "started_at": draft.started_at,
        "finished_at": draft.finished_at,
    }


def _message(
    row: ConversationRow, node: MessageNode, ids: Mapping[str, str], reply_ids: Mapping[str, str]
) -> dict[str, Any]:
    """One message's columns, without its way on."""
    message = node.message
    columns: dict[str, Any] = {
        "id": ids[node.key],
        "conversation_id": row.id,
        "parent_id": None if node.parent_key is None else ids[node.parent_key],
        "generation_id": None if node.generation is None else reply_ids[node.generation.key],
        "role": message.role,
        "channel": message.channel,
        "recipient": message.recipient,
        "name": message.name,
        "content": message.content,
        "content_type": message.content_type,
        "complete": node.complete,
        "recovered": message.recovered,
        "token_count": node.token_count,
        "created_at": node.created_at,
    }
    columns["checksum"] = message_checksum(*(columns[name] for name in COVERED))
    return columns


def _insert_all(
    session: Session,
    table: type[GenerationRow | MessageRow | OutputTokensRow | ReplyDetailsRow],
    rows: list[dict[str, Any]],
) -> None:
    """Many rows in one statement."""
    if rows:
        session.connection().execute(insert(table), rows)
