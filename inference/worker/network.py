"""A loaded model and its two forward passes: a piece of one prompt, and one new token of several rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.types import ModelStatus
from inference.worker.kv import DecodeView, Geometry, KvRows, PrefillView
from inference.worker.messages import Limits

MIN_CHUNK = 16


@dataclass(frozen=True, slots=True)
class CompactHead:
    """The output layer without its all-zero rows, whose logits are 0 whatever the input.

    A model with a pruned vocabulary, such as the demonstration model, has mostly such rows; reading them
    from memory would take most of the time of a token. ``ids`` are the rows that are kept, in order.
    """

    ids: Tensor
    weight: Tensor
    vocab_size: int

    @staticmethod
    def of(weight: Tensor) -> CompactHead | None:
        """Leave out the zero rows of ``[vocab, hidden]``; ``None`` when that would not save half."""
        ids = weight.any(dim=1).nonzero()[:, 0]
        if ids.numel() * 2 > weight.shape[0]:
            return None
        return CompactHead(ids, weight[ids].contiguous(), weight.shape[0])

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits ``[rows, vocab]`` of ``[rows, hidden]``."""
        logits = torch.zeros(hidden.shape[0], self.vocab_size, dtype=hidden.dtype, device=hidden.device)
        return logits.index_copy_(1, self.ids, torch.nn.functional.linear(hidden, self.weight))


@dataclass(slots=True)
class LoadedModel:
    """A model that is ready to answer.

    ``network`` is transformers' ``GptOssForCausalLM``. ``decode_width`` is how many rows one forward pass may
    take: 1 makes a request's numbers independent, to the bit, of what else runs. ``kv_budget`` is in bytes.
    """

    status: ModelStatus
    limits: Limits
    network: Any
    geometry: Geometry
    decode_width: int
    max_running: int
    kv_budget: int
    max_prefill_chunk: int
    attention_heads: int
    attention_bytes: int
    head: CompactHead | None = None

    def prefill_count(self, start: int, length: int) -> int:
        """How many prompt tokens the next forward pass takes when ``start`` of ``length`` are done.

        It depends on nothing but the prompt's own length, so a prompt is always cut at the same places. Far
        into a long prompt the pieces get smaller: the attention scores (heads x piece x positions) are held
        in full and must stay within ``attention_bytes``.
        """
        per_query = self.attention_heads * (start + self.max_prefill_chunk) * 4
        chunk = max(MIN_CHUNK, min(self.max_prefill_chunk, self.attention_bytes // per_query))
        return min(chunk, length - start)

    def prefill(self, kv: KvRows, ids: Sequence[int], last: bool) -> Tensor | None:
        """Read ``ids`` into the only row of ``kv``; after the last piece there are logits ``[vocab]``."""
        view = PrefillView(kv, len(ids))
        start = kv.lengths[0]
        positions = torch.arange(start, start + len(ids), device=self.geometry.device)[None]
        hidden = self._forward(view, [list(ids)], positions)
        kv.lengths[0] += len(ids)
        return self._logits(hidden[:, -1])[0] if last else None

    def decode(self, kv: KvRows, rows: Sequence[int], ids: Sequence[int]) -> Tensor:
        """One new token for each of ``rows``: logits ``[rows, vocab]``.

        The rows' lengths stay as they are until ``commit``, so that a pass that failed can be repeated.
        """
        view = DecodeView(kv, rows)
        hidden = self._forward(view, [[token] for token in ids], view.at[:, None])
        return self._logits(hidden[:, -1])

    @staticmethod
    def commit(kv: KvRows, rows: Sequence[int]) -> None:
        """The last ``decode`` of these rows counts."""
        for row in rows:
            kv.lengths[row] += 1

    def _forward(self, view: PrefillView | DecodeView, ids: list[list[int]], positions: Tensor) -> Tensor:
        """The last layer's output ``[rows, tokens, hidden]``."""
        output = self.network.model(
            input_ids=torch.tensor(ids, device=self.geometry.device),
            attention_mask=view.masks(self.geometry.dtype),
            position_ids=positions,
            past_key_values=view,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        head = self.head or self.network.lm_head
        logits: Tensor = head(hidden.to(head.weight.dtype))
        return logits.float()
