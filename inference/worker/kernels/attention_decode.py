"""Attention of one new token for each running sequence over its pages of keys and values (Triton).

One launch does all that lies between the q/k/v projection and the output projection: it rotates the queries
and the new key, stores the new key and value, and attends. A program takes one row, one key/value head with
all the query heads that share it, and one share of the keys. How many shares there may be is fixed at launch,
so one CUDA graph serves every length; how many there are follows from the position on the device, and the
others leave at once. The last program of a row and head to arrive merges the shares in their order, so
results repeat.

A learned sink is one more logit without a value: it only adds to the denominator, once, at the very end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from inference.worker.kernels.fused import rotated

LOG2E = tl.constexpr(1.4426950408889634)
QUERIES = 16
"""Rows of the query tile: a group's query heads, padded to what the tensor cores take."""

MERGED_AT_ONCE = tl.constexpr(8)


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How one launch is cut. ``keys``: of one step of the loop; ``least``: of one share; up to ``alone`` keys
    are not shared out at all, for the merge takes longer than they do.
    """

    shares: int
    keys: int = 64
    least: int = 128
    alone: int = 512
    warps: int = 4
    stages: int = 3


WINDOW_CONFIG = DecodeConfig(shares=1, keys=128, stages=1)
FULL_CONFIGS = {
    2: DecodeConfig(shares=32, keys=128, least=256),
    4: DecodeConfig(shares=16, keys=128, least=256),
    16: DecodeConfig(shares=8, stages=5),
    64: DecodeConfig(shares=4),
}
"""By the most rows that a configuration is for. Chosen by benchmarks/gpu_kernels.py."""

SHORT_WINDOW = 256
"""Up to this window one program reads it all."""


def decode_config(rows: int, window: int | None) -> DecodeConfig:
    """The configuration for ``rows`` rows."""
    if window is not None and window <= SHORT_WINDOW:
        return WINDOW_CONFIG
    return FULL_CONFIGS[min((most for most in FULL_CONFIGS if most >= rows), default=max(FULL_CONFIGS))]


@dataclass(frozen=True, slots=True)
class DecodeWorkspace:
    """What the shares leave for the merge: of each its values, then peaks and totals. ``arrivals`` rests at
    zero.
    """

    partial: torch.Tensor
    arrivals: torch.Tensor


def decode_workspace(
    rows: int,
    heads: int,
    kv_heads: int,
    size: int,
    device: torch.device | str,
    *,
    config: DecodeConfig | None = None,
) -> DecodeWorkspace:
    """Room for launches of up to ``rows`` rows, one after the other, of any layer.

    They are cut as ``decode_attention`` chooses, or with a ``config`` of one's own.
    """
    lines = max(count * (config or decode_config(count, None)).shares for count in range(1, rows + 1))
    return DecodeWorkspace(
        partial=torch.empty(lines * heads * (size + 2), dtype=torch.float32, device=device),
        arrivals=torch.zeros(rows * kv_heads, dtype=torch.int32, device=device),
    )


@triton.jit
def _turned(
    line: tl.tensor,
    column: tl.tensor,
    mask: tl.tensor,
    cos_line: tl.tensor,
    sin_line: tl.tensor,
    D: tl.constexpr,
) -> Any:
    """Heads at ``line`` rotated to the position of ``cos_line``, as float32 rounded to the type of the
    pages.
    """
    half: tl.constexpr = D // 2
    raw = tl.load(line + column, mask=mask, other=0.0)
    partner = tl.load(line + (column + half) % D, mask=mask, other=0.0).to(tl.float32)
    cos, sin = tl.load(cos_line + column % half), tl.load(sin_line + column % half)
    return rotated(raw.to(tl.float32), partner, cos, sin, column < half).to(raw.dtype)


@triton.jit
def _attend(
    query: tl.tensor,
    k_pages: tl.tensor,
    v_pages: tl.tensor,
    table_line: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    peak: tl.tensor,
    total: tl.tensor,
    values: tl.tensor,
    SCALE: tl.constexpr,
    STRIDE: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    KEYS: tl.constexpr,
) -> Any:
    """Fold the keys ``begin`` up to ``end`` into the running softmax. No other key is read."""
    column = tl.arange(0, D)
    for start in range(begin, end, KEYS):
        key = start + tl.arange(0, KEYS)
        known = key < end
        page = tl.load(table_line + key // PAGE, mask=known, other=0).to(tl.int64)
        place = ((page * PAGE + key % PAGE) * STRIDE)[:, None] + column[None, :]
        k = tl.load(k_pages + place, mask=known[:, None], other=0.0)
        v = tl.load(v_pages + place, mask=known[:, None], other=0.0)
        score = tl.dot(query, tl.trans(k)) * SCALE
        score = tl.where(known[None, :], score, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - higher[:, None])
        fade = tl.exp2(peak - higher)
        total = total * fade + tl.sum(weight, axis=1)
        values = tl.dot(weight.to(v.dtype), v, values * fade[:, None])
        peak = higher
    return peak, total, values


@triton.jit
def _share(
    now: tl.tensor,
    split: tl.tensor,
    WINDOW: tl.constexpr,
    SHARES: tl.constexpr,
    KEYS: tl.constexpr,
    LEAST: tl.constexpr,
    ALONE: tl.constexpr,
) -> Any:
    """How many shares there are, and which keys of the pages belong to this one."""
    first = now * 0
    if WINDOW > 0:
        first = tl.maximum(now - (WINDOW - 1), 0)
    steps = tl.cdiv(now - first, KEYS)
    wanted = tl.minimum(tl.cdiv(now - first, LEAST), SHARES)
    wanted = tl.where(now - first <= ALONE, 1, wanted)
    each = tl.maximum(tl.cdiv(steps, wanted), 1)
    active = tl.maximum(tl.cdiv(steps, each), 1)
    begin = first + split * each * KEYS
    return active, begin, tl.minimum(begin + each * KEYS, now)


@triton.jit
def _new_token(
    query: tl.tensor,
    key_line: tl.tensor,
    value_line: tl.tensor,
    cos_line: tl.tensor,
    sin_line: tl.tensor,
    k_place: tl.tensor,
    v_place: tl.tensor,
    last: tl.tensor,
    SCALE: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
) -> Any:
    """Where the running softmax starts. The ``last`` share has the new token, and puts it into its page."""
    column = tl.arange(0, D)
    mask = (column < D) & last
    key = _turned(key_line, column, mask, cos_line, sin_line, D)
    value = tl.load(value_line + column, mask=mask, other=0.0)
    tl.store(k_place + column, key, mask=mask)
    tl.store(v_place + column, value, mask=mask)
    score = tl.sum(query.to(tl.float32) * key.to(tl.float32)[None, :], axis=1) * SCALE
    peak = tl.where(last, score, float("-inf"))
    total = tl.where(last, tl.full([ROWS], 1.0, tl.float32), 0.0)
    return peak, total, tl.zeros([ROWS, D], tl.float32) + value.to(tl.float32)[None, :]


@triton.jit
def _merge(
    partial: tl.tensor,
    sinks: tl.tensor,
    out: tl.tensor,
    active: tl.tensor,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    SHARES: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Merge the shares of one row and key/value head, in their order."""
    AT_ONCE: tl.constexpr = MERGED_AT_ONCE if SHARES > MERGED_AT_ONCE else SHARES
    member = tl.arange(0, ROWS)
    column = tl.arange(0, D)
    peak = tl.full([ROWS], -1e30, tl.float32)  # finite: a step may have no share at all
    total = tl.zeros([ROWS], tl.float32)
    values = tl.zeros([ROWS, D], tl.float32)
    for first in tl.static_range(0, SHARES, AT_ONCE):
        share = first + tl.arange(0, AT_ONCE)
        line = share[:, None] * GROUP + member[None, :]
        mask = (share < active)[:, None] & (member < GROUP)[None, :]
        at = partial + SHARES * GROUP * D + line
        peaks = tl.load(at, mask=mask, other=float("-inf"), cache_modifier=".cg")
        totals = tl.load(at + SHARES * GROUP, mask=mask, other=0.0, cache_modifier=".cg")
        place = line[:, :, None] * D + column[None, None, :]
        parts = tl.load(partial + place, mask=mask[:, :, None], other=0.0, cache_modifier=".cg")
        higher = tl.maximum(peak, tl.max(peaks, axis=0))
        fade = tl.exp2(peak - higher)
        weight = tl.exp2(peaks - higher[None, :])
        total = total * fade + tl.sum(totals * weight, axis=0)
        values = values * fade[:, None] + tl.sum(parts * weight[:, :, None], axis=0)
        peak = higher
    _store(values, peak, total, sinks, out, GROUP, ROWS, D)


