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


def plan_capacity(shape: Shape, budget: int, itemsize: int, max_running: int, chunk_tokens: int) -> Capacity:
    """Share out ``budget`` bytes.

    Raises:
        ModelLoadError: ``not_enough_memory``; not even a short conversation fits.
    """
    wanted = shape.max_positions
    window = shape.window
    full_bytes = page_bytes(shape, None, itemsize)
    sliding_bytes = page_bytes(shape, window, itemsize) if window is not None else 0
    sliding = least = 0
    if window is not None:
        least = pages_for(window) + pages_for(chunk_tokens) + 3
        # What each request sees, and as much again for the ends of earlier conversations.
        sliding = least + pages_for(chunk_tokens) + max_running * 2 * (pages_for(window) + 2)
    if not shape.has_full:
        return Capacity(0, max(least, min(sliding, budget // sliding_bytes)), wanted)
    full = pages_for(max(wanted, max_running * min(wanted, TOKENS_EACH))) + 1
    if sliding:  # a long prompt pushes the windows of other conversations out of a small pool
        sliding = max(sliding, full // 4)
    cost = full * full_bytes + sliding * sliding_bytes
    if cost > budget:
        sliding = max(least, int(sliding * budget / cost))
        full = (budget - sliding * sliding_bytes) // full_bytes
    context = min(wanted, (full - 1) * PAGE)
    if context < min(wanted, LEAST_CONTEXT):
        needed = pages_for(LEAST_CONTEXT) * full_bytes + least * sliding_bytes
        raise ModelLoadError(
            "The model fits into memory, but no room is left for a conversation "
            f"({gigabytes(needed)} are needed, {gigabytes(max(budget, 0))} are free for it).",
            "not_enough_memory",
        )
    return Capacity(full, sliding, context)
