"""The forward pass of gpt-oss in plain torch operations: on the CPU, and on GPUs without kernels of ours.

The arithmetic is that of transformers' ``modeling_gpt_oss.py``. A row's numbers do not depend, to the bit, on
how many others are computed beside it: every product has a multiple of four rows (with fewer, the library
takes another routine, which rounds otherwise), and the output layer is packed for a routine that treats every
row alike, or takes one row after another.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from inference.worker.plain_attention import PagedKv, Span, attend
from inference.worker.weights import DenseExperts, LayerWeights, Shape, Weights

ROWS = 4  # products have a multiple of so many rows
_HEAD_BLOCK_BYTES = 1_000_000  # of the output matrix at a time, so that further rows find it in the cache
_HEAD_SUM = 128  # columns that are summed up in one go: one long sum would round worse than transformers'
_HEAD_PACKED_FOR = 16  # rows; for fewer than four the library would choose a layout that serves only one


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
        self._packed = _pack(self.weight)
        size = max(1, _HEAD_BLOCK_BYTES // (weight.shape[1] * weight.element_size()))
        self._blocks = list(torch.split(self.weight, size))

    def __call__(self, hidden: Tensor) -> Tensor:
        """float32 ``[rows, len(ids) or vocab]`` of ``[rows, hidden]``."""
        if self._packed is not None:
            return _packed_product(hidden, self._packed)[: hidden.shape[0]]
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


def _pack(weight: Tensor) -> list[Tensor] | None:
    """``weight`` in the order in which oneDNN reads it best, if its products serve us here.

    They are several times faster than those of a matrix as it is, and give a row the same bits beside any
    number of others. That is how the library happens to work, so it is tried out.
    """
    if weight.device.type != "cpu":
        return None
    try:
        packed = [
            torch.ops.mkldnn._reorder_linear_weight(part.contiguous(), _HEAD_PACKED_FOR)
            for part in torch.split(weight, _HEAD_SUM, dim=1)
        ]
        probe = torch.linspace(-1, 1, 7 * weight.shape[1], dtype=weight.dtype).view(7, -1)
        crowd = _packed_product(probe, packed)
        alone = torch.cat([_packed_product(probe[:1], packed)[:1], _packed_product(probe[1:], packed)])
    except (RuntimeError, AttributeError):  # a torch without oneDNN, or a number type that it does not take
        return None
    return packed if torch.equal(crowd, alone) else None


def _packed_product(rows: Tensor, packed: list[Tensor]) -> Tensor:
    """``rows`` [rows, in] by a packed matrix [out, in], and perhaps some more rows."""
    if len(rows) < ROWS:  # strangely, fewer take longer
        rows = functional.pad(rows, (0, 0, 0, ROWS - len(rows)))
    made: Tensor | None = None
    for part, matrix in zip(torch.split(rows, _HEAD_SUM, dim=1), packed, strict=True):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            part.contiguous(), matrix, None, "none", [], ""
        ).float()
        made = product if made is None else made.add_(product)
    if made is None:
        raise ValueError("a matrix without columns")
    return made


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
        count = len(places[shape.windows[0]])
        for number, (layer, window) in enumerate(zip(weights.layers, shape.windows, strict=True)):
            normed = _norm(hidden, layer.norm, shape.eps)
            qkv = functional.linear(normed, layer.qkv, layer.qkv_bias).view(len(ids), -1, shape.head_dim)
            rotated = _rotate(qkv[:, : shape.heads + shape.kv_heads], cos, sin)
            kv.store(number, places[window], rotated[:, shape.heads :], qkv[:, -shape.kv_heads :])
            seen = attend(kv, number, rotated[:, : shape.heads], spans[window], layer.sinks)
            hidden = hidden + functional.linear(seen, layer.out, layer.out_bias)
            hidden = hidden + _experts(_norm(hidden, layer.mlp_norm, shape.eps), count, layer, shape)
        return _norm(hidden, weights.norm, shape.eps)


def _norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    return functional.rms_norm(hidden.float(), (hidden.shape[-1],), weight.float(), eps).to(hidden.dtype)


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _experts(hidden: Tensor, count: int, layer: LayerWeights, shape: Shape) -> Tensor:
    """Mixture of experts for the first ``count`` rows (the others are padding, and get zeros): the sum over
    the ``top_k`` chosen ones, in the order of the experts.
    """
    logits = functional.linear(hidden, layer.router, layer.router_bias)[:count]
    best, chosen = torch.topk(logits, shape.top_k, dim=-1)
    weights = torch.softmax(best, dim=-1, dtype=best.dtype)
    chosen, order = chosen.sort(dim=-1)
    weights = weights.gather(1, order)
    # Each expert's rows stand together, in a multiple of ROWS; the first row fills up.
    rows: list[int] = []
    ends: list[tuple[int, int]] = []
    place_of = [0] * (count * shape.top_k)
    for expert, members in _by_expert(chosen.flatten().tolist()):
        for member in members:
            place_of[member] = len(rows)
            rows.append(member // shape.top_k)
        rows += [0] * (-len(members) % ROWS)
        ends.append((expert, len(rows)))
    given = hidden.index_select(0, torch.tensor(rows, device=hidden.device))
    made = _run_experts(given, ends, layer.experts, shape)
    made = made.index_select(0, torch.tensor(place_of, device=hidden.device))
    made = made.view(count, shape.top_k, -1) * weights[..., None]
    total = torch.zeros_like(hidden)
    for place in range(shape.top_k):
        total[:count] += made[:, place]
    return total


def _by_expert(chosen: list[int]) -> list[tuple[int, list[int]]]:
    """The places in ``chosen`` of each expert that occurs, by expert."""
    places: dict[int, list[int]] = {}
    for place, expert in enumerate(chosen):
        places.setdefault(expert, []).append(place)
    return sorted(places.items())


def _run_experts(rows: Tensor, ends: list[tuple[int, int]], experts: DenseExperts, shape: Shape) -> Tensor:
    """``rows`` [rows, hidden] through their experts; ``ends`` says each expert and where its rows end."""
    mixed = rows.new_empty(rows.shape[0], experts.gate_up.shape[1])
    first = 0
    for expert, end in ends:
        weight, bias = experts.gate_up[expert], experts.gate_up_bias[expert]
        torch.addmm(bias, rows[first:end], weight.t(), out=mixed[first:end])
        first = end
    gate, up = mixed.chunk(2, dim=-1)
    gate, up = gate.clamp(max=shape.limit), up.clamp(-shape.limit, shape.limit)
    gated = (up + 1) * (gate * torch.sigmoid(gate * shape.alpha))
    made = torch.empty_like(rows)
    first = 0
    for expert, end in ends:
        weight, bias = experts.down[expert], experts.down_bias[expert]
        torch.addmm(bias, gated[first:end], weight.t(), out=made[first:end])
        first = end
    return made
