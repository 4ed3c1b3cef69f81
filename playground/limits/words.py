"""Times for people."""

from __future__ import annotations

import math

UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


def in_words(seconds: float) -> str:
    """A time, rounded up so that what is promised holds: "20 seconds", "1 minute", "3 hours"."""
    whole = max(1, math.ceil(seconds))
    size, unit = next((size, unit) for size, unit in UNITS if whole >= size)
    if unit == "minute" and whole % 60 and whole < 120:
        size, unit = 1, "second"
    count = math.ceil(whole / size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def try_again(seconds: float) -> str:
    """The sentence that ends every refusal that passes by itself."""
    return f"Try again in {in_words(seconds)}."
