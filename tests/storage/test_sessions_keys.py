"""Sessions, keys and use: found by their hash, ended by their owner alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from storage import api_keys, sessions
from storage.account_records import KeyScope, Usage
from storage.account_schema import ApiKeyRow, LoginSessionRow
from storage.errors import InvalidValue, NotFound, TooMany
from storage.records import ChatSettings
from storage.schema import UserRow
from storage.store import Store
from tests.storage.accounts_helpers import IDLE, NOW, TODAY, sign_in
from tests.storage.helpers import begin, identity

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BOTH = frozenset(KeyScope)


def commits(store: Store) -> int:
    """Changes of rows on the writing connection so far."""
    return store._database.write(
        lambda session: int(session.execute(text("SELECT total_changes()")).scalar_one())
    )


def test_a_session_is_found_by_the_hash_of_its_cookie(store: Store) -> None:
    account, login = sign_in(store, token="cookie")
    assert store.session_for(identity("cookie"), now=NOW, idle=IDLE) == (account, login)
    assert store.session_for(identity("another"), now=NOW, idle=IDLE) is None
    assert store.session_for("", now=NOW, idle=IDLE) is None
    assert store.access_token_of(login.id) == b"sealed"
    assert store.access_token_of("0" * 32) is None


def test_a_session_ends_when_it_is_not_used_and_at_its_end(store: Store) -> None:
    sign_in(store, token="cookie")
    sign_in(store, token="unused")
    before_idle = NOW + IDLE - MINUTE
    assert store.session_for(identity("cookie"), now=before_idle, idle=IDLE)
    assert store.session_for(identity("unused"), now=NOW + IDLE, idle=IDLE) is None
    assert store.session_for(identity("cookie"), now=NOW + IDLE, idle=IDLE)  # it was used meanwhile
    end = NOW + timedelta(days=90)
    assert store.session_for(identity("cookie"), now=end - MINUTE, idle=timedelta(days=999))
    assert store.session_for(identity("cookie"), now=end, idle=timedelta(days=999)) is None


def test_a_clock_that_is_set_back_extends_no_session(store: Store) -> None:
    year, ever = timedelta(days=365), timedelta(days=9999)
    _, login = sign_in(store, token="cookie")
    assert store.session_for(identity("cookie"), now=NOW + year, idle=ever) is None
    assert store.session_for(identity("cookie"), now=NOW, idle=ever) is None
    sign_in(store, token="early", now=NOW + year, expires_at=NOW + year + timedelta(days=90))
    assert store.session_for(identity("early"), now=NOW + year, idle=ever)
    assert store.sessions_of(login.user_id, NOW, ever) == []
    assert store.session_for(identity("early"), now=NOW, idle=ever) is None
    assert store.session_for(identity("early"), now=NOW + year, idle=ever) is None


def test_visits_are_noted_every_few_minutes_only(store: Store) -> None:
    _, login = sign_in(store, token="cookie")
    before = commits(store)
    for _ in range(5):
        store.session_for(identity("cookie"), now=NOW + sessions.SEEN_EVERY - MINUTE, idle=IDLE)
    assert commits(store) == before
    later = NOW + sessions.SEEN_EVERY
    store.session_for(identity("cookie"), now=later, idle=IDLE)
    assert [each.last_seen_at for each in store.sessions_of(login.user_id, later, IDLE)] == [later]
    assert store.users_overview()[0].last_seen_at >= later
    store.session_for(identity("cookie"), now=NOW - DAY / 2, idle=IDLE)  # the clock went back
    assert [each.last_seen_at for each in store.sessions_of(login.user_id, later, IDLE)] == [later]


def test_sessions_are_listed_and_ended(store: Store) -> None:
    account, first = sign_in(store, token="first")
    _, second = sign_in(store, token="second", client="Safari", now=NOW + MINUTE)
    _, third = sign_in(store, token="third", now=NOW + 2 * MINUTE)
    user = account.user_id
    assert store.sessions_of(user, NOW, IDLE) == [third, second, first]
    store.end_session(user, second.id)
    assert store.session_for(identity("second"), now=NOW, idle=IDLE) is None
    with pytest.raises(NotFound):
        store.end_session(user, second.id)
    assert store.end_sessions(user, except_id=third.id) == 1
    assert store.sessions_of(user, NOW, IDLE) == [third]
    assert store.end_sessions(user) == 1
    assert store.end_sessions(user) == 0
    assert store.sessions_of(user, NOW, IDLE) == []


def test_two_users_never_meet(store: Store) -> None:
    """Whatever one asks, what the other has stays, and reads like what is not there."""
    ada, login = sign_in(store, "ada", "ada")
    bob, _ = sign_in(store, "bob", "bob")
    key = store.add_key(ada.user_id, "laptop", identity("key"), "abcd", BOTH, NOW)
    store.add_usage(ada.user_id, TODAY, 1, 2)
    answers = set()
    for asked in (login.id, "0" * 32):
        with pytest.raises(NotFound) as caught:
            store.end_session(bob.user_id, asked)
        answers.add((str(caught.value), caught.value.code))
    for asked in (key.id, "0" * 32):
        with pytest.raises(NotFound) as caught:
            store.revoke_key(bob.user_id, asked)
        answers.add((str(caught.value), caught.value.code))
    assert len(answers) == 1
    assert store.end_sessions(bob.user_id) == 1
    assert store.keys_of(bob.user_id) == []
    assert store.usage_of(bob.user_id, TODAY) == Usage(TODAY)
    assert store.sessions_of(ada.user_id, NOW, IDLE) == [login]
    assert store.keys_of(ada.user_id) == [key]
    store.delete_user(bob.user_id)
    assert store.key_for(identity("key"), NOW) == (ada, key, ada.user_id)
    assert store.usage_of(ada.user_id, TODAY) == Usage(TODAY, 1, 2)


def test_a_key_is_found_by_its_hash_until_it_is_revoked(store: Store) -> None:
    account, _ = sign_in(store)
    user = account.user_id
    first = store.add_key(user, "laptop", identity("key"), "abcd", BOTH, NOW)
    second = store.add_key(user, "phone", identity("other"), "efgh", {KeyScope.INFERENCE}, NOW)
    assert [first.scopes, second.scopes] == [BOTH, frozenset({KeyScope.INFERENCE})]
    assert store.keys_of(user) == [second, first]
    assert store.key_for(identity("key"), NOW) == (account, first, user)
    assert store.key_for(identity("unknown"), NOW) is None
    store.revoke_key(user, first.id)
    assert store.key_for(identity("key"), NOW) is None
    with pytest.raises(NotFound):
        store.revoke_key(user, first.id)
    with pytest.raises(NotFound):
        store.add_key("0" * 32, "x", identity("x"), "x", BOTH, NOW)
    with pytest.raises(InvalidValue):
        store.add_key(user, "x", "no hash", "x", BOTH, NOW)


def test_use_of_a_key_is_noted_every_minute_only(store: Store) -> None:
    account, _ = sign_in(store)
    store.add_key(account.user_id, "laptop", identity("key"), "abcd", BOTH, NOW)
    store.key_for(identity("key"), NOW)
    before = commits(store)
    for _ in range(5):
        store.key_for(identity("key"), NOW + api_keys.USED_EVERY / 2)
    assert commits(store) == before
    assert store.keys_of(account.user_id)[0].last_used_at == NOW
    store.key_for(identity("key"), NOW + api_keys.USED_EVERY)
    assert store.keys_of(account.user_id)[0].last_used_at == NOW + api_keys.USED_EVERY


def test_a_guest_may_have_a_key_and_it_stays_his(store: Store) -> None:
    guest = store.user_for_identity(identity("guest")).id
    key = store.add_key(guest, "laptop", identity("key"), "abcd", BOTH, NOW)
    assert store.key_for(identity("key"), NOW) == (None, key, guest)


def test_there_is_room_for_a_few_keys(store: Store, owner: str, stranger: str) -> None:
    for number in range(api_keys.MOST_KEYS):
        store.add_key(owner, "x", identity(str(number)), "x", BOTH, NOW)
    with pytest.raises(TooMany) as caught:
        store.add_key(owner, "x", identity("one more"), "x", BOTH, NOW)
    assert "20 keys" in str(caught.value)
    store.add_key(stranger, "x", identity("one more"), "x", BOTH, NOW)


def test_use_is_counted_by_user_and_day(store: Store, owner: str, stranger: str) -> None:
    for _ in range(3):
        store.add_usage(owner, TODAY, 1, 100)
    store.add_usage(owner, "2026-03-05", 1, 1)
    store.add_usage(stranger, TODAY, 0, 7)
    assert store.usage_of(owner, TODAY) == Usage(TODAY, 3, 300)
    assert store.usage_of(stranger, TODAY) == Usage(TODAY, 0, 7)
    with pytest.raises(NotFound):
        store.add_usage("0" * 32, TODAY, 1, 1)
    with pytest.raises(InvalidValue):
        store.add_usage(owner, "today", 1, 1)


def test_what_is_over_is_tidied_away(store: Store) -> None:
    account, _ = sign_in(store, token="old")
    _, kept = sign_in(store, token="new", now=NOW + IDLE)
    guests = {name: store.user_for_identity(identity(name)).id for name in ("talks", "keys", "preset", "no")}
    begin(store, guests["talks"])
    store.add_key(guests["keys"], "x", identity("key"), "x", BOTH, NOW)
    store.create_preset(guests["preset"], "x", ChatSettings())
    long_ago = NOW - sessions.GUESTS_KEPT
    store._database.write(lambda session: session.execute(update(UserRow).values(last_seen_at=long_ago)))
    recent = store.user_for_identity(identity("recent")).id
    assert store.tidy_sessions(NOW + IDLE + MINUTE, IDLE) == 2  # a session and a guest
    assert store.sessions_of(account.user_id, NOW + IDLE, IDLE) == [kept]
    left = {user.user_id for user in store.users_overview()}
    assert left == {account.user_id, recent, *guests.values()} - {guests["no"]}
    assert store.tidy_sessions(NOW + IDLE + MINUTE, IDLE) == 0


def test_many_forgotten_guests_go_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GUESTS_AT_ONCE", 3)
    for number in range(7):
        store.user_for_identity(identity(str(number)))
    later = NOW + timedelta(days=36500)
    assert store.tidy_sessions(later, IDLE) == 7
    assert store.users_overview() == []


def test_only_hashes_are_kept(store: Store) -> None:
    sign_in(store, token="cookie")
    with store._database.read() as session:
        assert session.scalars(select(LoginSessionRow.token_hash)).all() == [identity("cookie")]
        assert session.scalar(select(func.count()).select_from(ApiKeyRow)) == 0
