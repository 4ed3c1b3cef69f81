"""Column types that SQLite does not have: UTC times, enumerated words, token ids."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import DateTime, Enum, LargeBinary
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

BYTES_PER_ID = 4


class UtcDateTime(TypeDecorator[datetime]):
    """Takes times with a time zone only, stores them as UTC text, hands them out as UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC without its mark; a time without a zone is the programmer's mistake."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a stored time needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to a time that knows it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class TokenIds(TypeDecorator[tuple[int, ...]]):
    """Token ids as unsigned 32-bit integers, little endian: 4 bytes each on every machine."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> bytes | None:
        """To bytes."""
        return None if value is None else pack_ids(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> tuple[int, ...] | None:
        """Back to ids."""
        return None if value is None else unpack_ids(value)


def pack_ids(ids: Iterable[int]) -> bytes:
    """Ids to bytes; OverflowError for an id outside of 32 bits."""
    words = array("I", ids)
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


def unpack_ids(data: bytes) -> tuple[int, ...]:
    """Bytes to ids; ValueError when the length is not a multiple of 4."""
    words = array("I")
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    return tuple(words)


def words_of(enumeration: type[StrEnum]) -> Enum:
    """A text column that takes the values of this enumeration only, by a CHECK constraint."""
    return Enum(
        enumeration,
        name=enumeration.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
