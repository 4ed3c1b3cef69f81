"""A person with conversations: put into the store before his browser comes, and his by its cookie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from inference.types import Channel, Message, Role
from playground.accounts.identity import PLAIN_NAME, new_token, token_hash
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.records import ChatSettings, ConversationRecord
from tests.playground.ui.served import Served


@dataclass(frozen=True)
class Person:
    """Somebody whose conversations are known before he opens the page."""

    served: Served
    token: str
    owner_id: str

    @classmethod
    def of(cls, served: Served) -> Person:
        """A new person."""
        token = new_token()
        return cls(served, token, served.store.user_for_identity(token_hash(token)).id)

    def browser(self) -> dict[str, Any]:
        """Options of a browser context that is his."""
        cookie = {"name": PLAIN_NAME, "value": self.token, "domain": "127.0.0.1", "path": "/"}
        more = {"expires": -1, "httpOnly": True, "secure": False, "sameSite": "Lax"}
        return {"storage_state": {"cookies": [cookie | more], "origins": []}}

    def keep(self, *drafts: ConversationDraft) -> list[ConversationRecord]:
        """Put these conversations on his shelf."""
        return self.served.store.insert_conversations(self.owner_id, drafts)


def conversation(
    title: str,
    *,
    ago: timedelta = timedelta(),
    question: str = "",
    reasoning: str = "",
    answer: str = "",
    pinned: bool = False,
    archived: bool = False,
) -> ConversationDraft:
    """A conversation of one turn, or of none when there is no ``question``."""
    at = datetime.now(UTC) - ago
    nodes: list[MessageNode] = []
    if question:
        reply = GenerationDraft("reply", model="scripted", created_at=at, finished_at=at)
        said = [Message(Role.USER, question)]
        said += [Message(Role.ASSISTANT, reasoning, Channel.ANALYSIS)] if reasoning else []
        said += [Message(Role.ASSISTANT, answer, Channel.FINAL)] if answer else []
        for number, message in enumerate(said):
            parent = str(number - 1) if number else None
            nodes.append(MessageNode(str(number), parent, message, at, reply if number else None))
    return ConversationDraft(
        title, ChatSettings(), at, tuple(nodes), updated_at=at, pinned=pinned, archived=archived
    )
