"""What tests of accounts need: a sign-in, and a guest who has one of everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from inference.types import Channel, Message, ReasoningEffort, Role
from storage.account_records import Account, Identity, KeyScope, LoginSession
from storage.records import ChatSettings, MessageDraft, SearchKind, new_id
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity, response

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
IDLE = timedelta(days=14)
TODAY = "2026-03-04"
EVERY_KIND = frozenset(SearchKind)


def sign_in(
    store: Store, name: str = "ada", token: str | None = None, **changes: Any
) -> tuple[Account, LoginSession]:
    """Sign in at a made-up provider; the cookie is ``token``, or made from the name."""
    arguments: dict[str, Any] = {
        "token_hash": identity(token or f"cookie of {name}"),
        "client": "Firefox on Linux",
        "now": NOW,
        "expires_at": NOW + timedelta(days=90),
        "access_token": b"sealed",
        "guest_hash": None,
        "role": None,
    }
    who = Identity("https://id.example", f"subject {name}", name, name.title(), f"{name}@example.org", name)
    return store.sign_in(who, **(arguments | changes))


@dataclass(frozen=True)
class Things:
    """The ids of what a guest has."""

    user: str
    conversation: str
    hidden: str
    running: str
    running_generation: str
    share: str
    share_token: str
    response: str


def fill(store: Store, cookie: str, word: str) -> Things:
    """A guest with a finished, a deleted and a running conversation, a preset, a share and preferences.

    ``word`` is in the title, the question, the thought and the answer of the first one.
    """
    user = store.user_for_identity(identity(cookie)).id
    turn = begin(store, user, f"question {word}", title=f"title {word}", client_id="client 1")
    drafts = [
        draft(0, f"thought {word}", complete=True),
        MessageDraft(new_id(), 1, Message(Role.TOOL, f"result {word}", recipient="assistant"), complete=True),
        draft(2, f"answer {word}", Channel.FINAL, complete=True),
    ]
    finish(store, user, turn.generation.id, messages=drafts, output_ids=[1, 2, 3])
    hidden = begin(store, user, f"hidden {word}", client_id="client 2")
    finish(store, user, hidden.generation.id)
    store.delete_conversation(user, hidden.conversation.id)
    running = begin(store, user, f"running {word}")
    store.save_progress(user, running.generation.id, [draft(0, f"half {word}")], [7])
    share = store.create_share(
        user, turn.conversation.id, title="t", include_reasoning=True, snapshot=f"{{{word}}}", message_count=4
    )
    store.create_preset(user, "mine", ChatSettings(seed=len(word)))
    store.update_preferences(user, effort=ReasoningEffort.HIGH, settings=ChatSettings(instructions=word))
    store.save_response(user, response(f"resp_{word}_{user}", f"stored {word}"))
    store.add_usage(user, TODAY, 2, 30)
    store.add_key(user, "laptop", identity(f"key {cookie}"), "abcd", {KeyScope.INFERENCE}, NOW)
    return Things(
        user,
        turn.conversation.id,
        hidden.conversation.id,
        running.conversation.id,
        running.generation.id,
        share.id,
        share.token,
        f"resp_{word}_{user}",
    )


def found(store: Store, user: str, word: str) -> list[tuple[str, str]]:
    """Where a word is found: (conversation, kind), sorted."""
    hits, _ = store.search(user, word, EVERY_KIND, limit=200)
    return sorted((hit.conversation.id, hit.kind.value) for hit in hits)


def texts(store: Store, user: str, conversation: str) -> list[str]:
    """The shown branch."""
    return [message.content for message in store.path(user, conversation)]
