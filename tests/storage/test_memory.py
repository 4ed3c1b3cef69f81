"""The store of what is never written to a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from storage.clock import steady_now
from storage.errors import NotFound, StorageClosed, StorageError
from storage.schema import UserRow
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity


@pytest.fixture
def memory() -> Iterator[Store]:
    opened = Store.open_in_memory()
    yield opened
    opened.close()


def test_an_owner_of_another_store_is_known_by_the_same_id(memory: Store, owner: str) -> None:
    with pytest.raises(NotFound):
        begin(memory, owner)
    memory.add_owner(owner)
    memory.add_owner(owner)
    turn = begin(memory, owner)
    assert memory.list_conversations(owner)[0] == [turn.conversation]
    assert memory.get_preferences(owner)
    assert memory.user_for_identity(identity("owner")).id != owner  # no cookie leads to the copy


def test_who_has_nothing_there_any_more_is_forgotten(memory: Store, owner: str) -> None:
    empty, busy = "e" * 32, "b" * 32
    for each in (owner, empty, busy):
        memory.add_owner(each)
    kept, gone = begin(memory, owner), begin(memory, empty)
    memory.delete_conversation(empty, gone.conversation.id)
    memory.purge_deleted(steady_now() + timedelta(seconds=1))
    later = datetime.now(UTC) + timedelta(hours=1)
    with memory._database.read() as session:
        moment = session.scalars(select(UserRow.last_seen_at).where(UserRow.id == busy)).one()
    memory.forget_owners(moment)  # the two before were asked for earlier
    assert owners(memory) == {owner, busy}
    memory.forget_owners(later)
    assert owners(memory) == {owner}
    assert memory.path(owner, kept.conversation.id)
    memory.add_owner(empty)
    begin(memory, empty)


def owners(memory: Store) -> set[str]:
    with memory._database.read() as session:
        return set(session.scalars(select(UserRow.id)))


def test_its_ids_tell_where_they_are_from(memory: Store, store: Store, owner: str) -> None:
    memory.add_owner(owner)
    temporary, kept = begin(memory, owner), begin(store, owner)
    for turn, length in ((temporary, 33), (kept, 32)):
        ids = (turn.conversation.id, turn.user_message.id, turn.generation.id)
        assert {len(each) for each in ids} == {length}
        assert {each[0] == "t" for each in ids} == {length == 33}


def test_it_works_from_many_threads_and_keeps_each_write_whole(memory: Store) -> None:
    owners = [f"{number:032x}" for number in range(4)]

    def talk(owner: str) -> None:
        memory.add_owner(owner)
        for number in range(10):
            turn = begin(memory, owner, str(number))
            memory.save_progress(owner, turn.generation.id, [draft(0, "a"), draft(1, "b")], [1])
            assert len(memory.path(owner, turn.conversation.id)) == 3
            finish(memory, owner, turn.generation.id)

    def look(owner: str) -> None:
        for item in memory.list_conversations(owner)[0]:
            assert len(memory.path(owner, item.id)) in (1, 3)

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(talk, owner) for owner in owners] + [
            threads.submit(look, owner) for owner in owners * 5
        ]:
            future.result(timeout=60)
    assert [len(memory.list_conversations(owner)[0]) for owner in owners] == [10] * 4


def test_what_fails_is_undone_and_foreign_keys_hold(memory: Store, owner: str) -> None:
    memory.add_owner(owner)
    before = memory.list_conversations(owner)
    with pytest.raises(StorageError):
        begin(memory, owner, model="half \ud800")
    assert memory.list_conversations(owner) == before
    with pytest.raises(NotFound):
        memory._database.write(
            lambda session: session.connection().exec_driver_sql(
                "INSERT INTO preferences VALUES ('nobody', 'low', 0, 'dark', '{}')"
            )
        )


def test_it_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store.open_in_memory().close()
    files = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    memory = Store.open_in_memory()
    memory.add_owner("o" * 32)
    begin(memory, "o" * 32, "x" * 1_000_000)
    memory.close()
    memory.close()
    with pytest.raises(StorageClosed):
        memory.list_conversations("o" * 32)
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= files
    assert threading.active_count() <= threads
    other = Store.open_in_memory()
    assert other.list_conversations("o" * 32) == ([], None)
    other.close()
