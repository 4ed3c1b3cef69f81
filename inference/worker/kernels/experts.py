"""The mixture of experts of gpt-oss on weights that stay in four bits.

Two products, each by a program for a tile of output rows and a block of tokens that share an expert (the
blocks are made by routing.py). The weights are the left operand: a program turns the words that it reads into
bfloat16 in registers, where the tensor cores take them from, and a weight is read once for all tokens of its
block. Nothing is added atomically: the second product writes one partial result for each token and expert,
which are added in the order of the experts' ranks. The output of a token depends on the others of its batch
only through the tile sizes and the place in its block.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr, tensor
from triton.runtime.jit import JITFunction

from inference.worker.kernels.expert_plans import MOST_SPLITS, SPLIT_TOKENS, Plan, Tile, plan_for
from inference.worker.kernels.expert_product import product, product_direct
from inference.worker.kernels.mxfp4 import Mxfp4Experts
from inference.worker.kernels.routing import Routing, route


@triton.jit
def gate_up_kernel(
    x_ptr: tensor, words_ptr: tensor, scales_ptr: tensor, bias_ptr: tensor, pairs_ptr: tensor,
    table_ptr: tensor, out_ptr: tensor,
    limit: tensor, alpha: tensor, TOP_K: constexpr, ROWS: constexpr, COLUMNS: constexpr, BM: constexpr,
    BN: constexpr, DEPTH: constexpr, NATIVE: constexpr,
) -> None:  # fmt: skip
    """out[place of the pair, ROWS / 2] = activation(W x + bias), for a tile of rows and a block of pairs."""
    entry = table_ptr + tl.program_id(1) * 4
    expert, first, count = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
    if (expert | first | count) < 0:  # one wait for all three
        return
    place = tl.arange(0, BN)
    mask = place < count
    token = tl.load(pairs_ptr + first + place, mask, other=0) // TOP_K
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    within = tl.minimum(row, ROWS - 1) if ROWS % BM else row
    bias = tl.load(bias_ptr + expert * ROWS + within)
    if DEPTH > 0:
        acc = product_direct(
            words_ptr, scales_ptr, x_ptr, expert, within, token, mask, 0, ROWS, COLUMNS, 1, BM, BN, DEPTH,
            NATIVE,
        )  # fmt: skip
    else:
        acc = product(
            words_ptr, scales_ptr, x_ptr, expert, within, token, mask, 0, ROWS, COLUMNS, 1, BM, BN, NATIVE
        )
    acc += bias.to(tl.float32)[:, None]
    # eight rows of gate, the same eight of up: both stand in the same thread
    gate, up = tl.split(acc.reshape(BM // 16, 2, 8, BN).permute(0, 2, 3, 1))
    gate = tl.minimum(gate.reshape(BM // 2, BN), limit)
    up = tl.minimum(tl.maximum(up.reshape(BM // 2, BN), -limit), limit)
    out = (up + 1.0) * gate / (1.0 + tl.exp(-alpha * gate))
    feature = tl.program_id(0) * (BM // 2) + tl.arange(0, BM // 2)
    out_ptr += (first + place).to(tl.int64)[None, :] * (ROWS // 2) + feature[:, None]
    tl.store(out_ptr, out.to(out_ptr.dtype.element_ty), mask[None, :] & (feature < ROWS // 2)[:, None])


@triton.jit(do_not_specialize=["pairs"])
def down_kernel(
    x_ptr: tensor, words_ptr: tensor, scales_ptr: tensor, bias_ptr: tensor, pairs_ptr: tensor,
    table_ptr: tensor, out_ptr: tensor,
    pairs: tensor, ROWS: constexpr, COLUMNS: constexpr, SPLITS: constexpr, BM: constexpr, BN: constexpr,
    DEPTH: constexpr, NATIVE: constexpr,
) -> None:  # fmt: skip
    """out[split, pair, ROWS] fp32 = W x (+ bias in the last split) for the sorted pairs' activations x."""
    entry = table_ptr + tl.program_id(1) * 4
    expert, first, count = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
    if (expert | first | count) < 0:
        return
    split = tl.program_id(2)
    place = tl.arange(0, BN)
    mask = place < count
    pair = tl.load(pairs_ptr + first + place, mask, other=0)
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    within = tl.minimum(row, ROWS - 1) if ROWS % BM else row
    bias = tl.load(bias_ptr + expert * ROWS + within)
    if DEPTH > 0:
        acc = product_direct(
            words_ptr, scales_ptr, x_ptr, expert, within, first + place, mask, split, ROWS, COLUMNS, SPLITS,
            BM, BN, DEPTH, NATIVE,
        )  # fmt: skip
    else:
        acc = product(
            words_ptr, scales_ptr, x_ptr, expert, within, first + place, mask, split, ROWS, COLUMNS, SPLITS,
            BM, BN, NATIVE,
        )  # fmt: skip
    if split == SPLITS - 1:
        acc += bias.to(tl.float32)[:, None]
    out_ptr += (split * pairs + pair).to(tl.int64)[None, :] * ROWS + row[:, None]
    tl.store(out_ptr, acc, mask[None, :] & (row < ROWS)[:, None])


