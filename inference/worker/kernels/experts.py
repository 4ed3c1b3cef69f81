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
from inference.worker.kernels.mxfp4 import TILE_ROWS, Mxfp4Experts
from inference.worker.kernels.routing import Routing, route

R = constexpr(TILE_ROWS)

# Two 16-bit words, one in each half of $4, to four pairs of bfloat16, each times its scale: the fourth weight
# of a word stands in the bits that the other three leave. The product is exact, subnormal numbers included;
# a product plus -0 is the one form that every GPU with bfloat16 has, and newer ones make a product of it.
_DECODE = constexpr("""{
.reg .b32 a, b, c, z;
mov.b32 z, 0x80008000;
and.b32 a, $4, 0x81C081C0;
fma.rn.bf16x2 $0, a, $5, z;
shl.b32 a, $4, 3;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $1, a, $6, z;
shl.b32 a, $4, 6;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $2, a, $7, z;
shl.b32 a, $4, 1;
and.b32 a, a, 0x80008000;
shr.b32 b, $4, 3;
and.b32 b, b, 0x01800180;
shr.b32 c, $4, 7;
and.b32 c, c, 0x00400040;
or.b32 a, a, b;
or.b32 a, a, c;
fma.rn.bf16x2 $3, a, $8, z;
}""")


@triton.jit
def _scale(fields: tensor, like: tensor, SHIFT: constexpr) -> tensor:
    """One of a row's four scales as bfloat16 bits, for every word of the row."""
    bits = ((fields >> SHIFT) & 255) << 7
    return tl.broadcast_to(bits.to(tl.int16)[:, None], like.shape)


@triton.jit
def _weight(bits: tensor, scale: tensor) -> tensor:
    """The same decoding in plain operations for the interpreter: float32, bfloat16's bits on top."""
    weight = ((bits & 0x81C0) << 16).to(tl.float32, bitcast=True)
    return (weight * ((scale.to(tl.int32) & 0xFFFF) << 16).to(tl.float32, bitcast=True)).to(tl.bfloat16)


@triton.jit
def _decode(words: tensor, fields: tensor, NATIVE: constexpr) -> tensor:
    """Words [rows, words] and scales [rows] to four weights bf16 [rows, words] each."""
    s0 = _scale(fields, words, 0)
    s1 = _scale(fields, words, 8)
    s2 = _scale(fields, words, 16)
    s3 = _scale(fields, words, 24)
    if NATIVE:
        return tl.inline_asm_elementwise(
            _DECODE,
            "=&r,=&r,=&r,=&r,r,r,r,r,r",
            [words, s0, s1, s2, s3],
            dtype=(tl.bfloat16, tl.bfloat16, tl.bfloat16, tl.bfloat16),
            is_pure=True,
            pack=2,
        )
    w = words.to(tl.int32)
    last = ((w << 1) & 0x8000) | ((w >> 3) & 0x0180) | ((w >> 7) & 0x0040)
    return _weight(w, s0), _weight(w << 3, s1), _weight(w << 6, s2), _weight(last, s3)


@triton.jit
def _load_words(
    words_ptr: tensor, scales_ptr: tensor, inside: tensor, chunk: tensor, WORDS: constexpr
) -> tensor:
    """Words [rows, WORDS] and scales [rows] of one chunk."""
    words = tl.load(words_ptr + chunk * (R * 32) + inside * WORDS + tl.arange(0, WORDS)[None, :])
    return words, tl.load(scales_ptr + chunk * R)


@triton.jit
def _load_x(x_ptr: tensor, mask: tensor, chunk: tensor, COLUMNS: constexpr, WORDS: constexpr) -> tensor:
    """The columns of one chunk of x, [tokens, 4 * WORDS]."""
    column = chunk * 128 + tl.arange(0, 4 * WORDS)[None, :]
    return tl.load(x_ptr + column, mask if COLUMNS % 64 == 0 else mask & (column < COLUMNS), other=0.0)


@triton.jit
def _add_chunk(acc: tensor, words: tensor, fields: tensor, x: tensor, NATIVE: constexpr) -> tensor:
    """Add one chunk's products to ``acc``."""
    w0, w1, w2, w3 = _decode(words, fields, NATIVE)
    # one after the other along the columns: in the registers of the tensor cores' operand nothing moves
    weights = tl.join(tl.join(w0, w2), tl.join(w1, w3)).permute(0, 2, 3, 1)
    return tl.dot(weights.reshape(words.shape[0], 4 * words.shape[1]), x.T, acc)


