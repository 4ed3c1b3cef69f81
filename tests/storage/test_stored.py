"""How much an owner has stored is what was put in, and falls when it is gone for good."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from inference.types import Channel, Message, Role
from storage.clock import steady_now
from storage.drafts import ConversationDraft, EmptyReply, GenerationDraft, MessageNode
from storage.errors import TooMany
from storage.records import ChatSettings
from storage.shares import MOST_SHARES
from storage.store import Store
from storage.stored import ROW_BYTES, draft_bytes

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def draft(text: str) -> ConversationDraft:
    """A question with an answer, and a reply that has no message."""
    settings = ChatSettings(instructions="Be brief, café.")
    reply = GenerationDraft("r", prompt_ids=(1,) * 50, output_ids=(2,) * 30, turn_settings=settings)
    return ConversationDraft(
        "A title",
        settings,
        NOW,
        (
            MessageNode("q", None, Message(Role.USER, text), NOW),
            MessageNode("a", "q", Message(Role.ASSISTANT, "é" * 40, channel=Channel.FINAL), NOW, reply),
        ),
        empty_replies=(EmptyReply("q", GenerationDraft("e", prompt_ids=(1,) * 20)),),
    )


def test_what_was_put_in_is_what_is_there(store: Store, owner: str, stranger: str) -> None:
    assert store.stored_bytes(owner) == draft_bytes([]) == 0
    drafts = [draft("x" * 5000), draft("ж" * 700)]
    records = store.insert_conversations(owner, drafts)
    assert store.stored_bytes(owner) == draft_bytes(drafts) > 6400
    assert store.stored_bytes(stranger) == 0
    before = store.stored_bytes(owner)
    store.create_share(
        owner, records[0].id, title="t", include_reasoning=True, snapshot="ü" * 300, message_count=1
    )
    assert store.stored_bytes(owner) == before + 600 + ROW_BYTES
    store.delete_conversation(owner, records[0].id)
    assert store.stored_bytes(owner) == before + 600 + ROW_BYTES, "it can still be restored"
    store.purge_deleted(steady_now())
    assert store.stored_bytes(owner) == draft_bytes(drafts[1:])


def test_there_is_room_for_so_many_links(
    store: Store, owner: str, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_SHARES == 200
    monkeypatch.setattr("storage.shares.MOST_SHARES", 2)
    names = {who: store.insert_conversation(who, draft("x")).id for who in (owner, stranger)}

    def share(who: str) -> str:
        name = names[who]
        made = store.create_share(who, name, title="t", include_reasoning=True, snapshot="s", message_count=1)
        return made.id

    first, _ = share(owner), share(owner)
    with pytest.raises(TooMany) as caught:
        share(owner)
    assert str(caught.value) == "There is room for 2 links. Take some back first."
    share(stranger)
    store.delete_share(owner, first)
    share(owner)
