"""Linear layers for the few rows of a decode step: each weight is read once, at the memory's speed (Triton).

Two kernels. For one row, a program takes some rows of the weight whole and adds their products up in
registers; the norm before the layer costs nothing extra, for its gain is multiplied in on the way, and the
length of the row, one factor for all, at the end. For up to 64 rows, the tensor cores take tiles; the inner
dimension is cut into shares, which the last program of a tile to arrive adds up in their order, so results
repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

LEAST_ROWS = 16
"""The tensor cores take no fewer."""

MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """How a launch is cut. ``columns`` of the output and ``inner`` elements of a step; ``shares`` of the
    inner sum, for tiles alone.
    """

    columns: int
    inner: int
    shares: int = 1
    warps: int = 4
    stages: int = 1


ROW = LinearConfig(columns=8, inner=1024)
TILES = LinearConfig(columns=32, inner=128, shares=4, stages=4)
"""Chosen by benchmarks/gpu_kernels.py."""


@triton.jit
def _row_kernel(
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
) -> None:
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < N
    line = weight + column.to(tl.int64)[:, None] * K
    sums = tl.zeros([COLUMNS, INNER], tl.float32)
    squares = tl.zeros([INNER], tl.float32)
    for start in tl.static_range(0, K, INNER):
        inner = start + tl.arange(0, INNER)
        inside = inner < K
        w = tl.load(line + inner[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        values = tl.load(x + inner, mask=inside, other=0.0).to(tl.float32)
        if gain is not None:
            squares += values * values
            values *= tl.load(gain + inner, mask=inside, other=0.0).to(tl.float32)
        sums += w.to(tl.float32) * values[None, :]
    result = tl.sum(sums, axis=1)
    if gain is not None:
        result *= tl.rsqrt(tl.sum(squares, axis=0) / K + eps)
    result += tl.load(bias + column, mask=real, other=0.0).to(tl.float32)
    if residual is not None:
        result += tl.load(residual + column, mask=real, other=0.0).to(tl.float32)
    tl.store(out + column, result.to(out.dtype.element_ty), mask=real)


def row_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    out: torch.Tensor,
    *,
    norm: tuple[torch.Tensor, float] | None = None,
    residual: torch.Tensor | None = None,
    config: LinearConfig = ROW,
) -> None:
    """``x @ weight.T + bias (+ residual)`` into ``out`` [1, N], for one row ``x`` [1, K].

    ``weight`` is [N, K]. ``norm`` (weight [K], eps) takes the norm of ``x`` first. ``out`` may be the
    ``residual`` [1, N] itself.
    """
    rows, inner = x.shape
    if rows != 1:
        raise ValueError("There are too many rows for this kernel.")
    columns = weight.shape[0]
    gain, eps = norm or (None, 0.0)
    _row_kernel[(triton.cdiv(columns, config.columns),)](
        *(x, weight, bias, residual, gain, out, eps, columns, inner, config.columns, config.inner),
        num_warps=config.warps,
        num_stages=config.stages,
    )


@dataclass(frozen=True, slots=True)
class LinearWorkspace:
    """What the shares leave for the sum. ``arrivals`` is zero between launches."""

    partial: torch.Tensor
    arrivals: torch.Tensor


def linear_workspace(
    columns: int, device: torch.device | str, *, config: LinearConfig = TILES
) -> LinearWorkspace:
    """Room for launches of ``add_linear``, one after the other, of layers of up to ``columns`` columns."""
    tiles = triton.cdiv(columns, config.columns)
    return LinearWorkspace(
        partial=torch.empty(
            tiles * config.columns * config.shares * MOST_ROWS, dtype=torch.float32, device=device
        ),
        arrivals=torch.zeros(tiles, dtype=torch.int32, device=device),
    )


@triton.jit
def _tiles_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    partial: tl.tensor,
    arrivals: tl.tensor,
    rows: tl.tensor,
    N: tl.constexpr,
    K: tl.constexpr,
    SHARES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
) -> None:
    tile, share = tl.program_id(0), tl.program_id(1)
    row, column = tl.arange(0, ROWS), tile * COLUMNS + tl.arange(0, COLUMNS)
    each: tl.constexpr = (K + SHARES * INNER - 1) // (SHARES * INNER) * INNER
    begin = share * each
    end = tl.minimum(begin + each, K)
    sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    lines, w_lines = x + row[:, None] * K, weight + column.to(tl.int64)[:, None] * K
    for start in range(begin, end, INNER):
        inner = start + tl.arange(0, INNER)
        inside = (inner < end)[None, :]
        w = tl.load(w_lines + inner[None, :], mask=(column < N)[:, None] & inside, other=0.0)
        values = tl.load(lines + inner[None, :], mask=(row < rows)[:, None] & inside, other=0.0)
        sums = tl.dot(values, tl.trans(w), sums)

    partial += tile * SHARES * ROWS * COLUMNS
    at = row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(partial + share * ROWS * COLUMNS + at, sums)
    tl.debug_barrier()  # all threads have stored before one of them says so
    if tl.atomic_add(arrivals + tile, 1, sem="acq_rel") == SHARES - 1:
        tl.store(arrivals + tile, 0)
        sums = tl.zeros([ROWS, COLUMNS], tl.float32)
        for other in tl.static_range(SHARES):
            sums += tl.load(partial + other * ROWS * COLUMNS + at, cache_modifier=".cg")
        sums += tl.load(bias + column, mask=column < N, other=0.0).to(tl.float32)[None, :]
        place = residual + row.to(tl.int64)[:, None] * N + column[None, :]
        mask = (row < rows)[:, None] & (column < N)[None, :]
        sums += tl.load(place, mask=mask, other=0.0).to(tl.float32)
        tl.store(place, sums.to(residual.dtype.element_ty), mask=mask)


def add_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    residual: torch.Tensor,
    workspace: LinearWorkspace,
    *,
    config: LinearConfig = TILES,
) -> None:
    """Add ``x @ weight.T + bias`` to ``residual`` [T, N] in place, for up to 64 rows of ``x`` [T, K].

    ``weight`` is [N, K]; all are contiguous.
    """
    rows, inner = x.shape
    columns = weight.shape[0]
    if rows > MOST_ROWS:
        raise ValueError("There are too many rows for this kernel.")
    padded = max(LEAST_ROWS, triton.next_power_of_2(rows))
    tiles = triton.cdiv(columns, config.columns)
    if (
        tiles > workspace.arrivals.numel()
        or tiles * config.columns * config.shares * padded > workspace.partial.numel()
    ):
        raise ValueError("The workspace is too small for so many columns.")
    _tiles_kernel[(tiles, config.shares)](
        *(x, weight, bias, residual, workspace.partial, workspace.arrivals, rows),
        *(columns, inner, config.shares, padded, config.columns, config.inner),
        num_warps=config.warps,
        num_stages=config.stages,
    )
