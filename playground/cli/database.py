"""What the commands around the database file share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.verification import Content


def told(content: Content) -> str:
    """Counts for people."""
    return f"{content.conversations:,} conversations with {content.messages:,} messages"
