"""Responses of the OpenAI API, kept so that later ones can go on from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage.checksums import RESPONSE_COVERED, response_checksum
from storage.column_types import pack_ids
from storage.database import Database, Queries
from storage.errors import Conflict, DatabaseCorrupt, InvalidText, InvalidValue, NotFound
from storage.response_records import OPEN_RESPONSES, Json, ResponseRecord, ResponseStatus
from storage.schema import ResponseRow

LONGEST_CHAIN = 1000
MOST_AT_ONCE = 200
DAMAGED = (
    "A stored response is damaged and is not used. "
    "Stop the playground and restore a backup: python app.py restore."
)
LOST = {
    "code": "server_error",
    "message": "The server ended before this response was complete. Ask again.",
}
"""The error of a response that was open when its process ended."""


@dataclass(frozen=True, slots=True)
class ResponseRoom:
    """How many responses one owner may keep, and how many bytes of them; older ones make room."""

    count: int = 10_000
    bytes: int = 256 << 20
    chain_bytes: int = 16 << 20


ROOM = ResponseRoom()


class ResponseQueries(Queries):
    """The store's part for responses. What is damaged raises DatabaseCorrupt."""

    room = ROOM

    def save_response(self, owner_id: str, record: ResponseRecord) -> int:
        """Keep a response, new or as it is now; returns its size. The oldest ones of this owner make room.

        Raises NotFound for an unknown owner or an id of somebody else's, Conflict for one that has ended,
        InvalidText for half of a character pair.
        """
        values = _values(record)

        def work(session: Session) -> int:
            found = session.execute(
                select(ResponseRow.owner_id, ResponseRow.status).where(ResponseRow.id == record.id)
            ).one_or_none()
            if found is None:
                session.add(ResponseRow(owner_id=owner_id, used_at=record.created_at, **values))
            elif found.owner_id != owner_id:
                raise NotFound
            elif not found.status.is_open:
                raise Conflict("This response has already ended.")
            else:
                session.execute(update(ResponseRow).where(ResponseRow.id == record.id).values(**values))
            session.flush()
            _make_room(session, owner_id, record.id, self.room)
            return int(values["size"])

        return self._database.write(work)

    def get_response(self, owner_id: str, response_id: str) -> ResponseRecord:
        """One response. Raises NotFound."""
        with self._database.read() as session:
            return _record(_owned(session, owner_id, response_id))

    def find_responses(self, owner_id: str, response_ids: Iterable[str]) -> list[ResponseRecord]:
        """Those of these responses that this owner has, at most 200 of them."""
        ids = list(dict.fromkeys(response_ids))[:MOST_AT_ONCE]
        statement = select(ResponseRow).where(ResponseRow.id.in_(ids), ResponseRow.owner_id == owner_id)
        with self._database.read() as session:
            return [_record(row) for row in session.scalars(statement)] if ids else []

    def response_chain(self, owner_id: str, response_id: str) -> list[ResponseRecord]:
        """A response and those that it goes on from, the first one first; all of them count as used now.

        Raises NotFound for one that is not there, Conflict where an earlier one is gone or has not ended,
        InvalidValue for a conversation that is too long.
        """

        def work(session: Session) -> list[str]:
            ids = _chain(session, owner_id, response_id, self.room)
            for first in range(0, len(ids), MOST_AT_ONCE):
                some = ids[first : first + MOST_AT_ONCE]
                session.execute(
                    update(ResponseRow)
                    .where(ResponseRow.id.in_(some), ResponseRow.owner_id == owner_id)
                    .values(used_at=datetime.now(UTC))
                )
            return ids

        with self._database.read() as session:
            ids = _chain(session, owner_id, response_id, self.room)
            found: dict[str, ResponseRecord] = {}
            for first in range(0, len(ids), MOST_AT_ONCE):
                some = ids[first : first + MOST_AT_ONCE]
                statement = select(ResponseRow).where(
                    ResponseRow.id.in_(some), ResponseRow.owner_id == owner_id
                )
                found |= {row.id: _record(row) for row in session.scalars(statement)}
        self._database.note(work)
        return [found[each] for each in reversed(ids)]

    def delete_response(self, owner_id: str, response_id: str) -> None:
        """Remove a response for good. Raises NotFound."""

        def work(session: Session) -> None:
            row = _owned(session, owner_id, response_id)
            session.execute(delete(ResponseRow).where(ResponseRow.sequence == row.sequence))

        self._database.write(work)

    def all_responses(self, owner_id: str) -> Iterable[ResponseRecord]:
        """Every response of this owner, the oldest first, read a few at a time."""
        after = 0
        while True:
            statement = select(ResponseRow).where(
                ResponseRow.owner_id == owner_id, ResponseRow.sequence > after
            )
            with self._database.read() as session:
                rows = session.scalars(statement.order_by(ResponseRow.sequence).limit(20)).all()
                page = [_record(row) for row in rows]
                after = rows[-1].sequence if rows else after
            if not page:
                return
            yield from page

    def forget_responses(self, older_than: datetime) -> int:
        """Remove, of all owners, what was neither made nor gone on from since; returns how many."""
        removed = 0
        while count := self._database.write(_forgetting(older_than)):
            removed += count
        return removed


def fail_open_responses(database: Database) -> None:
    """At start nothing runs: what the last process left open has failed."""

    def work(session: Session) -> None:
        statement = select(ResponseRow).where(ResponseRow.status.in_(OPEN_RESPONSES))
        for row in session.scalars(statement):
            row.status = ResponseStatus.FAILED
            row.finished_at = datetime.now(UTC)
            row.error = json.dumps(LOST)
            row.checksum = row_checksum(row)

    database.write(work)


