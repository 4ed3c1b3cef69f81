"""Checksums: what was written is what is read, or the reader is told that it is not.

SQLite notices a damaged structure, but not a damaged text. So every message, shared snapshot and stored
response carries a CRC-32 of all that a person, a prompt or an export gets of it and of its place in the
tree. A CRC-32 finds every damage of up to 32 bits in a row for certain, and misses others once in 4 billion
times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from storage.errors import DatabaseCorrupt

DAMAGED_MESSAGE = (
    "A stored message is damaged and is not shown. "
    "Stop the playground and restore a backup: python app.py restore."
)
DAMAGED_SHARE = (
    "What was shared here is damaged and is not shown. "
    "Stop the playground and restore a backup: python app.py restore."
)
COVERED = (
    "id",
    "conversation_id",
    "parent_id",
    "generation_id",
    "role",
    "channel",
    "recipient",
    "name",
    "content",
    "content_type",
    "complete",
    "recovered",
    "token_count",
)
"""The columns of a message that its checksum covers, in the order that ``message_checksum`` takes them."""


def message_checksum(
    message_id: str,
    conversation_id: str,
    parent_id: str | None,
    generation_id: str | None,
    role: str,
    channel: str | None,
    recipient: str | None,
    name: str | None,
    content: str,
    content_type: str | None,
    complete: bool,
    recovered: bool,
    token_count: int,
) -> int:
    """The checksum of one message, 32 bits. Raises UnicodeEncodeError for half of a character pair."""
    told = (
        f"{message_id}\0{conversation_id}\0{parent_id}\0{generation_id}\0{role}\0{channel}\0{recipient}\0{name}"
        f"\0{content_type}\0{complete:d}{recovered:d}{token_count:d}\0{content}"
    )
    return crc32(told.encode())


def row_checksum(row: Any) -> int:
    """The checksum of an object that has the ``COVERED`` fields."""
    return message_checksum(*(getattr(row, name) for name in COVERED))


def check_message(columns: Sequence[Any]) -> None:
    """Raise DatabaseCorrupt unless the last of these columns is the checksum of the ones before.

    They are ``storage.mapping.CHECKED_COLUMNS``: the place among all messages and the time are not covered.
    """
    if columns[15] != message_checksum(*columns[:4], *columns[5:14]):
        raise DatabaseCorrupt(DAMAGED_MESSAGE)


def share_checksum(token: str, title: str, include_reasoning: bool, message_count: int, snapshot: str) -> int:
    """The checksum of one shared snapshot, 32 bits."""
    return crc32(f"{token}\0{title}\0{include_reasoning:d}\0{message_count:d}\0{snapshot}".encode())


RESPONSE_COVERED = (
    "id",
    "status",
    "model",
    "previous_response_id",
    "background",
    "echo",
    "input_items",
    "output_items",
    "usage",
    "error",
    "incomplete_reason",
    "written",
    "deltas",
)
"""The columns of a response that its checksum covers, in the order that ``response_checksum`` takes them."""


def response_checksum(
    response_id: str,
    status: str,
    model: str,
    previous_response_id: str | None,
    background: bool,
    echo: str,
    input_items: str,
    output_items: str,
    usage: str | None,
    error: str | None,
    incomplete_reason: str | None,
    written: bytes,
    deltas: bytes,
) -> int:
    """The checksum of one stored response, 32 bits."""
    told = (
        f"{response_id}\0{status}\0{model}\0{previous_response_id}\0{background:d}\0{usage}\0{error}"
        f"\0{incomplete_reason}\0{echo}\0{input_items}\0{output_items}\0"
    )
    return crc32(deltas, crc32(written, crc32(told.encode())))
