"""Attention of many new tokens of several sequences over their pages of keys and values (Triton).

The new tokens' keys and values stand in the pages already, as those of earlier tokens do. A program takes one
block: some consecutive tokens of one sequence with all query heads that share a key/value head, packed into
the rows of one matrix. The blocks are listed by the host, longest first. A block walks over the keys in steps
that begin at multiples of the step, so a token's result does not depend on how its sequence was cut into
chunks.

A learned sink is one more logit without a value: the running softmax starts with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@dataclass(frozen=True, slots=True)
class PrefillConfig:
    """How a launch is cut. ``rows``: of the query matrix (tokens times heads); ``keys``: of one step."""

    rows: int = 128
    keys: int = 64
    warps: int = 4
    stages: int = 3


FULL_CONFIG = PrefillConfig(warps=8)
WINDOW_CONFIG = PrefillConfig(warps=8)
"""Chosen by benchmarks/gpu_kernels.py. Both must have the same ``rows``: the layers share one list of
blocks.
"""


def prefill_blocks(
    pieces: Iterable[tuple[int, int, int]], heads: int, kv_heads: int, rows: int = FULL_CONFIG.rows
) -> torch.Tensor:
    """List the blocks of a prefill: int32 [n, 4], on the CPU.

    A piece is (number of new tokens, slot, tokens before them); the pieces lie one after the other in the
    flat run. A block is (first token of the flat run, number of tokens, slot, position of its first token).
    """
    tokens = rows // triton.next_power_of_2(heads // kv_heads)
    blocks, flat = [], 0
    for count, slot, start in pieces:
        blocks += [
            (flat + done, min(tokens, count - done), slot, start + done) for done in range(0, count, tokens)
        ]
        flat += count
    blocks.sort(key=lambda block: -block[3])
    return torch.tensor(blocks, dtype=torch.int32).reshape(-1, 4)


@triton.jit
def _fold(
    query: tl.tensor,
    k_pages: tl.tensor,
    v_pages: tl.tensor,
    pages: tl.tensor,
    place: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    lowest: tl.tensor,
    peak: tl.tensor,
    total: tl.tensor,
    values: tl.tensor,
    MASKED: tl.constexpr,
    WINDOW: tl.constexpr,
    SCALE: tl.constexpr,
    STRIDE: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    KEYS: tl.constexpr,
) -> Any:
    """Fold the keys ``begin`` up to ``end`` into the running softmax; ``place`` [rows] are the queries'
    positions.

    Keys below ``lowest`` are not read, nor are those from ``end`` on.
    """
    column = tl.arange(0, D)
    for start in range(begin, end, KEYS):
        key = start + tl.arange(0, KEYS)
        if MASKED:
            known = (key < end) & (key >= lowest)
            page = tl.load(pages + key // PAGE, mask=known, other=0).to(tl.int64)
            at = ((page * PAGE + key % PAGE) * STRIDE)[:, None] + column[None, :]
            k = tl.load(k_pages + at, mask=known[:, None], other=0.0)
            v = tl.load(v_pages + at, mask=known[:, None], other=0.0)
        else:
            page = tl.load(pages + key // PAGE).to(tl.int64)
            at = ((page * PAGE + key % PAGE) * STRIDE)[:, None] + column[None, :]
            k = tl.load(k_pages + at)
            v = tl.load(v_pages + at)
        score = tl.dot(query, tl.trans(k)) * SCALE
        if MASKED:
            seen = key[None, :] <= place[:, None]
            if WINDOW > 0:
                seen = seen & (key[None, :] > place[:, None] - WINDOW)
            score = tl.where(seen, score, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - higher[:, None])
        fade = tl.exp2(peak - higher)
        total = total * fade + tl.sum(weight, axis=1)
        values = tl.dot(weight.to(v.dtype), v, values * fade[:, None])
        peak = higher
    return peak, total, values


@triton.jit
def _prefill_kernel(
    qkv: tl.tensor,
    k_pages: tl.tensor,
    v_pages: tl.tensor,
    table: tl.tensor,
    blocks: tl.tensor,
    sinks: tl.tensor,
    out: tl.tensor,
    table_stride: tl.tensor,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_ROWS: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    SCALE: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    block, head = blocks + tl.program_id(1) * 4, tl.program_id(0)
    flat, count = tl.load(block), tl.load(block + 1)
    slot, start = tl.load(block + 2).to(tl.int64), tl.load(block + 3)
    row, column = tl.arange(0, ROWS), tl.arange(0, D)[None, :]
    token, member = row // GROUP_ROWS, row % GROUP_ROWS
    real = (token < count) & (member < GROUP)
    place, end = start + token, start + count
    line = (flat + token).to(tl.int64)
    query_at = line * (KV_HEADS * (GROUP + 2)) + head * GROUP + member
    query = tl.load(qkv + query_at[:, None] * D + column, mask=real[:, None], other=0.0)

    # A score stands for a power of two. The sink's own weight is 2 ** 0 while it is the peak.
    sink = tl.load(sinks + head * GROUP + member, mask=real, other=0.0).to(tl.float32)
    peak = tl.maximum(sink * LOG2E, -1e30)
    total = tl.full([ROWS], 1.0, tl.float32)
    values = tl.zeros([ROWS, D], tl.float32)
    pages, k_head, v_head = table + slot * table_stride, k_pages + head * D, v_pages + head * D
    lowest, begin = start * 0, start // KEYS * KEYS
    if WINDOW > 0:
        lowest = tl.maximum(start - (WINDOW - 1), 0)
        begin = lowest // KEYS * KEYS
    else:
        peak, total, values = _fold(
            *(query, k_head, v_head, pages, place, lowest, begin, lowest, peak, total, values),
            *(False, WINDOW, SCALE, KV_HEADS * D, D, PAGE, KEYS),
        )
    peak, total, values = _fold(
        *(query, k_head, v_head, pages, place, begin, end, lowest, peak, total, values),
        *(True, WINDOW, SCALE, KV_HEADS * D, D, PAGE, KEYS),
    )
    result = (values / total[:, None]).to(out.dtype.element_ty)
    out_at = line * (KV_HEADS * GROUP) + head * GROUP + member
    tl.store(out + out_at[:, None] * D + column, result, mask=real[:, None])


def prefill_attention(
    qkv: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    table: torch.Tensor,
    blocks: torch.Tensor,
    sinks: torch.Tensor,
    window: int | None,
    out: torch.Tensor,
    *,
    config: PrefillConfig | None = None,
) -> None:
    """Attend for a flat run of new tokens, into ``out`` [T, Hq * D].

    ``qkv`` [T, (Hq + 2 Hkv) * D] holds queries that are rotated already (its keys and values are not read:
    they stand in the pages [pages, PAGE, Hkv, D]). ``table`` is int32 [rows, pages of a sequence], ``blocks``
    come from ``prefill_blocks``, ``sinks`` are [Hq]. A token sees itself and what came before, or with a
    ``window`` only the last so many, itself included; pages outside are never read.
    """
    page, kv_heads, size = k_pages.shape[1:]
    group = sinks.shape[0] // kv_heads
    config = config or (FULL_CONFIG if window is None else WINDOW_CONFIG)
    _prefill_kernel[(kv_heads, blocks.shape[0])](
        *(qkv, k_pages, v_pages, table, blocks, sinks, out, table.stride(0)),
        *(kv_heads, group, triton.next_power_of_2(group), size, page, window or 0, size**-0.5 * LOG2E.value),
        *(config.rows, config.keys),
        num_warps=config.warps,
        num_stages=config.stages,
    )
