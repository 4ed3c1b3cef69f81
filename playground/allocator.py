"""The C library's memory for a server whose threads come and go."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
ARENAS = 2


def use_few_arenas() -> None:
    """Have glibc's malloc share two arenas among all threads; anything else is left as it is.

    By default there are eight for each processor core, and each grows to the largest file that was ever
    exported or imported in it. Call it before threads are made. See mallopt(3).
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    except (AttributeError, OSError, TypeError):
        return  # not glibc


def give_back() -> None:
    """Return to the system what lies free between what is in use. Takes milliseconds; see malloc_trim(3)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return
