"""One user for each identity."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from storage.errors import InvalidValue
from storage.schema import UserRow
from storage.store import Store
from storage.users import SEEN_EVERY
from tests.storage.helpers import identity


def test_first_sight_makes_a_user_and_later_sights_find_it(store: Store) -> None:
    before = datetime.now(UTC)
    user = store.user_for_identity(identity("a"))
    assert user.identity_hash == identity("a")
    assert len(user.id) == 32
    assert before <= user.created_at <= datetime.now(UTC)
    assert user.created_at.utcoffset() == timedelta(0)
    assert store.user_for_identity(identity("a")) == user


def test_two_identities_are_two_users(store: Store) -> None:
    assert store.user_for_identity(identity("a")).id != store.user_for_identity(identity("b")).id


def test_a_hash_of_another_length_is_refused(store: Store) -> None:
    with pytest.raises(InvalidValue):
        store.user_for_identity("abc")


def test_a_visit_after_a_long_time_is_noted(store: Store) -> None:
    user = store.user_for_identity(identity("a"))
    long_ago = user.last_seen_at - SEEN_EVERY - timedelta(minutes=1)
    store._database.write(lambda session: session.execute(update(UserRow).values(last_seen_at=long_ago)))
    again = store.user_for_identity(identity("a"))
    assert again.last_seen_at >= user.last_seen_at
    assert again.created_at == user.created_at


def test_eight_threads_at_first_sight_make_one_user(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        users = list(threads.map(store.user_for_identity, [identity("a")] * 16))
    assert len({user.id for user in users}) == 1
    with store._database.read() as session:
        assert session.scalar(select(func.count()).select_from(UserRow)) == 1