def row_checksum(row: Any) -> int:
    """The checksum of an object with the columns of a response."""
    values = {name: getattr(row, name) for name in RESPONSE_COVERED}
    packed = {name: pack_ids(values[name]) for name in ("written", "deltas")}
    return response_checksum(*(values | packed).values())


def flat(groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Groups of numbers as one row of numbers: how many groups, the length of each, then all of them."""
    return (len(groups), *map(len, groups), *(each for group in groups for each in group))


def grouped(numbers: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """What ``flat`` was given. Raises DatabaseCorrupt for anything else."""
    count = numbers[0] if numbers else 0
    lengths = numbers[1 : count + 1]
    if len(lengths) != count or 1 + count + sum(lengths) != max(1, len(numbers)):
        raise DatabaseCorrupt(DAMAGED)
    groups, place = [], count + 1
    for length in lengths:
        groups.append(tuple(numbers[place : place + length]))
        place += length
    return tuple(groups)


def _owned(session: Session, owner_id: str, response_id: str) -> ResponseRow:
    row = session.scalar(
        select(ResponseRow).where(ResponseRow.id == response_id, ResponseRow.owner_id == owner_id)
    )
    if row is None:
        raise NotFound
    return row


def _chain(session: Session, owner_id: str, response_id: str, room: ResponseRoom) -> list[str]:
    """The ids from a response back to the first one of its conversation."""
    ids: list[str] = []
    size, wanted = 0, response_id
    columns = (ResponseRow.status, ResponseRow.previous_response_id, ResponseRow.size)
    while True:
        row = session.execute(
            select(*columns).where(ResponseRow.id == wanted, ResponseRow.owner_id == owner_id)
        ).one_or_none()
        if row is None and not ids:
            raise NotFound
        if row is None:
            raise Conflict("An earlier response of this conversation was deleted. Begin a new one.")
        if row.status.is_open:
            raise Conflict("This response has not ended yet. Wait for its end, or cancel it.")
        ids.append(wanted)
        size += row.size
        if len(ids) > LONGEST_CHAIN or size > room.chain_bytes:
            raise InvalidValue("This conversation is too long to be gone on with. Begin a new one.")
        if row.previous_response_id is None:
            return ids
        wanted = row.previous_response_id


def _make_room(session: Session, owner_id: str, new_id: str, room: ResponseRoom) -> None:
    """Remove what was not used for longest until the rest is within bounds."""
    theirs = ResponseRow.owner_id == owner_id
    totals = session.execute(select(func.count(), func.sum(ResponseRow.size)).where(theirs)).one()
    count, size = totals[0], totals[1] or 0
    if count <= room.count and size <= room.bytes:
        return
    oldest = (
        select(ResponseRow.sequence, ResponseRow.size, ResponseRow.status, ResponseRow.id)
        .where(theirs)
        .order_by(ResponseRow.used_at, ResponseRow.sequence)
    )
    for row in session.execute(oldest).all():
        if count <= room.count and size <= room.bytes:
            return
        if not row.status.is_open and row.id != new_id:
            session.execute(delete(ResponseRow).where(ResponseRow.sequence == row.sequence))
            count, size = count - 1, size - row.size


def _forgetting(older_than: datetime) -> Callable[[Session], int]:
    """Remove some of them; others may write in between."""

    def work(session: Session) -> int:
        old = (
            select(ResponseRow.sequence)
            .where(ResponseRow.used_at < older_than, ResponseRow.status.not_in(OPEN_RESPONSES))
            .limit(MOST_AT_ONCE)
        )
        ids = session.scalars(old).all()
        session.execute(delete(ResponseRow).where(ResponseRow.sequence.in_(ids)))
        return len(ids)

    return work


def _text(value: object) -> str:
    """JSON; InvalidText for what cannot be stored."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except ValueError:
        raise InvalidText from None
    return text


def _optional(value: Json | None) -> str | None:
    return None if value is None else _text(value)


def _values(record: ResponseRecord) -> dict[str, Any]:
    """The columns of a record but for its owner."""
    values: dict[str, Any] = {
        "id": record.id,
        "created_at": record.created_at,
        "finished_at": record.finished_at,
        "status": record.status,
        "background": record.background,
        "model": record.model,
        "previous_response_id": record.previous_response_id,
        "usage": _optional(record.usage),
        "error": _optional(record.error),
        "incomplete_reason": record.incomplete_reason,
        "echo": _text(record.echo),
        "input_items": _text(record.input_items),
        "output_items": _text(record.output_items),
        "written": flat(record.written),
        "deltas": flat(record.deltas),
    }
    texts = sum(len(values[name].encode()) for name in ("echo", "input_items", "output_items"))
    values["size"] = texts + 4 * (len(values["written"]) + len(values["deltas"]))
    values["checksum"] = row_checksum(ResponseRow(**values))
    return values


def _record(row: ResponseRow) -> ResponseRecord:
    if row.checksum != row_checksum(row):
        raise DatabaseCorrupt(DAMAGED)
    return ResponseRecord(
        id=row.id,
        created_at=row.created_at,
        status=row.status,
        model=row.model,
        background=row.background,
        echo=json.loads(row.echo),
        input_items=tuple(json.loads(row.input_items)),
        output_items=tuple(json.loads(row.output_items)),
        previous_response_id=row.previous_response_id,
        finished_at=row.finished_at,
        usage=None if row.usage is None else json.loads(row.usage),
        error=None if row.error is None else json.loads(row.error),
        incomplete_reason=row.incomplete_reason,
        written=grouped(row.written),
        deltas=grouped(row.deltas),
    )
