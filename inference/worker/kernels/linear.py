"""Linear layers for the few rows of a decode step: each weight is read once, at the memory's speed (Triton).

Three kernels. For one row, a program takes some rows of the weight whole and adds their products up in
registers. For up to 64 rows, the tensor cores take tiles; the inner dimension can be cut into shares, which
the last program of a tile to arrive adds up in their order, so results repeat. And the router's small layer
takes the norm with it.

The norm before a layer costs nothing extra: its gain is multiplied in on the way, and the length of the row,
one factor for the whole row, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from inference.worker.kernels.fused import overlapping, wait_for_the_kernel_before

LEAST_ROWS = 16
"""The tensor cores take no fewer."""

MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """How a launch is cut. ``columns`` of the output and ``inner`` elements of a step; ``shares`` of the
    inner sum.

    ``vector``: without the tensor cores, for one row.
    """

    columns: int
    inner: int
    shares: int = 1
    warps: int = 4
    stages: int = 4
    vector: bool = False


VECTOR = LinearConfig(columns=8, inner=1024, warps=4, stages=1, vector=True)
TILES = LinearConfig(columns=32, inner=128, shares=1, warps=4, stages=4)
TILES_SHARED = LinearConfig(columns=32, inner=128, shares=4, warps=4, stages=4)
FEW_COLUMNS = 4096
"""Fewer output columns than this are too few tiles to fill the GPU: their inner sum is shared."""


def linear_config(rows: int, columns: int, *, reproducible: bool) -> LinearConfig:
    """The configuration for ``rows`` rows; a reproducible one is the same for any number of rows."""
    if rows == 1 and not reproducible:
        return VECTOR
    return TILES_SHARED if columns < FEW_COLUMNS else TILES


@dataclass(frozen=True, slots=True)
class LinearWorkspace:
    """What the shares leave for the sum. ``arrivals`` is zero between launches."""

    partial: torch.Tensor
    arrivals: torch.Tensor


def linear_workspace(device: torch.device | str, columns: int = 8192, shares: int = 4) -> LinearWorkspace:
    """Room for launches, one after the other, of shared layers of up to ``columns`` columns."""
    return LinearWorkspace(
        partial=torch.empty(
            shares * MOST_ROWS * (columns + columns // 8), dtype=torch.float32, device=device
        ),
        arrivals=torch.zeros(columns // 8, dtype=torch.int32, device=device),
    )


@triton.jit
def _vector_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    gain: tl.tensor,
    out: tl.tensor,
    eps: tl.tensor,
    N: tl.constexpr,
    K: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    OVERLAP: tl.constexpr,
) -> None:
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < N
    line = weight + column.to(tl.int64)[:, None] * K
    first = tl.arange(0, INNER)
    mask = real[:, None] & (first < K)[None, :]
    ready = tl.load(line + first[None, :], mask=mask, other=0.0)  # on its way before ``x`` is known
    if OVERLAP:
        wait_for_the_kernel_before()
    sums = tl.zeros([COLUMNS, INNER], tl.float32)
    squares = tl.zeros([INNER], tl.float32)
    for start in tl.static_range(0, K, INNER):
        inner = start + tl.arange(0, INNER)
        inside = inner < K
        w = ready
        if start > 0:
            w = tl.load(line + inner[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        values = tl.load(x + inner, mask=inside, other=0.0).to(tl.float32)
        if gain is not None:
            squares += values * values
            values *= tl.load(gain + inner, mask=inside, other=0.0).to(tl.float32)
        sums += w.to(tl.float32) * values[None, :]
    result = tl.sum(sums, axis=1)
    if gain is not None:
        result *= tl.rsqrt(tl.sum(squares, axis=0) / K + eps)
    if bias is not None:
        result += tl.load(bias + column, mask=real, other=0.0).to(tl.float32)
    if residual is not None:
        result += tl.load(residual + column, mask=real, other=0.0).to(tl.float32)
    tl.store(out + column, result.to(out.dtype.element_ty), mask=real)


@triton.jit
def _tile(
    x: tl.tensor,
    weight: tl.tensor,
    gain: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    rows: tl.tensor,
    N: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
) -> Any:
    """The sums of a tile over ``begin`` up to ``end``, and of the squares of the rows."""
    sums, squares = tl.zeros([ROWS, COLUMNS], tl.float32), tl.zeros([ROWS], tl.float32)
    lines, w_lines = x + row[:, None] * K, weight + column.to(tl.int64)[:, None] * K
    for start in range(begin, end, INNER):
        inner = start + tl.arange(0, INNER)
        inside = (inner < end)[None, :]
        w = tl.load(w_lines + inner[None, :], mask=(column < N)[:, None] & inside, other=0.0)
        values = tl.load(lines + inner[None, :], mask=(row < rows)[:, None] & inside, other=0.0)
        if gain is not None:
            wide = values.to(tl.float32)
            squares += tl.sum(wide * wide, axis=1)
            factor = tl.load(gain + inner, mask=inner < end, other=0.0).to(tl.float32)
            values = (wide * factor[None, :]).to(values.dtype)
        sums = tl.dot(values, tl.trans(w), sums)
    return sums, squares


@triton.jit
def _write(
    sums: tl.tensor,
    squares: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    gain: tl.tensor,
    out: tl.tensor,
    eps: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    rows: tl.tensor,
    N: tl.constexpr,
    K: tl.constexpr,
) -> None:
    """Finish a tile: the norm's factor, the bias, the residual."""
    if gain is not None:
        sums *= tl.rsqrt(squares / K + eps)[:, None]
    if bias is not None:
        sums += tl.load(bias + column, mask=column < N, other=0.0).to(tl.float32)[None, :]
    at = row.to(tl.int64)[:, None] * N + column[None, :]
    mask = (row < rows)[:, None] & (column < N)[None, :]
    if residual is not None:
        sums += tl.load(residual + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + at, sums.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _tiles_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    gain: tl.tensor,
    out: tl.tensor,
    partial: tl.tensor,
    arrivals: tl.tensor,
    eps: tl.tensor,
    rows: tl.tensor,
    N: tl.constexpr,
    K: tl.constexpr,
    SHARES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    OVERLAP: tl.constexpr,
) -> None:
    if OVERLAP:
        wait_for_the_kernel_before()
    tile, share = tl.program_id(0), tl.program_id(1)
    row, column = tl.arange(0, ROWS), tile * COLUMNS + tl.arange(0, COLUMNS)
    each: tl.constexpr = (K + SHARES * INNER - 1) // (SHARES * INNER) * INNER
    begin = share * each
    sums, squares = _tile(
        x, weight, gain, row, column, begin, tl.minimum(begin + each, K), rows, N, K, ROWS, COLUMNS, INNER
    )
    if SHARES == 1:
        _write(sums, squares, bias, residual, gain, out, eps, row, column, rows, N, K)
    else:
        size: tl.constexpr = ROWS * (COLUMNS + 1)
        partial += tile * SHARES * size
        at = row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
        tl.store(partial + share * size + at, sums)
        tl.store(partial + share * size + ROWS * COLUMNS + row, squares)
        tl.debug_barrier()  # all threads have stored before one of them says so
        if tl.atomic_add(arrivals + tile, 1, sem="acq_rel") == SHARES - 1:
            tl.store(arrivals + tile, 0)
            sums, squares = tl.zeros([ROWS, COLUMNS], tl.float32), tl.zeros([ROWS], tl.float32)
            for other in tl.static_range(SHARES):
                sums += tl.load(partial + other * size + at, cache_modifier=".cg")
                squares += tl.load(partial + other * size + ROWS * COLUMNS + row, cache_modifier=".cg")
            _write(sums, squares, bias, residual, gain, out, eps, row, column, rows, N, K)


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    workspace: LinearWorkspace,
    *,
    residual: torch.Tensor | None = None,
    norm: tuple[torch.Tensor, float] | None = None,
    reproducible: bool = False,
    overlap: bool = False,
    config: LinearConfig | None = None,
) -> None:
    """``x @ weight.T + bias (+ residual)`` into ``out`` [T, N], for up to 64 rows of ``x`` [T, K]
    (contiguous).

    ``norm`` (weight [K], eps) takes the norm of ``x`` first. ``out`` may be the ``residual`` [T, N] itself.
    ``reproducible``: a row's result does not depend on how many rows there are. ``overlap`` (Hopper and
    later): start while the kernel before ends, and let the next one do so.
    """
    rows, inner = x.shape
    columns = weight.shape[0]
    config = config or linear_config(rows, columns, reproducible=reproducible)
    if rows > (1 if config.vector else MOST_ROWS):
        raise ValueError("There are too many rows for this kernel.")
    gain, eps = norm or (None, 0.0)
    tiles = triton.cdiv(columns, config.columns)
    options = {"num_warps": config.warps, "num_stages": config.stages, **overlapping(overlap)}
    if config.vector:
        _vector_kernel[(tiles,)](
            *(
                x,
                weight,
                bias,
                residual,
                gain,
                out,
                eps,
                columns,
                inner,
                config.columns,
                config.inner,
                overlap,
            ),
            **options,
        )
        return
    padded = MOST_ROWS if reproducible else max(LEAST_ROWS, triton.next_power_of_2(rows))
    if config.shares > 1 and (
        tiles > workspace.arrivals.numel()
        or tiles * config.shares * padded * (config.columns + 1) > workspace.partial.numel()
    ):
        raise ValueError("The workspace is too small for so many columns.")
    _tiles_kernel[(tiles, config.shares)](
        *(x, weight, bias, residual, gain, out, workspace.partial, workspace.arrivals, eps, rows),
        *(columns, inner, config.shares, padded, config.columns, config.inner, overlap),
        **options,
    )