@triton.jit
def _product(
    words_ptr: tensor, scales_ptr: tensor, x_ptr: tensor, expert: tensor, row: tensor, source: tensor,
    mask: tensor, split: tensor, ROWS: constexpr, COLUMNS: constexpr, SPLITS: constexpr, BM: constexpr,
    BN: constexpr, NATIVE: constexpr,
) -> tensor:  # fmt: skip
    """fp32 [BM, BN]: the rows ``row`` of an expert's matrix by the rows ``source`` of x.

    Of x only where ``mask`` [BN]. ``split`` of SPLITS names the part of the chunks that is added.
    """
    STORED: constexpr = (COLUMNS + 63) // 64 * 64
    FULL: constexpr = STORED // 128
    CHUNKS: constexpr = (STORED + 127) // 128
    words_ptr += expert.to(tl.int64) * (ROWS * STORED // 4) + (row // R * (R * STORED // 4))[:, None]
    scales_ptr += expert.to(tl.int64) * (ROWS * CHUNKS) + row // R * (R * CHUNKS) + row % R
    x_ptr += source.to(tl.int64)[:, None] * COLUMNS
    inside, mask = (row % R)[:, None], mask[:, None]
    acc = tl.zeros((BM, BN), tl.float32)
    if CHUNKS > FULL:  # the rest is asked for first and added last: its way from memory is long
        rest, rest_fields = _load_words(words_ptr, scales_ptr, inside, FULL, 16)
    for chunk in range(FULL * split // SPLITS, FULL * (split + 1) // SPLITS):
        words, fields = _load_words(words_ptr, scales_ptr, inside, chunk, 32)
        acc = _add_chunk(acc, words, fields, _load_x(x_ptr, mask, chunk, COLUMNS, 32), NATIVE)
    if CHUNKS > FULL and split == SPLITS - 1:
        acc = _add_chunk(acc, rest, rest_fields, _load_x(x_ptr, mask, FULL, COLUMNS, 16), NATIVE)
    return acc


@triton.jit
def gate_up_kernel(
    x_ptr: tensor, words_ptr: tensor, scales_ptr: tensor, bias_ptr: tensor, pairs_ptr: tensor,
    table_ptr: tensor, out_ptr: tensor,
    limit: tensor, alpha: tensor, TOP_K: constexpr, ROWS: constexpr, COLUMNS: constexpr, BM: constexpr,
    BN: constexpr, NATIVE: constexpr,
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
    acc = _product(
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
    NATIVE: constexpr,
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
    acc = _product(
        words_ptr, scales_ptr, x_ptr, expert, within, first + place, mask, split, ROWS, COLUMNS, SPLITS, BM,
        BN, NATIVE,
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


NATIVE = isinstance(down_kernel, JITFunction)  # the interpreter has no inline assembly


COMBINED = 512  # columns of the output that one program adds


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
    tokens = x.shape[0]
    pairs = tokens * top_k
    plan = plan or plan_for(tokens)
    splits = plan.down.splits
    if pairs > workspace.activations.shape[0] or splits * pairs * layer.down.rows > workspace.partial.numel():
        raise ValueError("The workspace of the experts is too small for so many tokens.")
    blocks = route(router_logits.contiguous(), top_k, plan.gate_up.tokens, workspace.routing)
    out = torch.empty_like(x) if out is None else out
    launch_gate_up(x.contiguous(), layer, workspace, blocks, plan.gate_up)
    launch_down(pairs, layer, workspace, blocks, plan.down)
    return launch_combine(x, residual, layer, workspace, splits, out)


def launch_gate_up(x: Tensor, layer: Mxfp4Experts, workspace: Workspace, blocks: int, tile: Tile) -> None:
    """The first product of all blocks: from ``x`` to the workspace's activations, sorted by expert."""
    matrix, routing = layer.gate_up, workspace.routing
    gate_up_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks)](
        x, matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table, workspace.activations,
        layer.limit, layer.alpha, workspace.top_k, matrix.rows, matrix.columns, tile.rows, tile.tokens,
        NATIVE, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip


def launch_down(pairs: int, layer: Mxfp4Experts, workspace: Workspace, blocks: int, tile: Tile) -> None:
    """The second product: from the workspace's activations to its partial results by pair."""
    matrix, routing = layer.down, workspace.routing
    down_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks, tile.splits)](
        workspace.activations, matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table,
        workspace.partial, pairs, matrix.rows, matrix.columns, tile.splits, tile.rows, tile.tokens, NATIVE,
        num_warps=tile.warps, num_stages=tile.stages,
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
