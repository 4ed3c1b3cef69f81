"""All that stands between the attention of a few tokens and their experts, in one launch (Triton).

The norm of each row and the router's logits, a few experts a program; the last program to arrive then
chooses the experts and cuts the pairs into blocks, as routing.py does for more tokens.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inference.worker.kernels.routing import TOKENS, Routing, most_blocks, route_block

COLUMNS = 4
WARPS = 8


@triton.jit(do_not_specialize=["most"])
def _norm_router_kernel(
    x: tl.tensor,
    gain: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    normed: tl.tensor,
    logits: tl.tensor,
    weights: tl.tensor,
    pairs: tl.tensor,
    table: tl.tensor,
    arrivals: tl.tensor,
    eps: tl.tensor,
    most: tl.tensor,
    EXPERTS: tl.constexpr,
    K: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    TOP_K: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
    RANKS: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    inner = tl.arange(0, INNER)
    inside = inner < K
    expert = part * COLUMNS + tl.arange(0, COLUMNS)
    mask = (expert < EXPERTS)[:, None] & inside[None, :]
    w = tl.load(weight + expert[:, None] * K + inner[None, :], mask=mask, other=0.0).to(tl.float32)
    values = tl.load(x + row * K + inner, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(gain + inner, mask=inside, other=0.0).to(tl.float32)
    rounded = (values * tl.rsqrt(tl.sum(values * values, axis=0) / K + eps) * factor).to(
        normed.dtype.element_ty
    )
    tl.store(normed + row * K + inner, rounded, mask=inside & (part == 0))
    result = tl.sum(w * rounded.to(tl.float32)[None, :], axis=1)
    result += tl.load(bias + expert, mask=expert < EXPERTS, other=0.0).to(tl.float32)
    tl.store(logits + row * EXPERTS + expert, result.to(logits.dtype.element_ty), mask=expert < EXPERTS)

    tl.debug_barrier()  # all threads have stored before one of them says so
    programs = tl.num_programs(0) * tl.num_programs(1)
    if tl.atomic_add(arrivals, 1, sem="acq_rel") == programs - 1:
        tl.store(arrivals, 0)
        tokens = tl.num_programs(0)
        route_block(logits, weights, pairs, table, tokens, most, EXPERTS, TOP_K, BLOCK, WIDE, RANKS, TOKENS)


def norm_router(
    x: torch.Tensor,
    norm: tuple[torch.Tensor, float],
    weight: torch.Tensor,
    bias: torch.Tensor,
    normed: torch.Tensor,
    routing: Routing,
    top_k: int,
    block: int,
    *,
    columns: int = COLUMNS,
    warps: int = WARPS,
) -> int:
    """The norm of ``x`` [T, K] into ``normed``, and ``routing`` with its ``logits`` as ``route`` fills it.

    ``weight`` is [experts, K], T at most 64. A row's logits never depend on the others. Returns how many
    rows the table of blocks has.
    """
    rows, inner = x.shape
    experts = weight.shape[0]
    if rows > TOKENS:
        raise ValueError("There are too many rows for this kernel.")
    most = most_blocks(rows, experts, top_k, block)
    _norm_router_kernel[(rows, triton.cdiv(experts, columns))](
        *(x, norm[0], weight, bias, normed, routing.logits, routing.weights, routing.pairs, routing.table),
        *(routing.arrivals, norm[1], most, experts, inner, columns, triton.next_power_of_2(inner)),
        *(top_k, block, triton.next_power_of_2(experts), triton.next_power_of_2(top_k)),
        triton.next_power_of_2(rows),
        num_warps=warps,
    )
    return most
