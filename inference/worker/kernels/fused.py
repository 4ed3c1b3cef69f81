"""Root mean square norms, rotary positions and a look for broken numbers, each in one pass (Triton).

bfloat16 in and out, float32 in between. The arithmetic is that of transformers' ``GptOssRMSNorm`` and
``_apply_rotary_emb``, but for the rotation's cosines and sines, which stay in float32 here.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

NORM_WARPS = 8
ROTARY_WARPS = 4
HEADS_AT_ONCE = 16
"""Heads of one token that one program of the rotation takes."""


@triton.jit
def rotated(x: tl.tensor, partner: tl.tensor, cos: tl.tensor, sin: tl.tensor, first_half: tl.tensor) -> Any:
    """One element of a head after its rotation. ``partner`` is the element half a head away; all float32."""
    return x * cos + tl.where(first_half, -partner, partner) * sin


@triton.jit
def _rms_norm_kernel(
    x: tl.tensor,
    residual: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    eps: tl.tensor,
    H: tl.constexpr,
    BLOCK: tl.constexpr,
    ADD: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < H
    values = tl.load(x + row * H + column, mask=inside, other=0.0).to(tl.float32)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        values += tl.load(residual + row * H + column, mask=inside, other=0.0).to(tl.float32)
        rounded = values.to(residual.dtype.element_ty)
        tl.store(residual + row * H + column, rounded, mask=inside)
        values = rounded.to(tl.float32)  # the norm sees what the next layer will see
    scale = tl.rsqrt(tl.sum(values * values, axis=0) / H + eps)
    tl.store(out + row * H + column, (values * scale * gain).to(out.dtype.element_ty), mask=inside)


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, eps: float, *, out: torch.Tensor | None = None
) -> torch.Tensor:
    """``x / rms(x) * weight`` of each row of ``x`` [T, H] (contiguous)."""
    out = torch.empty_like(x) if out is None else out
    _launch_norm(x, x, weight, eps, out, add=False)
    return out


def add_rms_norm(
    x: torch.Tensor,
    residual: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Add ``x`` to ``residual`` [T, H] in place, and return the norm of the sum."""
    out = torch.empty_like(x) if out is None else out
    _launch_norm(x, residual, weight, eps, out, add=True)
    return out


def _launch_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float, out: torch.Tensor, *, add: bool
) -> None:
    rows, width = x.shape
    _rms_norm_kernel[(rows,)](
        x, residual, weight, out, eps, width, triton.next_power_of_2(width), add, num_warps=NORM_WARPS
    )


@triton.jit
def _mark_broken_kernel(
    x: tl.tensor, owner: tl.tensor, ids: tl.tensor, H: tl.constexpr, BLOCK: tl.constexpr
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    values = tl.load(x + row * H + column, mask=column < H, other=0.0).to(tl.float32)
    finite = tl.abs(values) < float("inf")  # and not so for what is no number
    if tl.min(finite.to(tl.int32), axis=0) == 0:
        tl.store(ids + tl.load(owner + row), -1)


def mark_broken(x: torch.Tensor, owner: torch.Tensor, ids: torch.Tensor) -> None:
    """Set ``ids[owner[t]]`` to -1 where row t of ``x`` [T, H] (contiguous) holds a number that is not finite.

    ``owner`` [T] says whose row it is.
    """
    rows, width = x.shape
    _mark_broken_kernel[(rows,)](x, owner, ids, width, triton.next_power_of_2(width), num_warps=NORM_WARPS)


@triton.jit
def _rotary_store_kernel(
    qkv: tl.tensor,
    positions: tl.tensor,
    slots: tl.tensor,
    cos_table: tl.tensor,
    sin_table: tl.tensor,
    table: tl.tensor,
    k_pages: tl.tensor,
    v_pages: tl.tensor,
    table_stride: tl.tensor,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[:, None]
    column = tl.arange(0, D)[None, :]
    half: tl.constexpr = D // 2
    position = tl.load(positions + token).to(tl.int64)
    slot = tl.load(slots + token).to(tl.int64)
    page = tl.load(table + slot * table_stride + position // PAGE).to(tl.int64)

    line = qkv + token * (HEADS + 2 * KV_HEADS) * D + head * D
    inside = head < HEADS + 2 * KV_HEADS
    raw = tl.load(line + column, mask=inside, other=0.0)
    partner = tl.load(line + (column + half) % D, mask=inside, other=0.0).to(tl.float32)
    cos = tl.load(cos_table + position * half + column % half)
    sin = tl.load(sin_table + position * half + column % half)
    turned = rotated(raw.to(tl.float32), partner, cos, sin, column < half).to(raw.dtype)
    tl.debug_barrier()  # a head is turned in place: every thread has read it by now

    place = (page * PAGE + position % PAGE) * KV_HEADS * D + column
    tl.store(line + column, turned, mask=head < HEADS)
    tl.store(k_pages + place + (head - HEADS) * D, turned, mask=(head >= HEADS) & (head < HEADS + KV_HEADS))
    tl.store(v_pages + place + (head - HEADS - KV_HEADS) * D, raw, mask=(head >= HEADS + KV_HEADS) & inside)


def rotary_store(
    qkv: torch.Tensor,
    positions: torch.Tensor,
    slots: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    table: torch.Tensor,
    k_pages: torch.Tensor,
    v_pages: torch.Tensor,
) -> None:
    """Rotate queries and keys of a flat run of tokens, the queries in place, and store keys and values.

    ``qkv`` [T, (Hq + 2 Hkv) * D] holds each token's queries, keys and values (contiguous). ``positions`` [T]
    and ``slots`` [T] are int32: the token's place in its sequence and the sequence's row of ``table`` [rows,
    pages]. ``cos`` and ``sin`` [places, D / 2] are float32. Pages are [pages, PAGE, Hkv, D].
    """
    page, kv_heads, size = k_pages.shape[1:]
    heads = qkv.shape[1] // size - 2 * kv_heads
    grid = (qkv.shape[0], triton.cdiv(heads + 2 * kv_heads, HEADS_AT_ONCE))
    _rotary_store_kernel[grid](
        qkv,
        positions,
        slots,
        cos,
        sin,
        table,
        k_pages,
        v_pages,
        table.stride(0),
        heads,
        kv_heads,
        size,
        page,
        HEADS_AT_ONCE,
        num_warps=ROTARY_WARPS,
    )
