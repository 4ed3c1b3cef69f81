"""The product of four-bit weights with a few tokens: decoding, and two ways to bring the weights along.

``product`` lets words travel to the registers through shared memory, many chunks ahead; ``product_direct``
spares programs of one warp that detour.
"""

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from inference.worker.kernels.mxfp4 import TILE_ROWS

R = constexpr(TILE_ROWS)

# Two 16-bit words, one in each half of $4, to four pairs of bfloat16, each times its scale: the signs of the
# third and the fourth weight of a word stand apart, in the bits that the rest leaves. The product is exact,
# subnormal numbers included; a product plus -0 is the one form that every GPU with bfloat16 has, and newer
# ones make a product of it.
_DECODE = constexpr("""{
.reg .b32 a, b, z;
mov.b32 z, 0x80008000;
and.b32 a, $4, 0x81C081C0;
fma.rn.bf16x2 $0, a, $5, z;
shl.b32 a, $4, 3;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $1, a, $6, z;
shl.b32 a, $4, 6;
shl.b32 b, $4, 1;
and.b32 a, a, 0x01C001C0;
and.b32 b, b, 0x80008000;
or.b32 a, a, b;
fma.rn.bf16x2 $2, a, $7, z;
shr.b32 a, $4, 3;
shl.b32 b, $4, 2;
and.b32 a, a, 0x01C001C0;
and.b32 b, b, 0x80008000;
or.b32 a, a, b;
fma.rn.bf16x2 $3, a, $8, z;
}""")


@triton.jit
def _scale(fields: tensor, SHIFT: constexpr) -> tensor:
    """One of a row's four scales as bfloat16 bits."""
    return (((fields >> SHIFT) & 255) << 7).to(tl.int16)


@triton.jit
def _weight(bits: tensor, scale: tensor) -> tensor:
    """The same decoding in plain operations for the interpreter: float32, bfloat16's bits on top."""
    weight = ((bits & 0x81C0) << 16).to(tl.float32, bitcast=True)
    return (weight * ((scale.to(tl.int32) & 0xFFFF) << 16).to(tl.float32, bitcast=True)).to(tl.bfloat16)


@triton.jit
def _decode(words: tensor, s0: tensor, s1: tensor, s2: tensor, s3: tensor, NATIVE: constexpr) -> tensor:
    """Words and their four scales, of the same shape, to four weights bf16 each."""
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
    third = ((w << 6) & 0x01C0) | ((w << 1) & 0x8000)
    last = ((w >> 3) & 0x01C0) | ((w << 2) & 0x8000)
    return _weight(w, s0), _weight(w << 3, s1), _weight(third, s2), _weight(last, s3)


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
    s0 = tl.broadcast_to(_scale(fields, 0)[:, None], words.shape)
    s1 = tl.broadcast_to(_scale(fields, 8)[:, None], words.shape)
    s2 = tl.broadcast_to(_scale(fields, 16)[:, None], words.shape)
    s3 = tl.broadcast_to(_scale(fields, 24)[:, None], words.shape)
    w0, w1, w2, w3 = _decode(words, s0, s1, s2, s3, NATIVE)
    # one after the other along the columns: in the registers of the tensor cores' operand nothing moves
    weights = tl.join(tl.join(w0, w2), tl.join(w1, w3)).permute(0, 2, 3, 1)
    return tl.dot(weights.reshape(words.shape[0], 4 * words.shape[1]), x.T, acc)


