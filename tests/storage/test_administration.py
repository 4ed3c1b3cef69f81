"""What admins see and do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from storage.account_records import AccountRole, KeyScope, Totals, UserCounts, UserKind
from storage.errors import Conflict, InvalidValue, NotFound
from storage.store import Store
from tests.storage.accounts_helpers import IDLE, NOW, fill, sign_in
from tests.storage.helpers import identity


def test_users_are_counted_and_never_quoted(store: Store) -> None:
    guest = fill(store, "cookie", "walrus").user
    ada, _ = sign_in(store, "ada")
    today = datetime.now(UTC).date()
    _, before = store.users_overview()
    for days, tokens in ((0, 5), (29, 7), (30, 1000)):
        store.add_usage(guest, (today - timedelta(days=days)).isoformat(), 1, tokens)
    newest, oldest = store.users_overview()
    assert (newest.user_id, newest.handle, newest.display_name) == (ada.user_id, "ada", "Ada")
    assert (newest.role, newest.banned_at, newest.conversations) == (AccountRole.ADMIN, None, 0)
    assert (oldest.user_id, oldest.handle, oldest.display_name) == (guest, None, None)
    assert (oldest.role, oldest.conversations, oldest.messages) == (AccountRole.MEMBER, 2, 6)
    assert (oldest.requests - before.requests, oldest.tokens - before.tokens) == (2, 12)
    assert "walrus" not in str(asdict(oldest))


def test_the_overview_comes_in_pages(store: Store) -> None:
    users = [store.user_for_identity(identity(str(number))).id for number in range(5)]
    seen, after = [], None
    while page := store.users_overview(after, 2):
        seen += [user.user_id for user in page]
        after = page[-1].user_id
    assert seen == users[::-1]
    with pytest.raises(NotFound):
        store.users_overview("0" * 32)
    for limit in (0, 201):
        with pytest.raises(InvalidValue):
            store.users_overview(None, limit)


def test_accounts_guests_and_the_banned_are_told_apart(store: Store) -> None:
    assert store.user_counts() == UserCounts(0, 0, 0)
    guests = [store.user_for_identity(identity(str(number))).id for number in range(3)]
    ada, eve = (sign_in(store, name)[0].user_id for name in ("ada", "eve"))
    store.set_ban(eve, NOW)
    assert store.user_counts() == UserCounts(accounts=2, guests=3, banned=1)
    found = {kind: [each.user_id for each in store.users_overview(None, 200, kind)] for kind in UserKind}
    assert found == {
        UserKind.ALL: [eve, ada, *guests[::-1]],
        UserKind.ACCOUNTS: [eve, ada],
        UserKind.GUESTS: guests[::-1],
        UserKind.BANNED: [eve],
    }
    # a page goes on below any user, also one of another kind
    assert [each.user_id for each in store.users_overview(eve, 1, UserKind.GUESTS)] == [guests[2]]


def test_a_ban_ends_sessions_and_keys_until_it_is_lifted(store: Store) -> None:
    sign_in(store, "ada")
    eve, _ = sign_in(store, "eve", "cookie")
    store.add_key(eve.user_id, "x", identity("key"), "x", frozenset(KeyScope), NOW)
    summary = store.set_ban(eve.user_id, NOW)
    assert (summary.user_id, summary.banned_at) == (eve.user_id, NOW)
    assert store.session_for(identity("cookie"), now=NOW, idle=IDLE) is None
    assert store.key_for(identity("key"), NOW) is None
    assert store.set_ban(eve.user_id, None).banned_at is None
    assert store.session_for(identity("cookie"), now=NOW, idle=IDLE) is None
    assert store.key_for(identity("key"), NOW) is not None
    assert sign_in(store, "eve", "new")[0].user_id == eve.user_id


def test_the_last_admin_stays(store: Store) -> None:
    ada, _ = sign_in(store, "ada")
    bob, _ = sign_in(store, "bob")
    with pytest.raises(Conflict, match="last admin"):
        store.set_ban(ada.user_id, NOW)
    with pytest.raises(Conflict, match="last admin"):
        store.set_role(ada.user_id, AccountRole.MEMBER)
    assert store.set_role(bob.user_id, AccountRole.ADMIN).role is AccountRole.ADMIN
    store.set_ban(bob.user_id, NOW)
    with pytest.raises(Conflict):  # a banned admin is none
        store.set_ban(ada.user_id, NOW)
    store.set_ban(bob.user_id, None)
    assert store.set_role(ada.user_id, AccountRole.MEMBER).role is AccountRole.MEMBER
    with pytest.raises(Conflict):
        store.set_ban(bob.user_id, NOW)


def test_guests_and_strangers_have_no_role(store: Store) -> None:
    guest = store.user_for_identity(identity("guest")).id
    for user, error in ((guest, InvalidValue), ("0" * 32, NotFound)):
        with pytest.raises(error):
            store.set_ban(user, NOW)
        with pytest.raises(error):
            store.set_role(user, AccountRole.ADMIN)


def test_totals_are_of_all_users_and_of_this_day(store: Store) -> None:
    assert store.totals(NOW) == Totals(0, 0, 0, 0, store.totals(NOW).database_bytes, 0, 0)
    fill(store, "cookie", "walrus")
    fill(store, "other", "walrus")
    sign_in(store, guest_hash=identity("cookie"))
    totals = store.totals(NOW)
    assert totals.database_bytes > 4096
    assert asdict(totals) | {"database_bytes": 0} == {
        "users": 2,
        "accounts": 1,
        "conversations": 4,
        "messages": 14,
        "database_bytes": 0,
        "requests_today": 4,
        "tokens_today": 60,
    }
    assert store.totals(NOW + timedelta(days=1)).tokens_today == 0
