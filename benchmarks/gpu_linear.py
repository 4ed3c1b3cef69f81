"""The linear layers and norms of a decode step on a GPU: checks and times, beside the vendor's library."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_timing import BYTES_PER_US, Bench, copies
from inference.worker.kernels.fused import add_rms_norm, rms_norm
from inference.worker.kernels.linear import LinearConfig, linear, linear_workspace, norm_router

HIDDEN, EPS = 2880, 1e-5
ROWS = (1, 8, 32)
SHAPES = {"qkv": (2880, 5120), "o": (4096, 2880), "head": (2880, 201_088)}
VECTORS = (
    LinearConfig(8, 1024, stages=1, vector=True),
    LinearConfig(8, 512, stages=1, vector=True),
    LinearConfig(4, 1024, stages=1, vector=True),
    LinearConfig(16, 512, stages=1, warps=8, vector=True),
)
TILES = {
    "qkv": (LinearConfig(32, 128), LinearConfig(32, 128, shares=2), LinearConfig(16, 256, warps=2),
            LinearConfig(32, 128, stages=6)),
    "o": (LinearConfig(32, 128), LinearConfig(32, 128, shares=2), LinearConfig(32, 128, shares=4),
          LinearConfig(16, 256, warps=2)),
    "head": (LinearConfig(64, 128), LinearConfig(128, 64, stages=5), LinearConfig(32, 128)),
}  # fmt: skip


def bfloat(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, dtype=torch.bfloat16, device="cuda") * scale


def norm_of(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * gain.float()


def short(config: LinearConfig) -> str:
    kind = "vector" if config.vector else f"tiles shares={config.shares}"
    return f"{kind} {config.columns}x{config.inner} warps={config.warps} stages={config.stages}"


def shape_case(bench: Bench, name: str, rows: int) -> None:
    """One layer as the decode step has it: q/k/v with the norm before it, the output with the residual."""
    inner, columns = SHAPES[name]
    weights = [bfloat(columns, inner, scale=inner**-0.5) for _ in range(copies(inner * columns * 2))]
    x, gain = bfloat(rows, inner), bfloat(inner)
    bias = None if name == "head" else bfloat(columns)
    residual = bfloat(rows, columns) if name == "o" else None
    norm = None if name == "o" else (gain, EPS)
    out, workspace = torch.empty_like(bfloat(rows, columns)), linear_workspace("cuda")
    floor = inner * columns * 2 / BYTES_PER_US
    source = norm_of(x, gain) if norm else x.float()
    expected = source @ weights[0].float().T
    expected = (
        expected + (0 if bias is None else bias.float()) + (0 if residual is None else residual.float())
    )
    chosen = (*(VECTORS if rows == 1 else ()), *TILES[name])
    both = [(chosen[0], True), (TILES[name][0], True)]
    for config, overlap in [*((config, False) for config in chosen), *dict.fromkeys(both)]:
        launches: list[Callable[[], object]] = [
            partial(
                linear,
                *(x, weight, bias, out, workspace),
                residual=residual,
                norm=norm,
                overlap=overlap,
                config=config,
            )
            for weight in weights
        ]
        out.fill_(math.nan)
        launches[0]()
        title = f"{name} T{rows} {short(config)}{' overlap' * overlap}"
        bench.check(title, out, expected)
        bench.time(title, launches, floor)
    bench.time(
        f"{name} T{rows} F.linear alone", [partial(F.linear, x, weight, bias) for weight in weights], floor
    )


def section(name: str) -> Callable[[Bench], None]:
    """The section of one shape."""

    def run(bench: Bench) -> None:
        for rows in ROWS:
            shape_case(bench, name, rows)

    return run


SECTIONS = {name: section(name) for name in SHAPES}


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


def router_case(bench: Bench, rows: int, experts: int) -> None:
    weights = [bfloat(experts, HIDDEN, scale=HIDDEN**-0.5) for _ in range(copies(experts * HIDDEN * 2))]
    x, gain, bias = bfloat(rows, HIDDEN), bfloat(HIDDEN), bfloat(experts)
    normed, logits = torch.empty_like(x), torch.empty(rows, experts, device="cuda")
    floor = experts * HIDDEN * 2 / BYTES_PER_US
    for columns, warps, overlap in ((4, 8, False), (4, 4, False), (2, 4, False), (8, 8, False), (4, 8, True)):
        launches: list[Callable[[], object]] = [
            partial(
                norm_router,
                *(x, (gain, EPS), weight, bias, normed, logits),
                columns=columns,
                warps=warps,
                overlap=overlap,
            )
            for weight in weights
        ]
        logits.fill_(math.nan)
        launches[0]()
        title = f"norm and router of {experts} T{rows} columns={columns} warps={warps}{' overlap' * overlap}"
        bench.check(title, logits, normed.float() @ weights[0].float().T + bias.float(), 1e-4)
        bench.check(title, normed, norm_of(x, gain))
        bench.time(title, launches, floor)
    name = f"router of {experts} T{rows} F.linear alone"
    bench.time(name, [partial(F.linear, x, weight, bias) for weight in weights], floor)
