"""The mixture of experts of gpt-oss on weights that stay in four bits.

Two products, each by a program for a tile of output rows and a block of tokens that share an expert (the blocks
are made by routing.py). The weights are the left operand: a program turns the words that it reads into bfloat16 in
registers, where the tensor cores take them from, and a weight is read once for all tokens of its block. Nothing is
added atomically: the second product writes one partial result for each token and expert, which are added in the
order of the experts' ranks. The output of a token depends on the others of its batch only through the tile sizes,
so one plan for every number of tokens makes it independent of them.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.jit import JITFunction

from inference.worker.kernels.mxfp4 import TILE_ROWS, Mxfp4Experts
from inference.worker.kernels.routing import Routing, route

R = tl.constexpr(TILE_ROWS)

# Two 16-bit words, one in each half of $4, to four pairs of bfloat16, each times its scale: the fourth weight of a
# word stands in the bits that the other three leave. The product is exact, below the smallest normal number too.
_DECODE = tl.constexpr("""{
.reg .b32 a, b, c;
and.b32 a, $4, 0x81C081C0;
mul.rn.bf16x2 $0, a, $5;
shl.b32 a, $4, 3;
and.b32 a, a, 0x81C081C0;
mul.rn.bf16x2 $1, a, $6;
shl.b32 a, $4, 6;
and.b32 a, a, 0x81C081C0;
mul.rn.bf16x2 $2, a, $7;
shl.b32 a, $4, 1;
and.b32 a, a, 0x80008000;
shr.b32 b, $4, 3;
and.b32 b, b, 0x01800180;
shr.b32 c, $4, 7;
and.b32 c, c, 0x00400040;
or.b32 a, a, b;
or.b32 a, a, c;
mul.rn.bf16x2 $3, a, $8;
}""")


@triton.jit
def _scale(fields: Any, like: Any, SHIFT: tl.constexpr) -> Any:
    """One of a row's four scales as bfloat16 bits, for every word of the row."""
    bits = ((fields >> SHIFT) & 255) << 7
    return tl.broadcast_to(bits.to(tl.int16)[:, None], like.shape)


@triton.jit
def _weight(bits: Any, scale: Any) -> Any:
    """The same decoding in plain operations, for the interpreter: float32 with the bits of bfloat16 on top."""
    weight = ((bits & 0x81C0) << 16).to(tl.float32, bitcast=True)
    return (weight * ((scale.to(tl.int32) & 0xFFFF) << 16).to(tl.float32, bitcast=True)).to(tl.bfloat16)


@triton.jit
def _decode(words: Any, fields: Any, NATIVE: tl.constexpr) -> Any:
    """Words [rows, words] and scales [rows] to four weights bf16 [rows, words] each."""
    s0, s1, s2, s3 = _scale(fields, words, 0), _scale(fields, words, 8), _scale(fields, words, 16), _scale(fields, words, 24)
    if NATIVE:
        return tl.inline_asm_elementwise(
            _DECODE,
            "=r,=r,=r,=r,r,r,r,r,r",
            [words, s0, s1, s2, s3],
            dtype=(tl.bfloat16, tl.bfloat16, tl.bfloat16, tl.bfloat16),
            is_pure=True,
            pack=2,
        )
    w = words.to(tl.int32)
    last = ((w << 1) & 0x8000) | ((w >> 3) & 0x0180) | ((w >> 7) & 0x0040)
    return _weight(w, s0), _weight(w << 3, s1), _weight(w << 6, s2), _weight(last, s3)


@triton.jit
def _tokens(x_ptr: Any, mask: Any, column: Any, left: Any, AT: tl.constexpr, EVEN: tl.constexpr) -> Any:
    """The columns from AT on of a chunk of x, [tokens, words]; ``left`` columns of x remain."""
    if EVEN:
        return tl.load(x_ptr + AT, mask, other=0.0)
    return tl.load(x_ptr + AT, mask & (column + AT < left), other=0.0)


@triton.jit
def _add_chunk(
    acc: Any, words_ptr: Any, scales_ptr: Any, x_ptr: Any, inside: Any, mask: Any, left: Any,
    WORDS: tl.constexpr, EVEN: tl.constexpr, NATIVE: tl.constexpr,
) -> Any:  # fmt: skip
    """Add one chunk's products to ``acc``. WORDS is how many words a row has in it, a quarter of its columns."""
    column = tl.arange(0, WORDS)[None, :]
    words = tl.load(words_ptr + inside * WORDS + column)
    fields = tl.load(scales_ptr)
    x_ptr = x_ptr + column
    x0 = _tokens(x_ptr, mask, column, left, 0, EVEN)
    x1 = _tokens(x_ptr, mask, column, left, WORDS, EVEN)
    x2 = _tokens(x_ptr, mask, column, left, 2 * WORDS, EVEN)
    x3 = _tokens(x_ptr, mask, column, left, 3 * WORDS, EVEN)
    w0, w1, w2, w3 = _decode(words, fields, NATIVE)
    acc = tl.dot(w0, x0.T, acc)
    acc = tl.dot(w1, x1.T, acc)
    acc = tl.dot(w2, x2.T, acc)
    return tl.dot(w3, x3.T, acc)


