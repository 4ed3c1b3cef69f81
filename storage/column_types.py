"""Column types that SQLite does not have: UTC times, enumerated words, token ids, settings."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Enum, LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from inference.types import ReasoningEffort, ResponseFormat, ToolSpec
from storage.errors import DatabaseCorrupt
from storage.records import ChatSettings, WhenFull

BYTES_PER_ID = 4


Reader = Callable[[Any], Any] | None
"""How SQLAlchemy makes a value of what is stored; None takes it as it is."""


def _told(read: Reader) -> Reader:
    """The same, but what cannot be read is damaged: nothing else was ever written."""
    if read is None:
        return None

    def told(stored: Any) -> Any:
        try:
            return read(stored)
        except (LookupError, ValueError, TypeError, AttributeError):
            raise DatabaseCorrupt from None  # the original may quote what is stored

    return told


class UtcDateTime(TypeDecorator[datetime]):
    """Takes times with a time zone only, stores them as UTC text, hands them out as UTC."""

    impl = DateTime
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        """Reads, or raises DatabaseCorrupt."""
        return _told(super().result_processor(dialect, coltype))

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

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        """Reads, or raises DatabaseCorrupt."""
        return _told(super().result_processor(dialect, coltype))

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> bytes | None:
        """To bytes."""
        return None if value is None else pack_ids(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> tuple[int, ...] | None:
        """Back to ids."""
        return None if value is None else unpack_ids(value)


class SettingsText(TypeDecorator[ChatSettings]):
    """Settings as a JSON object of the fields that are set."""

    impl = Text
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        """Reads, or raises DatabaseCorrupt."""
        return _told(super().result_processor(dialect, coltype))

    def process_bind_param(self, value: ChatSettings | None, dialect: Dialect) -> str | None:
        """To JSON."""
        return None if value is None else pack_settings(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> ChatSettings | None:
        """Back to settings."""
        return None if value is None else unpack_settings(value)


def pack_settings(settings: ChatSettings) -> str:
    """Settings to JSON; ValueError for a number that is none."""
    fields = {name: value for name, value in asdict(settings).items() if value is not None}
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def unpack_settings(text: str) -> ChatSettings:
    """JSON to settings."""
    if text == "{}":  # most conversations set nothing
        return ChatSettings()
    fields = json.loads(text)
    if "effort" in fields:
        fields["effort"] = ReasoningEffort(fields["effort"])
    if "when_full" in fields:
        fields["when_full"] = WhenFull(fields["when_full"])
    if "functions" in fields:
        fields["functions"] = tuple(ToolSpec(**each) for each in fields["functions"])
    if "operator_functions" in fields:
        fields["operator_functions"] = tuple(fields["operator_functions"])
    if isinstance(fields.get("response_schema"), dict):
        fields["response_schema"] = ResponseFormat(**fields["response_schema"])
    return ChatSettings(**fields)


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


class Words(TypeDecorator[StrEnum]):
    """The values of an enumeration as text, which a CHECK constraint keeps to them."""

    impl = Enum
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        """Reads, or raises DatabaseCorrupt."""
        return _told(super().result_processor(dialect, coltype))


def words_of(enumeration: type[StrEnum]) -> Words:
    """A column that takes the values of this enumeration only."""
    return Words(
        enumeration,
        name=enumeration.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