@triton.jit
def _norm_router_kernel(
    x: tl.tensor,
    gain: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    normed: tl.tensor,
    logits: tl.tensor,
    eps: tl.tensor,
    EXPERTS: tl.constexpr,
    K: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
) -> None:
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    inner = tl.arange(0, BLOCK)
    inside = inner < K
    expert = part * COLUMNS + tl.arange(0, COLUMNS)
    mask = (expert < EXPERTS)[:, None] & inside[None, :]
    w = tl.load(weight + expert[:, None] * K + inner[None, :], mask=mask, other=0.0).to(tl.float32)
    if OVERLAP:
        wait_for_the_kernel_before()
    values = tl.load(x + row * K + inner, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(gain + inner, mask=inside, other=0.0).to(tl.float32)
    rounded = (values * tl.rsqrt(tl.sum(values * values, axis=0) / K + eps) * factor).to(
        normed.dtype.element_ty
    )
    tl.store(normed + row * K + inner, rounded, mask=inside & (part == 0))
    result = tl.sum(w * rounded.to(tl.float32)[None, :], axis=1)
    result += tl.load(bias + expert, mask=expert < EXPERTS, other=0.0).to(tl.float32)
    tl.store(logits + row * EXPERTS + expert, result.to(logits.dtype.element_ty), mask=expert < EXPERTS)


ROUTER_COLUMNS = 4
ROUTER_WARPS = 8


def norm_router(
    x: torch.Tensor,
    norm: tuple[torch.Tensor, float],
    weight: torch.Tensor,
    bias: torch.Tensor,
    normed: torch.Tensor,
    logits: torch.Tensor,
    *,
    overlap: bool = False,
    columns: int = ROUTER_COLUMNS,
    warps: int = ROUTER_WARPS,
) -> None:
    """The norm of ``x`` [T, K] into ``normed``, and the router's ``logits`` [T, experts] of it, in one
    launch.

    ``weight`` is [experts, K]. A row's result never depends on the others. ``overlap``: see ``linear``.
    """
    rows, inner = x.shape
    experts = weight.shape[0]
    _norm_router_kernel[(rows, triton.cdiv(experts, columns))](
        *(x, norm[0], weight, bias, normed, logits, norm[1], experts, inner),
        *(columns, triton.next_power_of_2(inner), overlap),
        num_warps=warps,
        **overlapping(overlap),
    )
