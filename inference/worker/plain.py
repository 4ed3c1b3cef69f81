"""The forward pass of gpt-oss in plain torch operations: on the CPU, and on GPUs without kernels of ours.

The arithmetic is that of transformers' ``modeling_gpt_oss.py``. A row's numbers do not depend, to the bit, on
how many others are computed beside it: every product has a multiple of four rows (with fewer, the library
takes another routine, which rounds otherwise), and the output layer takes one row after another.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.worker.plain_attention import PagedKv, Span, attend
from inference.worker.weights import DenseExperts, LayerWeights, Shape, Weights

ROWS = 4  # products have a multiple of so many rows
_HEAD_BLOCK_BYTES = 1_000_000  # of the output matrix at a time, so that further rows find it in the cache


def pad_rows(count: int) -> int:
    """``count`` rounded up to what the products take."""
    return -(-count // ROWS) * ROWS


class Head:
    """The output layer without its all-zero rows, whose logits are 0 whatever the input.

    A model with a pruned vocabulary, such as the demonstration model, has mostly such rows; reading them
    from memory would take most of the time of a token. ``ids`` are the rows that are kept, or ``None``.
    """

    def __init__(self, weight: Tensor) -> None:
        self.vocab = weight.shape[0]
        kept = weight.any(dim=1).nonzero()[:, 0]
        self.ids = kept if kept.numel() * 2 < self.vocab else None
        self.weight = weight if self.ids is None else weight[self.ids].contiguous()
        size = max(1, _HEAD_BLOCK_BYTES // (weight.shape[1] * weight.element_size()))
        self._blocks = list(torch.split(self.weight, size))

    def __call__(self, hidden: Tensor) -> Tensor:
        """float32 ``[rows, len(ids) or vocab]`` of ``[rows, hidden]``."""
        logits = torch.empty(hidden.shape[0], self.weight.shape[0], dtype=hidden.dtype, device=hidden.device)
        at = 0
        for block in self._blocks:
            for row in range(hidden.shape[0]):
                torch.mv(block, hidden[row], out=logits[row, at : at + block.shape[0]])
            at += block.shape[0]
        return logits.float()

    def full(self, logits: Tensor) -> Tensor:
        """``[rows, vocab]`` of what was called."""
        if self.ids is None:
            return logits
        whole = torch.zeros(logits.shape[0], self.vocab, dtype=logits.dtype, device=logits.device)
        return whole.index_copy_(1, self.ids, logits)


class PlainNetwork:
    """Weights with a forward pass over pages."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.head = Head(weights.head)

    def forward(
        self,
        kv: PagedKv,
        ids: Tensor,
        positions: Tensor,
        places: dict[int | None, Tensor],
        spans: dict[int | None, list[Span]],
    ) -> Tensor:
        """The last layer's normed output ``[rows, hidden]``.

        ``ids`` and ``positions`` are [rows], rows a multiple of ``ROWS``; ``places`` says where the keys of
        the real rows go, and ``spans`` what they see, for each kind of layer (by its window).
        """
        weights, shape = self.weights, self.weights.shape
        angles = positions[:, None].float() * weights.inv_freq
        # As in the reference, cos and sin are rounded to the number type of the model.
        cos = (angles.cos() * weights.rope_scale).to(weights.norm.dtype)[:, None]
        sin = (angles.sin() * weights.rope_scale).to(weights.norm.dtype)[:, None]
        hidden = functional.embedding(ids, weights.embedding)
        for number, (layer, window) in enumerate(zip(weights.layers, shape.windows, strict=True)):
            normed = _norm(hidden, layer.norm, shape.eps)
            qkv = functional.linear(normed, layer.qkv, layer.qkv_bias).view(len(ids), -1, shape.head_dim)
            rotated = _rotate(qkv[:, : shape.heads + shape.kv_heads], cos, sin)
            kv.store(number, places[window], rotated[:, shape.heads :], qkv[:, -shape.kv_heads :])
            seen = attend(kv, number, rotated[:, : shape.heads], spans[window], layer.sinks)
            hidden = hidden + functional.linear(seen, layer.out, layer.out_bias)
            hidden = hidden + _experts(_norm(hidden, layer.mlp_norm, shape.eps), layer, shape)
        return _norm(hidden, weights.norm, shape.eps)


def _norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    return functional.rms_norm(hidden.float(), (hidden.shape[-1],), weight.float(), eps).to(hidden.dtype)


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _experts(hidden: Tensor, layer: LayerWeights, shape: Shape) -> Tensor:
    """Mixture of experts: the sum over the ``top_k`` chosen ones, in the order of the experts."""
    logits = functional.linear(hidden, layer.router, layer.router_bias)
    best, chosen = torch.topk(logits, shape.top_k, dim=-1)
    weights = torch.softmax(best, dim=-1, dtype=best.dtype)
    rows_of: dict[int, list[tuple[int, int]]] = {}
    for row, experts in enumerate(chosen.tolist()):
        for place, expert in enumerate(experts):
            rows_of.setdefault(expert, []).append((row, place))
    made = torch.zeros_like(hidden)
    for expert in sorted(rows_of):
        used = torch.tensor(rows_of[expert], device=hidden.device)
        rows, places = used[:, 0], used[:, 1]
        out = _expert(hidden.index_select(0, rows), layer.experts, expert, shape)
        made.index_add_(0, rows, out * weights[rows, places][:, None])
    return made


def _expert(hidden: Tensor, experts: DenseExperts, number: int, shape: Shape) -> Tensor:
    """One expert's output ``[rows, hidden]``."""
    count = hidden.shape[0]
    padded = functional.pad(hidden, (0, 0, 0, -count % ROWS))
    mixed = functional.linear(padded, experts.gate_up[number], experts.gate_up_bias[number])
    gate, up = mixed.chunk(2, dim=-1)
    gate, up = gate.clamp(max=shape.limit), up.clamp(-shape.limit, shape.limit)
    gated = (up + 1) * (gate * torch.sigmoid(gate * shape.alpha))
    return functional.linear(gated, experts.down[number], experts.down_bias[number])[:count]
