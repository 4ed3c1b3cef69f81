"""Products with weights in plain torch operations, the same to the bit whatever rows are beside a row.

Every product has a multiple of four rows: with fewer, the library takes another routine, which rounds
otherwise. bfloat16 weights on a CPU, and the output layer, are packed in the order in which oneDNN reads them
best, if that treats every row alike on this machine.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 4  # products have a multiple of so many rows
_PACKED_FOR = 16  # rows; for fewer than four the library would choose a layout that serves only one
_PROBES = (4, 8, 12, 20, 32, 64, 100, 512)  # rows with which a packed product is tried
_HEAD_BLOCK_BYTES = 1_000_000  # of the output matrix at a time, so that further rows find it in the cache
_HEAD_SUM = 128  # columns that are summed up in one go: one long sum would round worse than transformers'


def pad_rows(count: int) -> int:
    """``count`` rounded up to what the products take."""
    return -(-count // ROWS) * ROWS


def _packed(weight: Tensor) -> Tensor:
    matrix: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR)
    return matrix


def _multiply(rows: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows`` [rows, in] by a packed matrix [out, in], in their number type."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return product


@cache
def _packs_well(outputs: int, inputs: int, dtype: torch.dtype, threads: int) -> bool:
    """Whether packed products of this size give a row the same bits beside any number of others.

    That is how the library happens to work, so it is tried out; with other ``threads`` it may work otherwise.
    """
    noise = torch.Generator().manual_seed(0)
    rows = torch.randn(max(_PROBES), inputs, generator=noise).to(dtype)
    try:
        weight = _packed(torch.randn(outputs, inputs, generator=noise).to(dtype))
        whole = _multiply(rows, weight)
        return all(
            torch.equal(_multiply(rows[-count:].contiguous(), weight), whole[-count:]) for count in _PROBES
        )
    except (RuntimeError, AttributeError):  # a torch without oneDNN, or a number type that it does not take
        return False


class Linear:
    """``weight`` [out, in] and ``bias`` [out], in one number type."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.dtype = weight.dtype
        self._bias = bias
        # In float32 a packed product would be one long sum, which rounds worse.
        self._is_packed = (
            weight.device.type == "cpu"
            and weight.dtype == torch.bfloat16
            and _packs_well(*weight.shape, weight.dtype, torch.get_num_threads())
        )
        self._weight = _packed(weight) if self._is_packed else weight.t().contiguous()

    def __call__(self, rows: Tensor) -> Tensor:
        """``[rows, out]`` of ``[rows, in]``, in the number type of the weight, for a multiple of ``ROWS``."""
        if self._is_packed:
            return _multiply(rows, self._weight, self._bias)
        return torch.addmm(self._bias, rows, self._weight)


class Head:
    """The output layer without its all-zero rows, whose logits are 0 whatever the input.

    A model with a pruned vocabulary, such as the demonstration model, has mostly such rows; reading them
    from memory would take most of the time of a token. ``ids`` are the rows that are kept, or ``None``.
    """

    def __init__(self, weight: Tensor) -> None:
        self.vocab, inputs = weight.shape
        kept = weight.any(dim=1).nonzero()[:, 0]
        self.ids = kept if kept.numel() * 2 < self.vocab else None
        weight = weight if self.ids is None else weight[self.ids]
        self.outputs, self._dtype = weight.shape[0], weight.dtype
        # bfloat16 products are summed up in float32 and rounded once, at the end.
        self._sum = _HEAD_SUM if weight.dtype == torch.float32 else inputs
        self._packed = _pack_head(weight, self._sum)
        size = max(1, _HEAD_BLOCK_BYTES // (inputs * weight.element_size()))
        self._blocks = [] if self._packed else list(torch.split(weight, size))

    def __call__(self, hidden: Tensor) -> Tensor:
        """``[rows, len(ids) or vocab]`` of ``[rows, hidden]``, in the number type of the weight."""
        hidden = hidden.to(self._dtype)
        if self._packed:
            return _head_product(hidden, self._packed, self._sum)[: len(hidden)]
        logits = torch.empty(hidden.shape[0], self.outputs, dtype=hidden.dtype, device=hidden.device)
        at = 0
        for block in self._blocks:
            for row in range(hidden.shape[0]):
                torch.mv(block, hidden[row], out=logits[row, at : at + block.shape[0]])
            at += block.shape[0]
        return logits

    def full(self, logits: Tensor) -> Tensor:
        """``[rows, vocab]`` of what was called."""
        if self.ids is None:
            return logits
        whole = torch.zeros(logits.shape[0], self.vocab, dtype=logits.dtype, device=logits.device)
        return whole.index_copy_(1, self.ids, logits)


def _pack_head(weight: Tensor, columns: int) -> list[Tensor]:
    """``weight`` packed, so many columns at a time, or nothing where that does not serve us."""
    if weight.device.type != "cpu":
        return []
    try:
        packed = [_packed(part) for part in torch.split(weight, columns, dim=1)]
        probe = torch.linspace(-1, 1, 7 * weight.shape[1]).to(weight.dtype).view(7, -1)
        crowd = _head_product(probe, packed, columns)
        alone = [_head_product(part, packed, columns)[: len(part)] for part in (probe[:1], probe[1:])]
    except (RuntimeError, AttributeError):  # as above
        return []
    return packed if torch.equal(crowd[:7], torch.cat(alone)) else []


def _head_product(rows: Tensor, packed: list[Tensor], columns: int) -> Tensor:
    """The logits of ``rows`` [rows, in], and perhaps of some more rows."""
    missing = pad_rows(len(rows)) - len(rows)
    if missing:
        rows = functional.pad(rows, (0, 0, 0, missing))
    made: Tensor | None = None
    for part, matrix in zip(torch.split(rows, columns, dim=1), packed, strict=True):
        product = _multiply(part.contiguous(), matrix)
        made = product if made is None else made.add_(product)
    if made is None:
        raise ValueError("a matrix without columns")
    return made
