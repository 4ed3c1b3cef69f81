"""How many pages there are: enough for every running request, and no more memory than was allowed."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog import gigabytes
from inference.errors import ModelLoadError
from inference.worker.pages import PAGE, pages_for
from inference.worker.weights import Shape

#: Tokens that are planned for each request; the longest context is there in any case, for one.
TOKENS_EACH = 8192
LEAST_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Capacity:
    """Pages of each pool, the scratch page included (0: the model has no such layers), and the longest
    conversation in tokens.
    """

    full: int
    sliding: int
    context_length: int


def page_bytes(shape: Shape, window: int | None, itemsize: int) -> int:
    """What one page of all layers with this window takes."""
    return PAGE * 2 * shape.kv_heads * shape.head_dim * itemsize * shape.layers_of(window)


def plan_capacity(
    shape: Shape, budget: int, itemsize: int, max_running: int, chunk_tokens: int, *, steady: bool = False
) -> Capacity:
    """Share out ``budget`` bytes. ``steady``: nobody may ever have to wait for a sliding page of another.

    Raises:
        ModelLoadError: ``not_enough_memory``; not even a short conversation fits.
    """
    window, longest = shape.window, shape.max_positions
    each = page_bytes(shape, None, itemsize), page_bytes(shape, window, itemsize) if window is not None else 0
    least_full = pages_for(min(longest, LEAST_CONTEXT)) + 1 if shape.has_full else 0
    full = pages_for(max(longest, max_running * min(longest, TOKENS_EACH))) + 1 if shape.has_full else 0
    least_sliding = sliding = 0
    if window is not None:
        least_sliding = pages_for(window) + pages_for(chunk_tokens) + 3
        # What each request sees, and as much again for the ends of earlier conversations.
        sliding = least_sliding + pages_for(chunk_tokens) + max_running * 2 * (pages_for(window) + 2)
        least_sliding = sliding if steady else least_sliding
    least = least_full * each[0] + least_sliding * each[1]
    if budget < least:
        raise ModelLoadError(
            "The model fits into memory, but no room is left for a conversation "
            f"({gigabytes(least)} are needed, {gigabytes(max(budget, 0))} are free for it).",
            "not_enough_memory",
        )
    cost = full * each[0] + sliding * each[1]
    if cost > budget:
        share = (budget - least) / (cost - least)
        sliding = least_sliding + int((sliding - least_sliding) * share)
        full = (budget - sliding * each[1]) // each[0] if shape.has_full else 0
    return Capacity(full, sliding, min(longest, (full - 1) * PAGE) if shape.has_full else longest)
