"""Keys and values of running requests, and the views of them that a forward pass reads and writes.

A layer with full attention keeps every position. A layer with a sliding window keeps a ring of as many
positions as the window is wide: position ``p`` lives in slot ``p % window``. The order of the slots does not
matter to attention, because the rotation is already in the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GROWTH = 256


@dataclass(frozen=True, slots=True)
class Geometry:
    """Shapes of one model's cache. ``windows`` has one entry a layer: the window, or ``None`` for full."""

    windows: tuple[int | None, ...]
    heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def bytes_for(self, tokens: int) -> int:
        """Bytes of one row that holds ``tokens`` positions."""
        positions = sum(tokens if window is None else window for window in self.windows)
        return positions * 2 * self.heads * self.head_dim * self.dtype.itemsize


def reserved_tokens(tokens: int) -> int:
    """The size class of a request: the next of 1024, 1536, 2048, 3072, 4096, ...

    Only requests of one class are written in the same forward pass, so padding to the longest wastes little.
    """
    size = 1024
    while size < tokens:
        if size + size // 2 >= tokens:
            return size + size // 2
        size *= 2
    return size


class KvRows:
    """The cache of one or more requests, one row each.

    ``lengths[i]`` is the number of positions that row ``i`` holds, at most ``limit``. Buffers are
    ``[rows, heads, slots, head_dim]`` and may have more rows than are in use. It begins with one empty row.
    """

    def __init__(self, geometry: Geometry, limit: int) -> None:
        self.geometry = geometry
        self.limit = limit
        self.capacity = 0
        self.lengths: list[int] = [0]
        self.keys = [self._buffer(1, window or 0) for window in geometry.windows]
        self.values = [self._buffer(1, window or 0) for window in geometry.windows]

    def _buffer(self, rows: int, slots: int) -> Tensor:
        shape = (rows, self.geometry.heads, slots, self.geometry.head_dim)
        # Zeros: a slot that was never written is masked out, but 0 * NaN would still spoil the sum.
        return torch.zeros(shape, dtype=self.geometry.dtype, device=self.geometry.device)

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` positions in every row. On an error (no memory) nothing has changed."""
        if tokens <= self.capacity:
            return
        wanted = max(tokens, min(self.capacity * 2, self.capacity + 16 * GROWTH))
        self._resize(self.rows_allocated, min(-(-wanted // GROWTH) * GROWTH, max(tokens, self.limit)))

    @property
    def rows_allocated(self) -> int:
        return self.keys[0].shape[0]

    def _resize(self, rows: int, capacity: int) -> None:
        buffers: list[list[Tensor]] = []
        for side in (self.keys, self.values):
            resized = []
            for window, old in zip(self.geometry.windows, side, strict=True):
                new = self._buffer(rows, capacity if window is None else window)
                new[: old.shape[0], :, : old.shape[2]] = old
                resized.append(new)
            buffers.append(resized)
        self.keys, self.values = buffers
        self.capacity = capacity

    def append(self, other: KvRows) -> None:
        """Copy the first row of ``other`` in as the last row. On an error (no memory) nothing has changed."""
        row = len(self.lengths)
        rows = self.rows_allocated if row < self.rows_allocated else self.rows_allocated * 2
        capacity = max(self.capacity, other.capacity)
        if (rows, capacity) != (self.rows_allocated, self.capacity):
            self._resize(rows, capacity)
        for mine, theirs in zip(self.keys + self.values, other.keys + other.values, strict=True):
            mine[row, :, : theirs.shape[2]] = theirs[0]
        self.lengths.append(other.lengths[0])

    def remove(self, row: int) -> None:
        """Free one row; the last row takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            for buffer in self.keys + self.values:
                buffer[row] = buffer[last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()


class PrefillView:
    """The cache as a forward pass over positions ``start .. start + count`` of the only row sees it."""

    def __init__(self, kv: KvRows, count: int) -> None:
        self.kv = kv
        self.start = kv.lengths[0]
        self.count = count
        kv.reserve(self.start + count)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new ``[1, heads, count, head_dim]`` and give back all that this layer may look at."""
        window = self.kv.geometry.windows[layer]
        return (
            self._store(self.kv.keys[layer], keys, window),
            self._store(self.kv.values[layer], values, window),
        )

    def _store(self, buffer: Tensor, new: Tensor, window: int | None) -> Tensor:
        end = self.start + self.count
        if window is None:
            buffer[:, :, self.start : end] = new
            return buffer[:, :, :end]
        before = torch.arange(max(0, self.start - window + 1), self.start, device=buffer.device) % window
        visible = torch.cat([buffer.index_select(2, before), new], dim=2)
        kept = min(self.count, window)
        slots = torch.arange(end - kept, end, device=buffer.device) % window
        buffer.index_copy_(2, slots, new[:, :, self.count - kept :])
        return visible

    def masks(self, dtype: torch.dtype) -> dict[str, Tensor | None]:
        """Additive masks ``[1, 1, count, visible]`` by the kind of layer."""
        window = next((window for window in self.kv.geometry.windows if window is not None), None)
        return {
            "full_attention": self._mask(None, dtype),
            "sliding_attention": self._mask(window, dtype),
        }

    def _mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        device, end = self.kv.geometry.device, self.start + self.count
        first = 0 if window is None else max(0, self.start - window + 1)
        query = torch.arange(self.start, end, device=device)[:, None]
        key = torch.arange(first, end, device=device)[None, :]
        hidden = key > query
        if window is not None:
            hidden |= key <= query - window
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[None, None]


class DecodeView:
    """The cache as a forward pass over one new position of each of ``rows`` sees it."""

    def __init__(self, kv: KvRows, rows: Sequence[int]) -> None:
        self.kv = kv
        self.positions = [kv.lengths[row] for row in rows]
        self.longest = max(self.positions) + 1
        kv.reserve(self.longest)
        device = kv.geometry.device
        self.single = len(rows) == 1
        self.first = rows[0]
        self.all = list(rows) == list(range(len(kv.lengths)))
        self.count = len(rows)
        self.rows = torch.tensor(list(rows), device=device)
        self.at = torch.tensor(self.positions, device=device)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new ``[rows, heads, 1, head_dim]`` and give back all that this layer may look at."""
        window = self.kv.geometry.windows[layer]
        return (
            self._store(self.kv.keys[layer], keys, window),
            self._store(self.kv.values[layer], values, window),
        )

    def _store(self, buffer: Tensor, new: Tensor, window: int | None) -> Tensor:
        visible = self.longest if window is None else min(self.longest, window)
        if self.single:
            slot = self.positions[0] if window is None else self.positions[0] % window
            buffer[self.first, :, slot] = new[0, :, 0]
            return buffer[self.first : self.first + 1, :, :visible]
        slots = self.at if window is None else self.at % window
        buffer[self.rows, :, slots] = new[:, :, 0]
        if self.all:
            return buffer[: self.count, :, :visible]
        return buffer[:, :, :visible].index_select(0, self.rows)

    def masks(self, dtype: torch.dtype) -> dict[str, Tensor | None]:
        """Additive masks ``[rows, 1, 1, visible]``; a single row sees all that it is given and needs none."""
        if self.single:
            return {"full_attention": None, "sliding_attention": None}
        window = next((window for window in self.kv.geometry.windows if window is not None), self.longest)
        visible = {"full_attention": self.longest, "sliding_attention": min(self.longest, window)}
        return {kind: self._mask(slots, dtype) for kind, slots in visible.items()}

    def _mask(self, slots: int, dtype: torch.dtype) -> Tensor:
        # A ring that has gone round holds the window exactly: every slot number is then below the position.
        hidden = torch.arange(slots, device=self.at.device)[None, :] > self.at[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=self.at.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None]