@triton.jit
def product(
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
def _load_apart(
    words_ptr: tensor, scales_ptr: tensor, x_ptr: tensor, inside: tensor, mask: tensor, chunk: tensor,
    COLUMNS: constexpr,
) -> tensor:  # fmt: skip
    """Words [BM, 32], scales [4, BM] (each four times) and x [BN, 4, 32] of one full chunk.

    The shapes are such that four neighbouring lanes get one row, of words and of x, sixteen bytes at a time.
    """
    words = tl.load(words_ptr + chunk * (R * 32) + inside * 32 + tl.arange(0, 32)[None, :])
    # without the promise the compiler finds neighbouring rows and gives four of them to a lane
    scales_ptr = tl.max_contiguous(scales_ptr + (chunk * R + tl.zeros((4, 1), tl.int32)), [1, 1])
    column = chunk * 128 + tl.arange(0, 4)[None, :, None] * 32 + tl.arange(0, 32)[None, None, :]
    mask = mask if COLUMNS % 64 == 0 else mask & (column < COLUMNS)
    return words, tl.load(scales_ptr), tl.load(x_ptr + column, mask, other=0.0)


@triton.jit
def _four(scale: tensor, BM: constexpr) -> tensor:
    """From [4, BM] to [BM, 32]: a number for each word."""
    return tl.broadcast_to(scale.T[:, :, None], (BM, 4, 8)).reshape(BM, 32)


@triton.jit
def _add_apart(
    acc: tensor, words: tensor, fields: tensor, x: tensor, BM: constexpr, BN: constexpr, NATIVE: constexpr
) -> tensor:
    """Add one full chunk's products to ``acc``, the columns in the order in which the lanes have them.

    A lane has eight neighbouring words of a row, thus eight columns of each scale group. The tensor cores
    want a lane to have four columns of every sixteen: the columns of words and x trade places alike.
    """
    s0, s1 = _four(_scale(fields, 0), BM), _four(_scale(fields, 8), BM)
    s2, s3 = _four(_scale(fields, 16), BM), _four(_scale(fields, 24), BM)
    w0, w1, w2, w3 = _decode(words, s0, s1, s2, s3, NATIVE)
    weights = tl.join(tl.join(w0, w2), tl.join(w1, w3)).reshape(BM, 4, 2, 4, 2, 2)
    weights = weights.permute(0, 4, 5, 2, 1, 3).reshape(BM, 128)
    return tl.dot(weights, x.reshape(BN, 4, 4, 2, 4).permute(1, 3, 2, 4, 0).reshape(128, BN), acc)


@triton.jit
def _turn(
    acc: tensor, words: tensor, fields: tensor, x: tensor, words_ptr: tensor, scales_ptr: tensor,
    x_ptr: tensor, inside: tensor, mask: tensor, chunk: tensor, end: tensor, ahead: tensor,
    COLUMNS: constexpr, BM: constexpr, BN: constexpr, NATIVE: constexpr,
) -> tensor:  # fmt: skip
    """Add what has arrived, and ask for the chunk ``ahead`` in its place: no register need be copied."""
    fields = tl.where(chunk < end, fields, 0)  # a scale of zero
    acc = _add_apart(acc, words, fields, x, BM, BN, NATIVE)
    words, fields, x = _load_apart(words_ptr, scales_ptr, x_ptr, inside, mask, ahead, COLUMNS)
    return acc, words, fields, x


@triton.jit
def product_direct(
    words_ptr: tensor, scales_ptr: tensor, x_ptr: tensor, expert: tensor, row: tensor, source: tensor,
    mask: tensor, split: tensor, ROWS: constexpr, COLUMNS: constexpr, SPLITS: constexpr, BM: constexpr,
    BN: constexpr, DEPTH: constexpr, NATIVE: constexpr,
) -> tensor:  # fmt: skip
    """The same as ``product`` for a program of one warp: words go straight to the lanes that multiply them.

    DEPTH (2 or 3): for how many chunks the program asks before it needs them.
    """
    STORED: constexpr = (COLUMNS + 63) // 64 * 64
    FULL: constexpr = STORED // 128
    CHUNKS: constexpr = (STORED + 127) // 128
    words_ptr += expert.to(tl.int64) * (ROWS * STORED // 4) + (row // R * (R * STORED // 4))[:, None]
    source = source.to(tl.int64) * COLUMNS
    x_apart, mask_apart = x_ptr + source[:, None, None], mask[:, None, None]
    inside = (row % R)[:, None]
    scales_ptr += expert.to(tl.int64) * (ROWS * CHUNKS) + row // R * (R * CHUNKS) + row % R
    scales_apart = scales_ptr[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    begin, end = FULL * split // SPLITS, FULL * (split + 1) // SPLITS
    if FULL > 0:
        last = FULL - 1
        words, fields, x = _load_apart(words_ptr, scales_apart, x_apart, inside, mask_apart, begin, COLUMNS)
        words_2, fields_2, x_2 = _load_apart(
            words_ptr, scales_apart, x_apart, inside, mask_apart, tl.minimum(begin + 1, last), COLUMNS
        )
        if DEPTH == 3:
            words_3, fields_3, x_3 = _load_apart(
                words_ptr, scales_apart, x_apart, inside, mask_apart, tl.minimum(begin + 2, last), COLUMNS
            )
        for chunk in tl.range(begin, end, DEPTH, num_stages=1):
            acc, words, fields, x = _turn(
                acc, words, fields, x, words_ptr, scales_apart, x_apart, inside, mask_apart, chunk, end,
                tl.minimum(chunk + DEPTH, last), COLUMNS, BM, BN, NATIVE,
            )  # fmt: skip
            acc, words_2, fields_2, x_2 = _turn(
                acc, words_2, fields_2, x_2, words_ptr, scales_apart, x_apart, inside, mask_apart, chunk + 1,
                end, tl.minimum(chunk + 1 + DEPTH, last), COLUMNS, BM, BN, NATIVE,
            )  # fmt: skip
            if DEPTH == 3:
                acc, words_3, fields_3, x_3 = _turn(
                    acc, words_3, fields_3, x_3, words_ptr, scales_apart, x_apart, inside, mask_apart,
                    chunk + 2, end, tl.minimum(chunk + 2 + DEPTH, last), COLUMNS, BM, BN, NATIVE,
                )  # fmt: skip
    if CHUNKS > FULL and split == SPLITS - 1:
        rest, rest_fields = _load_words(words_ptr, scales_ptr, inside, FULL, 16)
        rest_x = _load_x(x_ptr + source[:, None], mask[:, None], FULL, COLUMNS, 16)
        acc = _add_chunk(acc, rest, rest_fields, rest_x, NATIVE)
    return acc
