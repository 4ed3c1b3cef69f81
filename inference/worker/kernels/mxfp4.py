"""MXFP4 expert weights in the layout that the expert kernels read: still four bits a weight.

A checkpoint stores two neighbouring columns in a byte. Here four weights of one row share a 16-bit word, so
that a pair of words becomes four pairs of bfloat16 with a few shifts and masks: the bits of a weight (sign,
two of exponent, one of mantissa) stand where bfloat16 has them, for the first weight without any shift. For
the second and the third they do after a rotation of the pair by 6 and by 10. Each of these leaves four bits;
those of a pair and of the pair eight rows below, merged, give the fourth weights of both, after rotations by
12 and by 2: two rows that stand in the same registers of the tensor cores' operand.

Within a chunk of 128 columns word ``c`` of 32 holds the columns ``c``, ``32 + c``, ``64 + c``, ``96 + c``:
each is in a scale group of its own. A rest of 64 columns is a chunk of 16 words. Rows are stored in tiles of
32, chunk after chunk, so that every read is one contiguous piece. The four bits and the scales are those of
the OCP Microscaling Formats specification, version 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

TILE_ROWS = 32  # rows that stand together in memory
CHUNK = 128  # columns of a full chunk; the last chunk may have 64
GROUP = 32  # columns that share a scale
HIGHEST_SCALE = 128  # a block whose scale is above 2 ** 1 would overflow the bfloat16 that multiplies it


def padded_columns(columns: int) -> int:
    """How many columns are stored for ``columns``: the next multiple of 64."""
    return -(-columns // 64) * 64


@dataclass(frozen=True, eq=False)
class Mxfp4Matrix:
    """The same linear map of every expert: ``out = W @ x + bias``.

    ``words`` int16 [experts, rows * padded columns / 4]. ``scales`` int32 [experts, rows * chunks], four
    scales of a row and chunk in one number, each 126 more than the checkpoint's byte: it is the exponent
    field of the bfloat16 that multiplies the words' bits. ``bias`` [experts, rows].
    """

    words: Tensor
    scales: Tensor
    bias: Tensor
    rows: int
    columns: int

    @classmethod
    def pack(cls, blocks: Tensor, scales: Tensor, bias: Tensor, order: Tensor | None = None) -> Mxfp4Matrix:
        """Repack uint8 ``blocks`` [E, rows, columns / 32, 16] and ``scales`` [E, rows, columns / 32].

        ``order`` names the checkpoint's row for each stored row. Raises ValueError for a scale above 2 ** 1
        (no weight of a trained model comes near) and for rows that are no multiple of 32.
        """
        experts, rows, groups, _ = blocks.shape
        if rows % TILE_ROWS:
            raise ValueError("The experts' output size must be a multiple of 32.")
        if int(scales.max()) > HIGHEST_SCALE:
            raise ValueError("A scale of the experts' weights is out of range.")
        columns = groups * GROUP
        stored = padded_columns(columns)
        words = torch.empty(experts, rows * stored // 4, dtype=torch.int16, device=blocks.device)
        packed = torch.empty(experts, rows * -(-stored // CHUNK), dtype=torch.int32, device=blocks.device)
        for expert in range(experts):  # one at a time: the unpacked codes take four times the memory
            one, scale = blocks[expert], scales[expert]
            if order is not None:
                one, scale = one[order], scale[order]
            words[expert] = _words(one)
            packed[expert] = _scales(scale)
        ordered = bias if order is None else bias[:, order]
        return cls(words, packed, ordered.contiguous(), rows, columns)


def _words(blocks: Tensor) -> Tensor:
    """The words of one expert, flat, from its blocks [rows, columns / 32, 16]."""
    rows, groups, _ = blocks.shape
    codes = torch.stack((blocks & 15, blocks >> 4), dim=-1).view(rows, groups * GROUP)
    codes = pad(codes, (0, padded_columns(groups * GROUP) - groups * GROUP))
    chunks = codes.shape[1] // CHUNK
    tiles = rows // TILE_ROWS
    full = _combine(codes[:, : chunks * CHUNK].reshape(tiles, 2, 2, 8, chunks, 4, 16, 2))
    parts = [full.movedim(4, 1).reshape(tiles, -1)]
    if codes.shape[1] % CHUNK:
        rest = _combine(codes[:, chunks * CHUNK :].reshape(tiles, 2, 2, 8, 1, 4, 8, 2))
        parts.append(rest.reshape(tiles, -1))
    return torch.cat(parts, dim=1).flatten().view(torch.int16)


def _combine(codes: Tensor) -> Tensor:
    """Pairs of words, int32 [tiles, 2, 2, 8, chunks, n], from their codes [tiles, 2, 2, 8, chunks, 4, n, 2].

    See the module's text and the kernels' decoder.
    """
    wide = codes.to(torch.int64)
    places = (wide & 8) << 12 | (wide & 7) << 6
    first, second, third, last = (places[..., 0] | places[..., 1] << 16).unbind(-2)
    word = first | _rotate_right(second, 6) | _rotate_right(third, 10)
    upper, lower = last.unbind(2)  # eight rows, and the eight rows below
    merged = _rotate_right(upper, 12) | _rotate_right(lower, 2)
    word |= torch.stack((merged, merged >> 2), dim=2) & 0x0C180C18
    return (word - ((word & 0x80000000) << 1)).to(torch.int32)


def _rotate_right(pairs: Tensor, bits: int) -> Tensor:
    """A rotation of 32 bits of non-negative int64."""
    return (pairs >> bits | pairs << (32 - bits)) & 0xFFFFFFFF


def _scales(scales: Tensor) -> Tensor:
    """The packed scales of one expert, flat, from its scales [rows, columns / 32]."""
    rows, groups = scales.shape
    fields = pad(scales + 126, (0, groups % 2), value=126)
    chunks = fields.shape[1] // 4
    parts = [fields[:, : chunks * 4].reshape(rows, chunks, 4)]
    if fields.shape[1] % 4:  # a last chunk's word has two weights of each of its two groups
        parts.append(fields[:, chunks * 4 :].repeat_interleave(2, dim=1).reshape(rows, 1, 4))
    numbers = torch.cat(parts, dim=1).contiguous().view(torch.int32).view(rows // TILE_ROWS, TILE_ROWS, -1)
    return numbers.transpose(1, 2).flatten()


@dataclass(frozen=True, eq=False)
class Mxfp4Experts:
    """One layer's experts on the device. ``gate_up`` has eight gate rows, their eight up rows, and so on."""

    gate_up: Mxfp4Matrix
    down: Mxfp4Matrix
    limit: float
    alpha: float

    @classmethod
    def pack(
        cls,
        gate_up_blocks: Tensor,
        gate_up_scales: Tensor,
        gate_up_bias: Tensor,
        down_blocks: Tensor,
        down_scales: Tensor,
        down_bias: Tensor,
        limit: float = 7.0,
        alpha: float = 1.702,
    ) -> Mxfp4Experts:
        """Repack a layer's tensors as the checkpoint names them, on the device where they are.

        blocks uint8 [E, out, in / 32, 16], scales uint8 [E, out, in / 32], biases [E, out]; the gate and up
        rows of the first matrix alternate. Raises ValueError as ``Mxfp4Matrix.pack``.
        """
        rows = torch.arange(gate_up_blocks.shape[1], device=gate_up_blocks.device)
        order = (rows // 16 * 8 + rows % 8) * 2 + rows % 16 // 8
        return cls(
            Mxfp4Matrix.pack(gate_up_blocks, gate_up_scales, gate_up_bias, order),
            Mxfp4Matrix.pack(down_blocks, down_scales, down_bias),
            limit,
            alpha,
        )

    @property
    def experts(self) -> int:
        """How many experts there are."""
        return self.down.words.shape[0]

    @property
    def nbytes(self) -> int:
        """How much memory the layer's experts take."""
        tensors = [t for m in (self.gate_up, self.down) for t in (m.words, m.scales, m.bias)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
