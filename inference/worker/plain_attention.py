"""Attention over pages in plain torch operations, for every device that has no kernels of ours.

Keys and values of one layer are ``[kv_heads, pages, PAGE, head_dim]`` each, so that the pages of many rows
are gathered by one copy in the order in which they are multiplied.

A row's result depends, to the bit, on its own position and on what it sees alone: not on the rows beside it,
nor on where its prompt was cut or what of it was there already. For that, keys are always seen in whole
blocks that begin at multiples of ``BLOCK`` pages, and values are summed up block by block: a product over
more keys at once would be split up by the library in places that depend on how many there are. What a row
does not see adds exactly nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inference.worker.pages import PAGE
from inference.worker.weights import Shape

BLOCK = 4  # pages whose values are summed up in one product
_SCORE_BYTES = 128_000_000  # scores that are held at the same time


class PagedKv:
    """Keys and values of all layers. Pages are numbered separately for full and sliding layers."""

    def __init__(
        self, shape: Shape, full: int, sliding: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        sizes = [full if window is None else sliding for window in shape.windows]
        # Zeros: what was never written is masked out, but 0 * NaN would still spoil a sum.
        self._both = [self._buffer(size, dtype, device) for size in sizes]
        self.keys = [both[: shape.kv_heads] for both in self._both]
        self.values = [both[shape.kv_heads :] for both in self._both]

    def _buffer(self, pages: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        size = (2 * self.shape.kv_heads, pages, PAGE, self.shape.head_dim)
        if device.type != "cpu":
            return torch.zeros(size, dtype=dtype, device=device)
        # The system gives such zeros page by page, when they are first touched; torch would write them all.
        raw = np.zeros(math.prod(size) * dtype.itemsize, dtype=np.uint8)
        return torch.from_numpy(raw).view(dtype).view(size)

    def store(self, layer: int, places: Tensor, new: Tensor) -> None:
        """Write keys and values ``[tokens, 2 * kv_heads, head_dim]`` to flat places (page * PAGE + offset)
        ``[tokens]``.
        """
        both = self._both[layer]
        both.view(len(both), -1, self.shape.head_dim).index_copy_(
            1, places, new.to(both.dtype).transpose(0, 1)
        )

    def gather(self, layer: int, table: Tensor) -> tuple[Tensor, Tensor]:
        """Of a ``table`` [sequences, pages], float32 keys and values [kv_heads * sequences, tokens, dim]."""
        found = self._both[layer].index_select(1, table.flatten()).float()
        keys, values = found.view(2, self.shape.kv_heads * len(table), -1, self.shape.head_dim)
        return keys, values

    def scrub(self, full: list[int], sliding: list[int]) -> None:
        """Zero pages that may hold numbers that are not finite."""
        for layer, window in enumerate(self.shape.windows):
            numbers = full if window is None else sliding
            pages = torch.tensor(numbers, dtype=torch.long, device=self.keys[layer].device)
            for buffer in (self.keys[layer], self.values[layer]):
                buffer.index_fill_(1, pages, 0)


@dataclass(frozen=True, slots=True)
class Span:
    """Query rows that are computed together, and the pages that they see.

    They are as many successive tokens of each of some sequences: ``table`` [sequences, pages] has a row for
    each. ``rows`` are their places in the batch, sequence by sequence; ``hidden`` [sequences, tokens, keys]
    says which keys each may not see.
    """

    rows: Tensor | slice
    table: Tensor
    hidden: Tensor

    def to(self, device: torch.device) -> Span:
        """The same on a device."""
        rows = self.rows if isinstance(self.rows, slice) else self.rows.to(device)
        return Span(rows, self.table.to(device), self.hidden.to(device))


def _rows(places: list[int]) -> Tensor | slice:
    """Neighbours need not be looked up one by one."""
    first, end = places[0], places[-1] + 1
    return slice(first, end) if places == list(range(first, end)) else torch.tensor(places)


def piece_span(start: int, count: int, first_row: int, pages: list[int], window: int | None) -> Span:
    """``count`` tokens of one sequence from position ``start``; ``pages`` are the sequence's own."""
    first = _first_page(start, window)
    end = _whole_blocks(-(-(start + count) // PAGE))
    keys = torch.arange(first * PAGE, end * PAGE)[None, :]
    queries = torch.arange(start, start + count)[:, None]
    hidden = keys > queries
    if window is not None:
        hidden |= keys <= queries - window
    table = (pages[first:end] + [0] * (end - first))[: end - first]
    return Span(slice(first_row, first_row + count), torch.tensor([table]), hidden[None])


def piece_spans(pieces: list[tuple[int, int, list[int]]], window: int | None) -> list[Span]:
    """Pieces that stand one after another in the batch: (start, count, the sequence's pages) of each.

    Those of like length share a span.
    """
    groups: dict[tuple[int, int], list[tuple[int, Span]]] = {}
    row = 0
    for start, count, pages in pieces:
        span = piece_span(start, count, row, pages, window)
        groups.setdefault((count, span.table.shape[1]), []).append((row, span))
        row += count
    return [
        Span(
            _rows([row for first, _ in group for row in range(first, first + count)]),
            torch.cat([span.table for _, span in group]),
            torch.cat([span.hidden for _, span in group]),
        )
        for (count, _), group in groups.items()
    ]


def token_spans(positions: list[int], pages: list[list[int]], window: int | None) -> list[Span]:
    """One new token for each sequence; sequences of like length share a span."""
    groups: dict[int, list[int]] = {}
    firsts = [_first_page(position, window) for position in positions]
    for row, position in enumerate(positions):
        size = _whole_blocks(position // PAGE + 1) - firsts[row]
        groups.setdefault(size, []).append(row)
    return [_token_span(rows, size, positions, firsts, pages, window) for size, rows in groups.items()]


def _first_page(position: int, window: int | None) -> int:
    """The beginning of the first block that a token at ``position`` sees."""
    return 0 if window is None else max(0, position - window + 1) // (PAGE * BLOCK) * BLOCK


def _whole_blocks(pages: int) -> int:
    return -(-pages // BLOCK) * BLOCK


def _token_span(
    rows: list[int],
    size: int,
    positions: list[int],
    firsts: list[int],
    pages: list[list[int]],
    window: int | None,
) -> Span:
    table = [(pages[row][firsts[row] : positions[row] // PAGE + 1] + [0] * size)[:size] for row in rows]
    at = torch.tensor([positions[row] for row in rows])[:, None]
    keys = torch.tensor([firsts[row] * PAGE for row in rows])[:, None] + torch.arange(size * PAGE)
    hidden = keys > at
    if window is not None:
        hidden |= keys <= at - window
    return Span(_rows(rows), torch.tensor(table), hidden[:, None])


def attend(kv: PagedKv, layer: int, queries: Tensor, spans: list[Span], sinks: Tensor) -> Tensor:
    """``queries`` [rows, heads, head_dim] (rotated) to ``[rows, heads * head_dim]``, zeros for rows of no
    span; ``sinks`` [heads]. All are float32.
    """
    out = queries.new_zeros(queries.shape[0], queries.shape[1] * queries.shape[2])
    for span in spans:
        if isinstance(span.rows, slice):
            out[span.rows] = _attend_span(kv, layer, queries[span.rows], span, sinks)
        else:
            own = queries.index_select(0, span.rows)
            out.index_copy_(0, span.rows, _attend_span(kv, layer, own, span, sinks))
    return out


def _attend_span(kv: PagedKv, layer: int, queries: Tensor, span: Span, sinks: Tensor) -> Tensor:
    shape, count = kv.shape, queries.shape[0]
    groups, sequences = shape.heads // shape.kv_heads, span.table.shape[0]
    tokens = count // sequences
    keys, values = kv.gather(layer, span.table)
    # [count, heads, dim] -> [kv_heads, sequences, tokens, groups, dim]
    split = queries.reshape(sequences, tokens, shape.kv_heads, groups, shape.head_dim).permute(2, 0, 1, 3, 4)
    block = max(1, _SCORE_BYTES // (4 * shape.heads * sequences * keys.shape[1]))
    parts = [
        _softmax_product(split[:, :, at : at + block], keys, values, span.hidden[:, at : at + block], sinks)
        for at in range(0, tokens, block)
    ]
    made = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return made.permute(1, 2, 0, 3, 4).reshape(count, -1)


def _softmax_product(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, sinks: Tensor) -> Tensor:
    """``queries`` and the result are [kv_heads, sequences, tokens, groups, dim], ``hidden`` is [sequences,
    tokens, keys].
    """
    kv_heads, sequences, tokens, groups, dim = queries.shape
    # Few rows would be multiplied by another routine, with other rounding, than many.
    missing = -tokens % (4 // math.gcd(4, groups))
    if missing:
        queries = functional.pad(queries, (0, 0, 0, 0, 0, missing))
        hidden = functional.pad(hidden, (0, 0, 0, missing))
    scores = torch.bmm(queries.reshape(kv_heads * sequences, -1, dim), keys.transpose(1, 2)).mul_(dim**-0.5)
    scores = scores.view(kv_heads, sequences, -1, groups, keys.shape[1])
    scores.masked_fill_(hidden[:, :, None], float("-inf"))
    extra = sinks.view(kv_heads, 1, 1, groups, 1).expand(*scores.shape[:-1], 1)
    weights = torch.softmax(torch.cat((scores, extra), dim=-1), dim=-1).flatten(2, 3).flatten(0, 1)
    size = BLOCK * PAGE
    made = torch.bmm(weights[..., :size], values[:, :size])
    for at in range(size, keys.shape[1], size):
        made += torch.bmm(weights[..., at : at + size], values[:, at : at + size])
    return made.view(kv_heads, sequences, -1, groups, dim)[:, :, :tokens]
