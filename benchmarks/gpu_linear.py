"""The linear layers and norms of a decode step on a GPU: checks and times, beside the vendor's library."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_timing import BYTES_PER_US, Bench, copies
from inference.worker.kernels.fused import add_rms_norm, mark_broken, rms_norm
from inference.worker.kernels.linear import (
    LinearConfig,
    add_linear,
    linear_workspace,
    row_linear,
)
from inference.worker.kernels.router import norm_router
from inference.worker.kernels.routing import Routing

HIDDEN, EPS, TOP_K = 2880, 1e-5, 4
ROWS = (1, 8, 32)
SHAPES = {"qkv": (2880, 5120), "o": (4096, 2880)}
ROW_CONFIGS = (
    LinearConfig(8, 1024), LinearConfig(8, 512), LinearConfig(4, 1024), LinearConfig(16, 512, warps=8),
)  # fmt: skip
TILES_CONFIGS = (
    LinearConfig(32, 128, shares=4, stages=4), LinearConfig(32, 128, shares=2, stages=4),
    LinearConfig(32, 128, stages=4), LinearConfig(16, 256, shares=4, warps=2, stages=4),
)  # fmt: skip


def bfloat(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, dtype=torch.bfloat16, device="cuda") * scale


def norm_of(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * gain.float()


def short(config: LinearConfig) -> str:
    return (
        f"{config.columns}x{config.inner} shares={config.shares} warps={config.warps} stages={config.stages}"
    )


def library(bench: Bench, name: str, rows: int) -> None:
    """What the vendor's library takes for the product alone; the engine leaves all other shapes to it."""
    inner, columns = SHAPES[name]
    weights = layers(inner, columns)
    x, bias = bfloat(rows, inner), bfloat(columns)
    launches = [partial(F.linear, x, weight, bias) for weight in weights]
    bench.time(f"{name} T{rows} F.linear alone", launches, inner * columns * 2 / BYTES_PER_US)


def layers(inner: int, columns: int) -> list[Tensor]:
    """The weights of so many layers that the cache does not hold them."""
    return [bfloat(columns, inner, scale=inner**-0.5) for _ in range(copies(inner * columns * 2))]


def one_row(bench: Bench, name: str) -> None:
    """A layer of a decode step of one row: q/k/v with the norm before it, the output with the residual."""
    inner, columns = SHAPES[name]
    weights = layers(inner, columns)
    x, gain, bias, residual = bfloat(1, inner), bfloat(inner), bfloat(columns), bfloat(1, columns)
    norm, added = ((gain, EPS), None) if name == "qkv" else (None, residual)
    source = x.float() if norm is None else norm_of(x, gain)
    expected = source @ weights[0].float().T + bias.float() + (0 if added is None else added.float())
    out = torch.empty_like(residual)
    for config in ROW_CONFIGS:
        launches: list[Callable[[], object]] = [
            partial(row_linear, x, weight, bias, out, norm=norm, residual=added, config=config)
            for weight in weights
        ]
        out.fill_(math.nan)
        launches[0]()
        bench.check(f"{name} T1 {short(config)}", out, expected)
        bench.time(f"{name} T1 {short(config)}", launches, inner * columns * 2 / BYTES_PER_US)
    library(bench, name, 1)


def some_rows(bench: Bench, rows: int) -> None:
    """The output projection of a decode step of more rows, added to the residual."""
    inner, columns = SHAPES["o"]
    weights = layers(inner, columns)
    x, bias = bfloat(rows, inner), bfloat(columns)
    for config in TILES_CONFIGS:
        residual, workspace = bfloat(rows, columns), linear_workspace(columns, "cuda", config=config)
        expected = x.float() @ weights[0].float().T + bias.float() + residual.float()
        launches: list[Callable[[], object]] = [
            partial(add_linear, x, weight, bias, residual, workspace, config=config) for weight in weights
        ]
        launches[0]()
        bench.check(f"o T{rows} {short(config)}", residual, expected)
        bench.time(f"o T{rows} {short(config)}", launches, inner * columns * 2 / BYTES_PER_US)
    library(bench, "o", rows)


def linear(bench: Bench) -> None:
    """The projections of the attention."""
    for name in SHAPES:
        one_row(bench, name)
    for rows in ROWS[1:]:
        some_rows(bench, rows)


def small(bench: Bench) -> None:
    """The norms, and the norm with the router."""
    for experts in (32, 128):
        for rows in ROWS:
            router_case(bench, rows, experts)
    for rows in (*ROWS, 2048):
        x, residual, gain = bfloat(rows, HIDDEN), bfloat(rows, HIDDEN), bfloat(HIDDEN)
        bench.check(f"norm T{rows}", rms_norm(x, gain, EPS), norm_of(x, gain))
        summed = (x.float() + residual.float()).bfloat16()
        bench.check(f"add and norm T{rows}", add_rms_norm(x, residual, gain, EPS), norm_of(summed, gain))
        bench.check(f"sum T{rows}", residual, summed, 0.0)
        out, moved = torch.empty_like(x), rows * HIDDEN * 2 / BYTES_PER_US
        bench.time(f"norm T{rows}", [partial(rms_norm, x, gain, EPS, out=out)], 2 * moved)
        bench.time(
            f"add and norm T{rows}", [partial(add_rms_norm, x, residual, gain, EPS, out=out)], 4 * moved
        )
        owner, ids = torch.zeros(rows, dtype=torch.int32, device="cuda"), torch.zeros(1, device="cuda").long()
        bench.time(f"look for broken numbers T{rows}", [partial(mark_broken, x, owner, ids)], moved)
        bench.check(f"no broken numbers T{rows}", ids + 1, torch.ones_like(ids), 0.0)


def router_case(bench: Bench, rows: int, experts: int) -> None:
    weights = [bfloat(experts, HIDDEN, scale=HIDDEN**-0.5) for _ in range(copies(experts * HIDDEN * 2))]
    x, gain, bias = bfloat(rows, HIDDEN), bfloat(HIDDEN), bfloat(experts)
    normed, routing = torch.empty_like(x), Routing.empty(rows, experts, TOP_K, x.device)
    logits = routing.logits.view(-1)[: rows * experts].view(rows, experts)
    floor = experts * HIDDEN * 2 / BYTES_PER_US
    for columns, warps in ((4, 8), (4, 4), (2, 4), (8, 8)):
        launches: list[Callable[[], object]] = [
            partial(
                norm_router,
                *(x, (gain, EPS), weight, bias, normed, routing, TOP_K, 8),
                columns=columns,
                warps=warps,
            )
            for weight in weights
        ]
        logits.fill_(math.nan)
        launches[0]()
        title = f"norm, router and routing of {experts} T{rows} columns={columns} warps={warps}"
        bench.check(title, logits, normed.float() @ weights[0].float().T + bias.float(), 1e-4)
        bench.check(title, normed, norm_of(x, gain))
        bench.time(title, launches, floor)
    name = f"router of {experts} T{rows} F.linear alone"
    bench.time(name, [partial(F.linear, x, weight, bias) for weight in weights], floor)
