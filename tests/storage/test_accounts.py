"""Signing in, and what becomes of the guest; leaving for good."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from inference.types import ReasoningEffort
from storage import backup
from storage.account_records import AccountRole, Identity
from storage.errors import AccountBanned, Conflict, InvalidValue, NotFound
from storage.records import ChatSettings, GenerationStatus
from storage.schema_base import Base
from storage.store import Store
from tests.storage.accounts_helpers import NOW, TODAY, Things, fill, found, sign_in, texts
from tests.storage.helpers import begin, finish, identity

KINDS = ["answer", "question", "reasoning", "title", "tool"]


def count_rows(store: Store) -> dict[str, int]:
    """Rows of every table, those of the search index among them."""
    tables = [*Base.metadata.tables, "search_titles", "search_messages", "search_thoughts"]
    with store._database.read() as session:
        return {
            name: session.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
            for name in tables
        }


def assert_all_there(store: Store, user: str, things: Things, word: str) -> None:
    """Everything that ``fill`` made belongs to this user now."""
    assert texts(store, user, things.conversation) == [
        f"question {word}",
        f"thought {word}",
        f"result {word}",
        f"answer {word}",
    ]
    hits = found(store, user, word)
    assert [hit for hit in hits if hit[0] == things.conversation] == [
        (things.conversation, kind) for kind in KINDS
    ]
    assert things.share in {share.id for share in store.list_shares(user)}
    assert store.shared_snapshot(things.share_token)[1] == f"{{{word}}}"
    assert ChatSettings(seed=len(word)) in {preset.settings for preset in store.list_presets(user)}
    assert store.get_response(user, things.response).output_items[1]["content"] == [
        {"text": f"stored {word}"}
    ]
    assert "laptop" in {key.name for key in store.keys_of(user)}
    assert store.restore_conversation(user, things.hidden).id == things.hidden
    assert texts(store, user, things.running) == [f"running {word}", f"half {word}"]


def test_the_first_account_is_an_admin_and_the_next_is_not(store: Store) -> None:
    first, login = sign_in(store, "ada")
    second, _ = sign_in(store, "bob")
    third, _ = sign_in(store, "eve", role=AccountRole.ADMIN)
    assert (first.role, second.role, third.role) == (
        AccountRole.ADMIN,
        AccountRole.MEMBER,
        AccountRole.ADMIN,
    )
    assert (first.handle, first.display_name, first.email) == ("ada", "Ada", "ada@example.org")
    assert (first.created_at, first.signed_in_at, login.user_id) == (NOW, NOW, first.user_id)
    assert store.account_of(first.user_id) == first
    assert store.account_of("0" * 32) is None
    assert store.account_of(store.user_for_identity(identity("guest")).id) is None


def test_the_first_account_is_a_member_where_admins_are_named(store: Store) -> None:
    first, _ = sign_in(store, "bob", first_is_admin=False)
    second, _ = sign_in(store, "ada", role=AccountRole.ADMIN, first_is_admin=False)
    assert (first.role, second.role) == (AccountRole.MEMBER, AccountRole.ADMIN)
    assert sign_in(store, "ada", "new", first_is_admin=False)[0].role is AccountRole.ADMIN


def test_a_later_sign_in_finds_the_account_and_renews_its_names(store: Store) -> None:
    first, _ = sign_in(store, "ada")
    later = NOW + timedelta(days=3)
    again, login = sign_in(store, "ada", "another cookie", now=later)
    assert again.user_id == first.user_id == login.user_id
    assert (again.created_at, again.signed_in_at, again.role) == (NOW, later, AccountRole.ADMIN)
    assert sign_in(store, "ada", "third", role=AccountRole.MEMBER)[0].role is AccountRole.MEMBER


def test_the_name_that_a_provider_vouches_for_is_that_of_the_last_sign_in(store: Store) -> None:
    first, _ = sign_in(store, "ada")
    assert first.user_name == "ada"
    who = Identity("https://id.example", "subject ada", "ada", "Ada")
    store.sign_in(
        who, token_hash=identity("new"), client="Firefox", now=NOW, expires_at=NOW + timedelta(days=1)
    )
    found = store.account_of(first.user_id)
    assert found is not None
    assert (found.handle, found.user_name, found.email) == ("ada", None, None)


def test_the_first_sign_in_keeps_all_that_the_guest_made(store: Store) -> None:
    things = fill(store, "cookie", "walrus")
    account, _ = sign_in(store, guest_hash=identity("cookie"))
    assert not store.has_guest(identity("cookie"))
    assert store.user_for_identity(identity("cookie")).id != account.user_id
    assert_all_there(store, account.user_id, things, "walrus")
    assert store.get_preferences(account.user_id).settings == ChatSettings(instructions="walrus")
    assert store.usage_of(account.user_id, TODAY).tokens == 30


def test_a_reply_goes_on_over_the_first_sign_in(store: Store) -> None:
    things = fill(store, "cookie", "walrus")
    account, _ = sign_in(store, guest_hash=identity("cookie"))
    assert store.get_generation(account.user_id, things.running_generation).status.is_open
    finish(store, things.user, things.running_generation)


def test_at_a_later_sign_in_all_of_the_guest_moves_to_the_account(store: Store) -> None:
    own = fill(store, "first cookie", "walrus")
    account, _ = sign_in(store, guest_hash=identity("first cookie"))
    user = account.user_id
    before = store.changes(user)
    stranger = fill(store, "stranger", "walrus")
    things = fill(store, "cookie", "narwhal")
    again, _ = sign_in(store, token="new", guest_hash=identity("cookie"))
    assert again.user_id == user
    assert not store.has_guest(identity("cookie"))
    with pytest.raises(NotFound):
        store.get_preferences(things.user)
    # a page that was open for the account hears of what came
    changes = store.changes(user, before.sequence)
    assert changes.complete
    assert [item.id for item in changes.conversations] == [things.conversation, things.running]
    assert changes.removed == (things.hidden,)
    assert_all_there(store, user, things, "narwhal")
    assert_all_there(store, user, own, "walrus")
    assert store.get_preferences(user).settings == ChatSettings(instructions="walrus")
    assert [preset.name for preset in store.list_presets(user)] == ["mine", "mine (2)"]
    usage = store.usage_of(user, TODAY)
    assert (usage.requests, usage.tokens) == (4, 60)
    assert len(store.keys_of(user)) == 2
    # what is being written goes on, for its new owner
    assert store.get_generation(user, things.running_generation).status.is_open
    finish(store, user, things.running_generation)
    assert {talk for talk, _ in found(store, user, "narwhal")} >= {things.running}
    assert store.get_generation(user, own.running_generation).status is GenerationStatus.RUNNING or (
        store.get_generation(user, own.running_generation).status is GenerationStatus.QUEUED
    )
    # nobody else was touched
    assert_all_there(store, stranger.user, stranger, "walrus")
    assert found(store, stranger.user, "narwhal") == []


def test_what_moved_goes_on_like_anything_else(store: Store) -> None:
    account, _ = sign_in(store)
    begin(store, account.user_id, "older", client_id="client 1")
    things = fill(store, "cookie", "narwhal")
    sign_in(store, token="new", guest_hash=identity("cookie"))
    user = account.user_id
    assert store.get_preferences(user).settings == ChatSettings(instructions="narwhal")  # had set nothing
    assert store.get_preferences(user).effort is ReasoningEffort.HIGH
    before = store.changes(user).sequence
    turn = begin(store, user, "more", conversation_id=things.conversation)
    assert turn.conversation.sequence == before + 1
    store.update_conversation(user, things.conversation, title="title ocelot")
    assert found(store, user, "ocelot") == [(things.conversation, "title")]
    assert (things.conversation, "title") not in found(store, user, "narwhal")
    older = store.find_turn(user, "client 1")
    assert older is not None
    assert older.user_message.content == "older"
    store.delete_conversation(user, things.conversation)
    store.purge_deleted(NOW + timedelta(days=36500))
    assert found(store, user, "answer") == []


def test_presets_that_are_equal_become_one(store: Store) -> None:
    account, _ = sign_in(store)
    store.create_preset(account.user_id, "mine", ChatSettings(seed=7))
    store.create_preset(account.user_id, "mine (2)", ChatSettings(seed=8))
    guest = store.user_for_identity(identity("cookie")).id
    for name, seed in (("mine", 7), ("other", 1)):
        store.create_preset(guest, name, ChatSettings(seed=seed))
    sign_in(store, token="new", guest_hash=identity("cookie"))
    assert [preset.name for preset in store.list_presets(account.user_id)] == ["mine", "mine (2)", "other"]
    guest = store.user_for_identity(identity("cookie")).id
    store.create_preset(guest, "mine", ChatSettings(seed=9))
    sign_in(store, token="newer", guest_hash=identity("cookie"))
    assert "mine (3)" in {preset.name for preset in store.list_presets(account.user_id)}


def test_a_banned_account_does_not_get_in_and_leaves_the_guest_alone(store: Store) -> None:
    sign_in(store, "ada")
    eve, _ = sign_in(store, "eve")
    store.set_ban(eve.user_id, NOW)
    things = fill(store, "cookie", "walrus")
    with pytest.raises(AccountBanned):
        sign_in(store, "eve", "new", guest_hash=identity("cookie"))
    assert store.user_for_identity(identity("cookie")).id == things.user
    assert_all_there(store, things.user, things, "walrus")


def test_a_sign_in_that_fails_changes_nothing(store: Store) -> None:
    sign_in(store, "ada", "token")
    things = fill(store, "cookie", "walrus")
    before = count_rows(store)
    for token in ("token", "ab"):  # taken, and of another length
        with pytest.raises((Conflict, InvalidValue)):
            sign_in(
                store,
                "bob",
                token,
                guest_hash=identity("cookie"),
                **({"token_hash": "ab"} if token == "ab" else {}),
            )
    assert count_rows(store) == before
    assert store.user_for_identity(identity("cookie")).id == things.user


def test_a_user_who_leaves_takes_everything_along(store: Store) -> None:
    sign_in(store, "ada")
    kept = fill(store, "stranger", "walrus")
    before = count_rows(store)
    things = fill(store, "cookie", "narwhal")
    account, _ = sign_in(store, "bob", guest_hash=identity("cookie"))
    assert count_rows(store) != before
    store.delete_user(account.user_id)
    assert count_rows(store) == before
    assert found(store, account.user_id, "narwhal") == []
    with pytest.raises(NotFound):
        store.shared_snapshot(things.share_token)
    with pytest.raises(NotFound):
        store.delete_user(account.user_id)
    assert_all_there(store, kept.user, kept, "walrus")
    assert sign_in(store, "bob", "new")[0].user_id != account.user_id


def test_the_last_admin_does_not_leave_others_behind(store: Store) -> None:
    ada, _ = sign_in(store, "ada")
    bob, _ = sign_in(store, "bob")
    for leave in (store.check_may_leave, store.delete_user):
        with pytest.raises(Conflict, match="last admin"):
            leave(ada.user_id)
    assert store.account_of(ada.user_id) == ada
    store.check_may_leave(bob.user_id)
    store.set_role(bob.user_id, AccountRole.ADMIN)
    store.set_ban(bob.user_id, NOW)
    with pytest.raises(Conflict):  # who is banned administers nothing
        store.delete_user(ada.user_id)
    store.set_ban(bob.user_id, None)
    store.delete_user(ada.user_id)
    with pytest.raises(Conflict):
        store.set_role(bob.user_id, AccountRole.MEMBER)


def test_only_the_first_account_ever_is_an_admin_by_being_first(store: Store) -> None:
    ada, _ = sign_in(store, "ada")
    store.check_may_leave(ada.user_id)
    store.delete_user(ada.user_id)
    stranger, _ = sign_in(store, "eve")
    again, _ = sign_in(store, "ada", "new")
    named, _ = sign_in(store, "bob", role=AccountRole.ADMIN)
    roles = [each.role for each in (stranger, again, named)]
    assert roles == [AccountRole.MEMBER, AccountRole.MEMBER, AccountRole.ADMIN]
    assert store.admins() == [named]


def test_a_database_that_was_restored_knows_that_somebody_was_the_first(
    store: Store, path: Path, tmp_path: Path
) -> None:
    store.delete_user(sign_in(store, "ada")[0].user_id)
    backup.backup(path, tmp_path / "copy.sqlite3")
    store.close()
    backup.restore(path, tmp_path / "copy.sqlite3")
    again = Store.open(path)
    try:
        assert sign_in(again, "eve")[0].role is AccountRole.MEMBER
    finally:
        again.close()


def test_a_sign_in_that_fails_is_not_the_first(store: Store) -> None:
    with pytest.raises(InvalidValue):
        sign_in(store, "eve", token_hash="ab")
    assert sign_in(store, "ada")[0].role is AccountRole.ADMIN


def test_a_guest_can_leave_too(store: Store) -> None:
    before = count_rows(store)
    things = fill(store, "cookie", "narwhal")
    store.delete_user(things.user)
    assert count_rows(store) == before


def test_the_store_in_memory_moves_chats_too(store: Store) -> None:
    memory = Store.open_in_memory()
    try:
        memory.add_owner("g" * 32)
        turn = begin(memory, "g" * 32, "walrus")
        finish(memory, "g" * 32, turn.generation.id)
        memory.take_over("u" * 32, "unknown")
        memory.take_over("u" * 32, "g" * 32)
        memory.take_over("u" * 32, "g" * 32)
        assert texts(memory, "u" * 32, turn.conversation.id) == ["walrus"]
        assert memory.list_conversations("g" * 32) == ([], None)
    finally:
        memory.close()
