"""Stored responses: kept whole, found by their owner only, gone on with, forgotten in time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.checksums import RESPONSE_COVERED
from storage.errors import Conflict, DatabaseCorrupt, InvalidText, InvalidValue, NotFound
from storage.response_records import ResponseStatus
from storage.responses import ResponseRoom, flat, grouped
from storage.store import Store
from storage.verification import verify
from tests.storage.helpers import identity, response

LATER = datetime(2026, 3, 5, tzinfo=UTC)


def ids_of(store: Store, owner: str) -> list[str]:
    return [each.id for each in store.all_responses(owner)]


def test_what_is_stored_is_what_is_read(store: Store, owner: str) -> None:
    kept = response("resp_1", "naïve 🦊", error={"code": "c", "message": "m"}, incomplete_reason="x")
    store.save_response(owner, kept)
    assert store.get_response(owner, "resp_1") == kept
    assert store.find_responses(owner, ["resp_1", "resp_2", "resp_1"]) == [kept]
    assert store.find_responses(owner, []) == []
    assert list(store.all_responses(owner)) == [kept]


def test_an_open_response_grows_and_an_ended_one_stays(store: Store, owner: str) -> None:
    ended = response("resp_1")
    begun = replace(
        ended,
        status=ResponseStatus.QUEUED,
        output_items=(),
        finished_at=None,
        usage=None,
        written=(),
        deltas=(),
    )
    store.save_response(owner, begun)
    assert store.get_response(owner, "resp_1") == begun
    store.save_response(owner, ended)
    assert store.get_response(owner, "resp_1") == ended
    with pytest.raises(Conflict):
        store.save_response(owner, begun)


def test_nobody_writes_over_what_is_somebody_elses(store: Store, owner: str, stranger: str) -> None:
    begun = response("resp_1", status=ResponseStatus.IN_PROGRESS)
    store.save_response(owner, begun)
    with pytest.raises(NotFound):
        store.save_response(stranger, response("resp_1", "mine"))
    with pytest.raises(NotFound):
        store.save_response("0" * 32, response("resp_2"))
    assert store.find_responses(stranger, ["resp_1"]) == []
    assert ids_of(store, stranger) == []
    assert list(store.all_responses(owner)) == [begun]


def test_half_a_character_is_refused(store: Store, owner: str) -> None:
    for broken in (response("resp_1", "\ud800"), response("resp_1", echo={"a": float("nan")})):
        with pytest.raises(InvalidText):
            store.save_response(owner, broken)
    assert ids_of(store, owner) == []


def test_a_conversation_is_read_from_its_beginning(store: Store, owner: str) -> None:
    for number in range(1, 5):
        before = f"resp_{number - 1}" if number > 1 else None
        store.save_response(owner, response(f"resp_{number}", previous_response_id=before))
    store.save_response(owner, response("resp_fork", previous_response_id="resp_2"))
    assert [each.id for each in store.response_chain(owner, "resp_4")] == [
        "resp_1",
        "resp_2",
        "resp_3",
        "resp_4",
    ]
    assert [each.id for each in store.response_chain(owner, "resp_fork")] == ["resp_1", "resp_2", "resp_fork"]


def test_a_conversation_ends_where_it_is_broken_open_or_too_long(
    store: Store, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_response(owner, response("resp_1"))
    store.save_response(owner, response("resp_2", previous_response_id="resp_1"))
    monkeypatch.setattr(Store, "room", ResponseRoom(chain_bytes=500))
    with pytest.raises(InvalidValue):
        store.response_chain(owner, "resp_2")
    monkeypatch.undo()
    store.delete_response(owner, "resp_1")
    with pytest.raises(Conflict) as caught:
        store.response_chain(owner, "resp_2")
    assert "was deleted" in str(caught.value)
    store.save_response(owner, response("resp_3", status=ResponseStatus.IN_PROGRESS))
    with pytest.raises(Conflict):
        store.response_chain(owner, "resp_3")


def test_the_oldest_make_room(
    store: Store, owner: str, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "room", ResponseRoom(count=3))
    store.save_response(stranger, response("resp_theirs"))
    store.save_response(owner, response("resp_open", status=ResponseStatus.QUEUED))
    for number in range(5):
        created = LATER + timedelta(minutes=number)
        store.save_response(owner, response(f"resp_{number}", created_at=created))
    assert ids_of(store, owner) == ["resp_open", "resp_3", "resp_4"]
    monkeypatch.setattr(Store, "room", ResponseRoom(bytes=3700))
    store.save_response(owner, response("resp_long", "x" * 3000, created_at=LATER + timedelta(hours=1)))
    assert ids_of(store, owner) == ["resp_open", "resp_long"]
    assert ids_of(store, stranger) == ["resp_theirs"]


def test_what_is_not_used_for_long_is_forgotten(store: Store, owner: str) -> None:
    for name in ("resp_old", "resp_used"):
        store.save_response(owner, response(name))
    store.save_response(owner, response("resp_open", status=ResponseStatus.IN_PROGRESS))
    store.save_response(owner, response("resp_new", created_at=datetime.now(UTC)))
    store.save_response(
        owner, response("resp_on", previous_response_id="resp_used", created_at=datetime.now(UTC))
    )
    store.response_chain(owner, "resp_on")
    assert store.forget_responses(LATER) == 1
    assert ids_of(store, owner) == ["resp_used", "resp_open", "resp_new", "resp_on"]
    assert store.forget_responses(LATER) == 0


def test_a_new_start_ends_what_was_open(path: Path) -> None:
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    store.save_response(owner, response("resp_open", status=ResponseStatus.IN_PROGRESS, finished_at=None))
    store.save_response(owner, response("resp_done"))
    store.close()
    store = Store.open(path)
    lost = store.get_response(owner, "resp_open")
    assert lost.status is ResponseStatus.FAILED
    assert lost.error is not None
    assert "ended before" in lost.error["message"]
    assert lost.finished_at is not None
    assert store.get_response(owner, "resp_done") == response("resp_done")
    store.close()
    verify(path)


CHANGES = [
    "id = 'resp_2'",
    "status = 'failed'",
    "model = 'x'",
    "previous_response_id = 'x'",
    "background = 1",
    "echo = '{}'",
    "input_items = '[]'",
    "output_items = '[]'",
    "usage = '{}'",
    "error = '{}'",
    "incomplete_reason = 'x'",
    "written = x'00000000'",
    "deltas = x'00000000'",
    "deltas = x'000000'",
    "checksum = checksum + 1",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_response_is_not_used(store: Store, owner: str, path: Path, change: str) -> None:
    store.save_response(owner, response("resp_1"))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"UPDATE responses SET {change}")  # noqa: S608
        raw.commit()
    with pytest.raises(DatabaseCorrupt):
        list(store.all_responses(owner))
    store.close()
    with pytest.raises(DatabaseCorrupt):
        verify(path)


def test_every_covered_column_is_damaged_above() -> None:
    assert {change.split(" =")[0] for change in CHANGES} == {*RESPONSE_COVERED, "checksum"}


@given(st.lists(st.lists(st.integers(0, 2**32 - 1))))
def test_groups_of_numbers_come_back(groups: list[list[int]]) -> None:
    assert grouped(flat(groups)) == tuple(map(tuple, groups))


@pytest.mark.parametrize("numbers", [(1,), (1, 2, 5), (2, 1, 5), (0, 7), (9, 9, 9)])
def test_what_are_no_groups_is_damage(numbers: tuple[int, ...]) -> None:
    with pytest.raises(DatabaseCorrupt):
        grouped(numbers)
