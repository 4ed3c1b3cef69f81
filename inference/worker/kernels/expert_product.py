"""The product of four-bit weights with a few tokens: decoding, and two ways to bring the weights along.

``product`` lets words travel to the registers through shared memory, many chunks ahead; ``product_direct``
spares programs of one warp that detour.
"""

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from inference.worker.kernels.mxfp4 import TILE_ROWS

R = constexpr(TILE_ROWS)

# Two neighbouring 16-bit words of a row, one in each half of $8, and those of the row eight below in $9, to
# four pairs of bfloat16 each, times their scales. The last weights of both rows come from the bits that the
# others leave, merged. The product is exact, subnormal numbers included; a product plus -0 is the one form
# that every GPU with bfloat16 has, and newer ones make a product of it.
_DECODE = constexpr("""{
.reg .b32 a, m, z;
mov.b32 z, 0x80008000;
and.b32 a, $8, 0x81C081C0;
fma.rn.bf16x2 $0, a, $10, z;
shl.b32 a, $8, 6;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $1, a, $11, z;
shf.l.wrap.b32 a, $8, $8, 10;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $2, a, $12, z;
and.b32 a, $9, 0x81C081C0;
fma.rn.bf16x2 $4, a, $14, z;
shl.b32 a, $9, 6;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $5, a, $15, z;
shf.l.wrap.b32 a, $9, $9, 10;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $6, a, $16, z;
shl.b32 m, $9, 2;
lop3.b32 m, $8, m, 0x0C180C18, 0xE4;
shf.l.wrap.b32 a, m, m, 12;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $3, a, $13, z;
shl.b32 a, m, 2;
and.b32 a, a, 0x81C081C0;
fma.rn.bf16x2 $7, a, $17, z;
}""")


EIGHT = constexpr((tl.bfloat16,) * 8)


@triton.jit
def _scale(fields: tensor, SHIFT: constexpr) -> tensor:
    """One of a row's four scales as bfloat16 bits."""
    return (((fields >> SHIFT) & 255) << 7).to(tl.int16)


@triton.jit
def _halves(values: tensor) -> tensor:
    """From [rows, words] the upper and the lower eight of every sixteen rows, each [rows / 16, 8, words]."""
    shape: constexpr = (values.shape[0] // 16, 2, 8, values.shape[1])
    return tl.split(values.reshape(shape).permute(0, 2, 3, 1))


@triton.jit
def _whole(upper: tensor, lower: tensor) -> tensor:
    """The reverse of ``_halves``."""
    values = tl.join(upper, lower).permute(0, 3, 1, 2)
    return values.reshape(16 * upper.shape[0], upper.shape[2])


@triton.jit
def _rotated(pairs: tensor, LEFT: constexpr) -> tensor:
    """A rotation of 32 bits."""
    return (pairs << LEFT) | (pairs >> (32 - LEFT))


@triton.jit
def _weights(pairs: tensor, scales: tensor) -> tensor:
    """Each half of uint32 ``pairs`` times its scale, in plain operations for the interpreter."""
    bits = tl.join(pairs << 16, pairs).reshape(scales.shape) & 0x81C00000
    scale = (scales.to(tl.uint32) & 0xFFFF) << 16
    return (bits.to(tl.float32, bitcast=True) * scale.to(tl.float32, bitcast=True)).to(tl.bfloat16)


@triton.jit
def _pairs(words: tensor) -> tensor:
    """Two neighbouring words in one uint32."""
    shape: constexpr = (words.shape[0], words.shape[1], words.shape[2] // 2, 2)
    first, second = tl.split((words.to(tl.uint32) & 0xFFFF).reshape(shape))
    return first | (second << 16)


@triton.jit
def _decode(words: tensor, s0: tensor, s1: tensor, s2: tensor, s3: tensor, NATIVE: constexpr) -> tensor:
    """Words and their four scales, all [rows, words], to four weights bf16 each."""
    u, v = _halves(words)
    u0, v0 = _halves(s0)
    u1, v1 = _halves(s1)
    u2, v2 = _halves(s2)
    u3, v3 = _halves(s3)
    if NATIVE:
        u0, u1, u2, u3, v0, v1, v2, v3 = tl.inline_asm_elementwise(
            _DECODE,
            "=&r,=&r,=&r,=&r,=&r,=&r,=&r,=&r,r,r,r,r,r,r,r,r,r,r",
            [u, v, u0, u1, u2, u3, v0, v1, v2, v3],
            dtype=EIGHT,
            is_pure=True,
            pack=2,
        )
    else:
        u, v = _pairs(u), _pairs(v)
        merged = (u & 0x0C180C18) | ((v << 2) & 0xF3E7F3E7)
        u0, u1, u2 = _weights(u, u0), _weights(u << 6, u1), _weights(_rotated(u, 10), u2)
        v0, v1, v2 = _weights(v, v0), _weights(v << 6, v1), _weights(_rotated(v, 10), v2)
        u3, v3 = _weights(_rotated(merged, 12), u3), _weights(merged << 2, v3)
    return _whole(u0, v0), _whole(u1, v1), _whole(u2, v2), _whole(u3, v3)


@triton.jit
def _load_words(
    words_ptr: tensor, scales_ptr: tensor, inside: tensor, chunk: tensor, WORDS: constexpr
) -> tensor:
    """Words [rows, WORDS] and scales [rows, 4] (each four times) of one chunk.

    Were a load smaller than the program has threads, the compiler would let each of them load many scales.
    """
    words = tl.load(words_ptr + chunk * (R * 32) + inside * WORDS + tl.arange(0, WORDS)[None, :])
    return words, tl.load(scales_ptr[:, None] + (chunk * R + tl.zeros((1, 4), tl.int32)))


@triton.jit
def _load_x(x_ptr: tensor, mask: tensor, chunk: tensor, COLUMNS: constexpr, WORDS: constexpr) -> tensor:
    """The columns of one chunk of x, [tokens, 4 * WORDS]."""
    column = chunk * 128 + tl.arange(0, 4 * WORDS)[None, :]
    return tl.load(x_ptr + column, mask if COLUMNS % 64 == 0 else mask & (column < COLUMNS), other=0.0)


@triton.jit
def _wide(scale: tensor, BM: constexpr, WORDS: constexpr) -> tensor:
    """From [BM, 4] to [BM, WORDS]: a number for each word, in the lanes that have loaded it once."""
    return tl.broadcast_to(scale[:, None, :, None], (BM, WORDS // 8, 4, 2)).reshape(BM, WORDS)


@triton.jit
def _add_chunk(acc: tensor, words: tensor, fields: tensor, x: tensor, NATIVE: constexpr) -> tensor:
    """Add one chunk's products to ``acc``."""
    BM: constexpr = words.shape[0]
    W: constexpr = words.shape[1]
    s0, s1 = _wide(_scale(fields, 0), BM, W), _wide(_scale(fields, 8), BM, W)
    s2, s3 = _wide(_scale(fields, 16), BM, W), _wide(_scale(fields, 24), BM, W)
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