@triton.jit
def _product(
    words_ptr: Any, scales_ptr: Any, x_ptr: Any, expert: Any, row: Any, source: Any, mask: Any, split: Any,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, SPLITS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    NATIVE: tl.constexpr,
) -> Any:  # fmt: skip
    """fp32 [BM, BN]: rows ``row`` [BM] of an expert's matrix by the rows ``source`` [BN] of x, where ``mask`` [BN].

    ``split`` of SPLITS names the part of the chunks that is added.
    """
    STORED: tl.constexpr = (COLUMNS + 63) // 64 * 64
    FULL: tl.constexpr = STORED // 128
    CHUNKS: tl.constexpr = (STORED + 127) // 128
    EVEN: tl.constexpr = COLUMNS % 64 == 0
    words_ptr += expert.to(tl.int64) * (ROWS * STORED // 4) + (row // R * (R * STORED // 4))[:, None]
    scales_ptr += expert.to(tl.int64) * (ROWS * CHUNKS) + row // R * (R * CHUNKS) + row % R
    x_ptr += source.to(tl.int64)[:, None] * COLUMNS
    inside = (row % R)[:, None]
    acc = tl.zeros((BM, BN), tl.float32)
    for chunk in range(FULL * split // SPLITS, FULL * (split + 1) // SPLITS):
        acc = _add_chunk(
            acc, words_ptr + chunk * (R * 32), scales_ptr + chunk * R, x_ptr + chunk * 128, inside, mask[:, None],
            COLUMNS - chunk * 128, 32, EVEN, NATIVE,
        )  # fmt: skip
    if CHUNKS > FULL and split == SPLITS - 1:
        acc = _add_chunk(
            acc, words_ptr + FULL * (R * 32), scales_ptr + FULL * R, x_ptr + FULL * 128, inside, mask[:, None],
            COLUMNS - FULL * 128, 16, EVEN, NATIVE,
        )  # fmt: skip
    return acc


@triton.jit
def gate_up_kernel(
    x_ptr: Any, words_ptr: Any, scales_ptr: Any, bias_ptr: Any, pairs_ptr: Any, table_ptr: Any, out_ptr: Any,
    limit: Any, alpha: Any, TOP_K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, NATIVE: tl.constexpr,
) -> None:  # fmt: skip
    """out[place of the pair, ROWS / 2] = activation(W x + bias), for a tile of rows and a block of pairs."""
    entry = table_ptr + tl.program_id(1) * 4
    expert = tl.load(entry)
    if expert < 0:
        return
    first = tl.load(entry + 1)
    place = tl.arange(0, BN)
    mask = place < tl.load(entry + 2)
    token = tl.load(pairs_ptr + first + place, mask, other=0) // TOP_K
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    within = tl.minimum(row, ROWS - 1) if ROWS % BM else row
    acc = _product(words_ptr, scales_ptr, x_ptr, expert, within, token, mask, 0, ROWS, COLUMNS, 1, BM, BN, NATIVE)
    acc += tl.load(bias_ptr + expert * ROWS + within).to(tl.float32)[:, None]
    # eight rows of gate, the same eight of up: both stand in the same thread
    gate, up = tl.split(acc.reshape(BM // 16, 2, 8, BN).permute(0, 2, 3, 1))
    gate = tl.minimum(gate.reshape(BM // 2, BN), limit)
    up = tl.minimum(tl.maximum(up.reshape(BM // 2, BN), -limit), limit)
    out = (up + 1.0) * gate / (1.0 + tl.exp(-alpha * gate))
    feature = tl.program_id(0) * (BM // 2) + tl.arange(0, BM // 2)
    out_ptr += (first + place).to(tl.int64)[None, :] * (ROWS // 2) + feature[:, None]
    tl.store(out_ptr, out.to(out_ptr.dtype.element_ty), mask[None, :] & (feature < ROWS // 2)[:, None])


@triton.jit
def down_kernel(
    x_ptr: Any, words_ptr: Any, scales_ptr: Any, bias_ptr: Any, pairs_ptr: Any, table_ptr: Any, out_ptr: Any,
    pairs: Any, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SPLITS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    NATIVE: tl.constexpr,
) -> None:  # fmt: skip
    """out[split, pair, ROWS] fp32 = W x (+ bias in the last split) for the sorted pairs' activations x."""
    entry = table_ptr + tl.program_id(1) * 4
    expert = tl.load(entry)
    if expert < 0:
        return
    first = tl.load(entry + 1)
    place = tl.arange(0, BN)
    mask = place < tl.load(entry + 2)
    pair = tl.load(pairs_ptr + first + place, mask, other=0)
    split = tl.program_id(2)
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    within = tl.minimum(row, ROWS - 1) if ROWS % BM else row
    acc = _product(
        words_ptr, scales_ptr, x_ptr, expert, within, first + place, mask, split, ROWS, COLUMNS, SPLITS, BM, BN, NATIVE
    )
    if split == SPLITS - 1:
        acc += tl.load(bias_ptr + expert * ROWS + within).to(tl.float32)[:, None]
    out_ptr += (split * pairs + pair).to(tl.int64)[None, :] * ROWS + row[:, None]
    tl.store(out_ptr, acc, mask[None, :] & (row < ROWS)[:, None])


@triton.jit
def combine_kernel(
    partial_ptr: Any, weights_ptr: Any, residual_ptr: Any, out_ptr: Any, pairs: Any,
    COLUMNS: tl.constexpr, TOP_K: tl.constexpr, SPLITS: tl.constexpr, RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
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


@dataclass(frozen=True)
class Tile:
    """How one product is cut: output rows and tokens of a program, its warps, chunks on their way, parts of the sum."""

    rows: int
    tokens: int
    warps: int
    stages: int
    splits: int = 1


@dataclass(frozen=True)
class Plan:
    """The tiles of both products; their blocks of tokens are the same."""

    gate_up: Tile
    down: Tile

    def __post_init__(self) -> None:
        """Both products share one table of blocks."""
        if self.gate_up.tokens != self.down.tokens or self.gate_up.splits != 1:
            raise ValueError("Both products need the same block of tokens, and the first cannot be split.")


# (up to this many tokens, plan); a block must hold all tokens of a decode step, so that a weight is read once
PLANS = (
    (1, Plan(Tile(64, 16, 4, 4), Tile(64, 16, 4, 4, 2))),
    (16, Plan(Tile(64, 16, 4, 4), Tile(64, 16, 4, 4))),
    (32, Plan(Tile(64, 32, 4, 4), Tile(64, 32, 4, 4))),
    (64, Plan(Tile(64, 64, 4, 4), Tile(64, 64, 4, 4))),
)
LARGE = Plan(Tile(128, 128, 4, 3), Tile(128, 128, 4, 3))
REPRODUCIBLE = Plan(Tile(64, 64, 4, 4), Tile(64, 64, 4, 4))
MOST_SPLITS = 4
SPLIT_TOKENS = 8  # more tokens are never split


def plan_for(tokens: int, reproducible: bool = False) -> Plan:
    """The measured best plan for ``tokens`` tokens, or the one that is the same for every number."""
    if reproducible:
        return REPRODUCIBLE
    return next((plan for most, plan in PLANS if tokens <= most), LARGE)


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
    reproducible: bool = False,
    plan: Plan | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The experts' output [tokens, hidden] for ``x`` bf16 [tokens, hidden], plus ``residual`` if there is one.

    ``router_logits`` [tokens, experts]: the ``top_k`` highest count, of equal ones the first, and their softmax
    weighs them. The device is never waited for, so a CUDA graph can hold the call. Raises ValueError when the
    workspace is too small.
    """
    tokens = x.shape[0]
    pairs = tokens * top_k
    plan = plan or plan_for(tokens, reproducible)
    splits = plan.down.splits
    if pairs > workspace.activations.shape[0] or splits * pairs * layer.down.rows > workspace.partial.numel():
        raise ValueError("The workspace of the experts is too small for so many tokens.")
    routing = workspace.routing
    blocks = route(router_logits.contiguous(), top_k, plan.gate_up.tokens, routing)
    matrix, tile = layer.gate_up, plan.gate_up
    gate_up_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks)](
        x.contiguous(), matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table, workspace.activations,
        layer.limit, layer.alpha, top_k, matrix.rows, matrix.columns, tile.rows, tile.tokens, NATIVE,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    matrix, tile = layer.down, plan.down
    down_kernel[(triton.cdiv(matrix.rows, tile.rows), blocks, splits)](
        workspace.activations, matrix.words, matrix.scales, matrix.bias, routing.pairs, routing.table,
        workspace.partial, pairs, matrix.rows, matrix.columns, splits, tile.rows, tile.tokens, NATIVE,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    out = torch.empty_like(x) if out is None else out
    combine_kernel[(tokens, triton.cdiv(matrix.rows, 1024))](
        workspace.partial, routing.weights, residual if residual is not None else x, out, pairs,
        matrix.rows, top_k, splits, residual is not None, 1024, num_warps=4,
    )  # fmt: skip
    return out