@triton.jit
def _store(
    values: tl.tensor,
    peak: tl.tensor,
    total: tl.tensor,
    sinks: tl.tensor,
    out: tl.tensor,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
) -> None:
    """Write a group's results. The sinks join the denominators here and nowhere else."""
    member = tl.arange(0, ROWS)
    sink = tl.load(sinks + member, mask=member < GROUP, other=0.0).to(tl.float32) * LOG2E
    highest = tl.maximum(peak, sink)
    fade = tl.exp2(peak - highest)
    result = values * (fade / (total * fade + tl.exp2(sink - highest)))[:, None]
    place = member[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=(member < GROUP)[:, None])


@triton.jit
def _decode_kernel(
    qkv: tl.tensor,
    cos_table: tl.tensor,
    sin_table: tl.tensor,
    k_pages: tl.tensor,
    v_pages: tl.tensor,
    table: tl.tensor,
    slot_of_row: tl.tensor,
    position: tl.tensor,
    sinks: tl.tensor,
    out: tl.tensor,
    partial: tl.tensor,
    arrivals: tl.tensor,
    table_stride: tl.tensor,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    SCALE: tl.constexpr,
    SHARES: tl.constexpr,
    KEYS: tl.constexpr,
    LEAST: tl.constexpr,
    ALONE: tl.constexpr,
    ROWS: tl.constexpr,
    MERGE_ROWS: tl.constexpr,
) -> None:
    row, head, split = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    slot = tl.load(slot_of_row + row).to(tl.int64)
    now = tl.load(position + slot)
    active, begin, end = _share(now, split, WINDOW, SHARES, KEYS, LEAST, ALONE)
    if split >= active:
        return
    member, column = tl.arange(0, ROWS)[:, None], tl.arange(0, D)[None, :]
    line = qkv + row * (KV_HEADS * (GROUP + 2) * D) + head * D  # of the key head, but for the heads before it
    cos, sin = cos_table + now.to(tl.int64) * (D // 2), sin_table + now.to(tl.int64) * (D // 2)
    heads = line + (head * (GROUP - 1) + member) * D
    query = _turned(heads, column, (member < GROUP) & (column < D), cos, sin, D)

    k_pages, v_pages, pages = k_pages + head * D, v_pages + head * D, table + slot * table_stride
    place = (tl.load(pages + now // PAGE).to(tl.int64) * PAGE + now % PAGE) * (KV_HEADS * D)
    key, value = line + KV_HEADS * GROUP * D, line + KV_HEADS * (GROUP + 1) * D
    peak, total, values = _new_token(
        query, key, value, cos, sin, k_pages + place, v_pages + place, split == active - 1, SCALE, ROWS, D
    )
    peak, total, values = _attend(
        query, k_pages, v_pages, pages, begin, end, peak, total, values, SCALE, KV_HEADS * D, D, PAGE, KEYS
    )
    group = row * KV_HEADS + head
    sinks, out = sinks + head * GROUP, out + group * GROUP * D
    if active == 1:
        _store(values, peak, total, sinks, out, GROUP, ROWS, D)
    else:
        partial += group * SHARES * GROUP * (D + 2)
        _leave(values, peak, total, partial, split, GROUP, ROWS, D, SHARES)
        if tl.atomic_add(arrivals + group, 1, sem="acq_rel") == active - 1:
            tl.store(arrivals + group, 0)
            _merge(partial, sinks, out, active, GROUP, D, SHARES, MERGE_ROWS)


@triton.jit
def _leave(
    values: tl.tensor,
    peak: tl.tensor,
    total: tl.tensor,
    partial: tl.tensor,
    split: tl.tensor,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    SHARES: tl.constexpr,
) -> None:
    """Leave a share's running softmax for the merge."""
    member = tl.arange(0, ROWS)
    line = split * GROUP + member
    place = line[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(partial + place, values, mask=(member < GROUP)[:, None])
    tl.store(partial + SHARES * GROUP * D + line, peak, mask=member < GROUP)
    tl.store(partial + SHARES * GROUP * (D + 1) + line, total, mask=member < GROUP)
    tl.debug_barrier()  # all threads have stored before one of them says so


def decode_attention(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
    table: torch.Tensor,
    slot_of_row: torch.Tensor,
    position: torch.Tensor,
    sinks: torch.Tensor,
    window: int | None,
    out: torch.Tensor,
    workspace: DecodeWorkspace,
    *,
    config: DecodeConfig | None = None,
) -> None:
    """Rotate, store and attend for one new token of each row, into ``out`` [B, Hq * D].

    ``qkv`` [B, (Hq + 2 Hkv) * D] is the projection, not rotated yet. The row's sequence is ``slot_of_row``
    [B]; its new token stands at ``position[slot]`` (tokens before it), and its pages in ``table[slot]``
    (int32). ``cos`` and ``sin`` [places, D / 2] are float32, ``sinks`` [Hq]. The token sees itself and what
    came before, or with a ``window`` only the last so many, itself included; pages [pages, PAGE, Hkv, D]
    outside are never read.
    """
    page, kv_heads, size = k_pages.shape[1:]
    rows, heads = qkv.shape[0], sinks.shape[0]
    config = config or decode_config(rows, window)
    group = heads // kv_heads
    if rows * heads * config.shares * (size + 2) > workspace.partial.numel():
        raise ValueError("The workspace is too small for so many rows and shares.")
    _decode_kernel[(rows, kv_heads, config.shares)](
        *(qkv, cos, sin, k_pages, v_pages, table, slot_of_row, position, sinks, out),
        *(workspace.partial, workspace.arrivals, table.stride(0)),
        *(kv_heads, group, size, page, window or 0, size**-0.5 * LOG2E.value),
        *(config.shares, config.keys, config.least, config.alone, QUERIES),
        triton.next_power_of_2(group),
        num_warps=config.warps,
        num_stages=config.stages,
    )
