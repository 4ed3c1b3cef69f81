"""A clock that nobody can set: for what is measured between two moments of one process."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_STARTED = datetime.now(UTC)
_MONOTONIC = time.monotonic()


def steady_now() -> datetime:
    """The time when this process started, and what went by since, however the wall clock is set meanwhile."""
    return _STARTED + timedelta(seconds=time.monotonic() - _MONOTONIC)
