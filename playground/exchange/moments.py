"""Times as the API and files write them, and times of other programs."""

from __future__ import annotations

import math
from datetime import UTC, datetime

FIRST_TIME, LAST_TIME = 0.0, 4_102_444_800.0
"""1970 and 2100, in seconds: a time outside of this is none."""


def iso(value: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def moment(value: object) -> datetime | None:
    """A time of another program, seconds since 1970 or ISO 8601; None where it is neither."""
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value[:40])
            value = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return datetime.fromtimestamp(value, UTC) if FIRST_TIME <= value <= LAST_TIME else None