@triton.jit(do_not_specialize=["pairs"])
def combine_kernel(
    partial_ptr: tensor, weights_ptr: tensor, residual_ptr: tensor, out_ptr: tensor, pairs: tensor,
    COLUMNS: constexpr, TOP_K: constexpr, SPLITS: constexpr, RESIDUAL: constexpr, BLOCK: constexpr,
) -> None:  # fmt: skip
    """out[token] = residual + the weighted sum of its experts' results, by rank and then by split."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < COLUMNS
    acc = tl.zeros((BLOCK,), tl.float32)
    for rank in tl.static_range(TOP_K):
        value = tl.zeros((BLOCK,), tl.float32)
        for split in tl.static_range(SPLITS):
            at = partial_ptr + (split * pairs + token * TOP_K + rank) * COLUMNS
            value += tl.load(at + column, mask, other=0.0)
        acc += value * tl.load(weights_ptr + token * TOP_K + rank)
    if RESIDUAL:
        acc += tl.load(residual_ptr + token * COLUMNS + column, mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + token * COLUMNS + column, acc.to(out_ptr.dtype.element_ty), mask)


@triton.jit(do_not_specialize=["pairs"])
def combine_norm_kernel(
    partial_ptr: tensor, weights_ptr: tensor, residual_ptr: tensor, gain_ptr: tensor, out_ptr: tensor,
    normed_ptr: tensor, pairs: tensor, eps: tensor, COLUMNS: constexpr, TOP_K: constexpr, SPLITS: constexpr,
    BLOCK: constexpr,
) -> None:  # fmt: skip
    """The same for a whole row, and the norm that the next layer begins with."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < COLUMNS
    gain = tl.load(gain_ptr + column, mask, other=0.0).to(tl.float32)
    acc = tl.zeros((BLOCK,), tl.float32)
    for rank in tl.static_range(TOP_K):
        value = tl.zeros((BLOCK,), tl.float32)
        for split in tl.static_range(SPLITS):
            at = partial_ptr + (split * pairs + token * TOP_K + rank) * COLUMNS
            value += tl.load(at + column, mask, other=0.0)
        acc += value * tl.load(weights_ptr + token * TOP_K + rank)
    acc += tl.load(residual_ptr + token * COLUMNS + column, mask, other=0.0).to(tl.float32)
    rounded = acc.to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + token * COLUMNS + column, rounded, mask)
    values = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, axis=0) / COLUMNS + eps)
    tl.store(
        normed_ptr + token * COLUMNS + column, (values * scale * gain).to(normed_ptr.dtype.element_ty), mask
    )


NATIVE = isinstance(down_kernel, JITFunction)  # the interpreter has no inline assembly


COMBINED = 512  # columns of the output that one program adds
NORM_WARPS = 8


@dataclass(frozen=True, eq=False, slots=True)
class NextNorm:
    """The norm after the experts: its weight [hidden], and where the normed output [tokens, hidden] goes."""

    weight: Tensor
    eps: float
    out: Tensor


@dataclass(frozen=True, eq=False)
class Workspace:
    """Device memory for the steps of at most ``tokens`` tokens; its contents outlive no call."""

    routing: Routing
    activations: Tensor  # bf16 [tokens * top_k, intermediate]
    partial: Tensor  # fp32, flat: [splits, tokens * top_k, hidden]
    top_k: int

    @classmethod
    def empty(cls, tokens: int, top_k: int, layer: Mxfp4Experts) -> "Workspace":
        """Take the memory for layers like ``layer``, on its device."""
        device = layer.down.words.device
        pairs = top_k * max(tokens, MOST_SPLITS * min(tokens, SPLIT_TOKENS))
        return cls(
            Routing.empty(tokens, layer.experts, top_k, device),
            torch.empty(tokens * top_k, layer.down.columns, dtype=torch.bfloat16, device=device),
            torch.empty(pairs * layer.down.rows, dtype=torch.float32, device=device),
            top_k,
        )


def experts_forward(
    x: Tensor,
    router_logits: Tensor,
    top_k: int,
    residual: Tensor | None,
    layer: Mxfp4Experts,
    workspace: Workspace,
    *,
    plan: Plan | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The experts' output [tokens, hidden] for ``x`` bf16 [tokens, hidden], plus ``residual`` if any.

    ``router_logits`` [tokens, experts]: the ``top_k`` highest count, of equal ones the first, and their
    softmax weighs them. The device is never waited for, so a CUDA graph can hold the call. ``plan`` replaces
    that of the table. Raises ValueError when the workspace is too small.
    """
    plan = plan or plan_for(x.shape[0])
    _check_room(x.shape[0], layer, workspace, plan)
    blocks = route(router_logits.contiguous(), top_k, plan.gate_up.tokens, workspace.routing)
    out = torch.empty_like(x) if out is None else out
    return routed_forward(x, blocks, residual, layer, workspace, out, plan=plan)


def routed_forward(
    x: Tensor,
    blocks: int,
    residual: Tensor | None,
    layer: Mxfp4Experts,
    workspace: Workspace,
    out: Tensor,
    *,
    plan: Plan | None = None,
    then: NextNorm | None = None,
) -> Tensor:
    """The same with the routing done: the workspace's has so many ``blocks`` of the plan's size.

    ``then`` takes the norm of the output in the same launch, and needs a ``residual``, whose place ``out``
    may take.
    """
    tokens = x.shape[0]
    plan = plan or plan_for(tokens)
    _check_room(tokens, layer, workspace, plan)
    launch_gate_up(x.contiguous(), layer, workspace, blocks, plan.gate_up)
    launch_down(tokens * workspace.top_k, layer, workspace, blocks, plan.down)
    if then is None:
        return launch_combine(x, residual, layer, workspace, plan.down.splits, out)
    if residual is None:
        raise ValueError("The norm of the output is that with its residual.")
    return launch_combine_norm(residual, layer, workspace, plan.down.splits, out, then)


def _check_room(tokens: int, layer: Mxfp4Experts, workspace: Workspace, plan: Plan) -> None:
    pairs = tokens * workspace.top_k
    room = workspace.partial.numel()
    if pairs > workspace.activations.shape[0] or plan.down.splits * pairs * layer.down.rows > room:
        raise ValueError("The workspace of the experts is too small for so many tokens.")


def launch_gate_up(x: Tensor, layer: Mxfp4Experts, workspace: Workspace, blocks: int, tile: Tile) -> None:
    """The first product of all blocks: from ``x`` to the workspace's activations, sorted by expert."""
    matrix, routing = layer.gate_up, workspace.routing
    gate_up_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks)](
        x, matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table, workspace.activations,
        layer.limit, layer.alpha, workspace.top_k, matrix.rows, matrix.columns, tile.rows, tile.tokens,
        tile.direct, NATIVE, num_warps=tile.warps, num_stages=1 if tile.direct else tile.stages,
    )  # fmt: skip


def launch_down(pairs: int, layer: Mxfp4Experts, workspace: Workspace, blocks: int, tile: Tile) -> None:
    """The second product: from the workspace's activations to its partial results by pair."""
    matrix, routing = layer.down, workspace.routing
    down_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks, tile.splits)](
        workspace.activations, matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table,
        workspace.partial, pairs, matrix.rows, matrix.columns, tile.splits, tile.rows, tile.tokens,
        tile.direct, NATIVE, num_warps=tile.warps, num_stages=1 if tile.direct else tile.stages,
    )  # fmt: skip


def launch_combine(
    x: Tensor,
    residual: Tensor | None,
    layer: Mxfp4Experts,
    workspace: Workspace,
    splits: int,
    out: Tensor,
) -> Tensor:
    """The weighted sum of the partial results, and the residual."""
    tokens, columns = x.shape[0], layer.down.rows
    combine_kernel[(tokens, triton.cdiv(columns, COMBINED))](
        workspace.partial, workspace.routing.weights, x if residual is None else residual, out,
        tokens * workspace.top_k, columns, workspace.top_k, splits, residual is not None, COMBINED,
    )  # fmt: skip
    return out


def launch_combine_norm(
    residual: Tensor, layer: Mxfp4Experts, workspace: Workspace, splits: int, out: Tensor, then: NextNorm
) -> Tensor:
    """The same with the norm of the output."""
    tokens, columns = residual.shape
    combine_norm_kernel[(tokens,)](
        workspace.partial, workspace.routing.weights, residual, then.weight, out, then.out,
        tokens * workspace.top_k, then.eps, columns, workspace.top_k, splits,
        triton.next_power_of_2(columns), num_warps=NORM_WARPS,
    )  # fmt: skip
    return out
