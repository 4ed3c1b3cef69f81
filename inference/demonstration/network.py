"""The gpt-oss network as the training sees it: packed rows in, the loss out.

Parameters have the names and shapes of ``transformers.GptOssForCausalLM``, so that a trained state dict
goes straight into a checkpoint; ``tests/inference/test_demonstration_network.py`` holds the two equal. Two
things differ, for speed: all experts are computed and weighted by the router (a few large products instead
of many small ones), and the embedding has rows only for the token ids in use.

Ids that the data never uses share one zero row. In the softmax they stand as one extra column of
``log(number of unused ids)``, so that sampling from the full vocabulary practically never picks one of
them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from inference.demonstration.quantize import fake_quantize

FULL_VOCABULARY = 201088


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The demonstration model's size."""

    hidden: int = 256
    layers: int = 8
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32
    experts: int = 8
    experts_per_token: int = 2
    intermediate: int = 256
    window: int = 128
    context: int = 4096

    def config(self) -> dict[str, Any]:
        """The checkpoint's ``config.json``, without the quantisation."""
        return {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "vocab_size": FULL_VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "num_local_experts": self.experts,
            "num_experts_per_tok": self.experts_per_token,
            "experts_per_token": self.experts_per_token,
            "intermediate_size": self.intermediate,
            "sliding_window": self.window,
            "attention_bias": True,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "swiglu_limit": 7.0,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": self.context,
            "initial_context_length": self.context // 32,
            "rope_theta": 150000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": self.context // 32,
            },
            "layer_types": [
                "sliding_attention" if i % 2 == 0 else "full_attention" for i in range(self.layers)
            ],
            "tie_word_embeddings": True,
            "initializer_range": 0.02,
            "use_cache": True,
            "router_aux_loss_coef": 0.0,
            "output_router_logits": False,
            "eos_token_id": [200002, 200012],
            "pad_token_id": 199999,
            "torch_dtype": "bfloat16",
        }

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def rope_frequencies(shape: NetworkShape) -> tuple[torch.Tensor, float]:
    """Inverse frequencies [head_dim / 2] and the scaling of cos and sin. Source: YaRN, arXiv 2309.00071."""
    base, factor, original, dim = 150000.0, 32.0, shape.context // 32, shape.head_dim
    powers = base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)

    def boundary(rotations: float) -> float:
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(boundary(32.0), 0.0), min(boundary(1.0), dim - 1.0)
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    keep = 1 - ramp
    return (1 / (factor * powers)) * (1 - keep) + (1 / powers) * keep, 0.1 * math.log(factor) + 1.0


class _Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x32 = x.float()
        return self.weight * (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-5))


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class _Attention(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_dim)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim)
        self.o_proj = nn.Linear(shape.heads * shape.head_dim, shape.hidden)
        self.sinks = nn.Parameter(torch.zeros(shape.heads))

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        batch, length, _ = x.shape
        dim, groups = self.shape.head_dim, self.shape.heads // self.shape.kv_heads
        q = _rotate(self.q_proj(x).view(batch, length, -1, dim).transpose(1, 2), cos, sin)
        k = _rotate(self.k_proj(x).view(batch, length, -1, dim).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, length, -1, dim).transpose(1, 2)
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = (q.to(v.dtype) @ k.to(v.dtype).transpose(-1, -2)).float() * dim**-0.5
        scores = scores.masked_fill(~mask, float("-inf"))
        sink = self.sinks.view(1, -1, 1, 1).float()
        top = torch.maximum(scores.amax(-1, keepdim=True), sink).detach()
        weights = torch.exp(scores - top)
        weights = weights / (weights.sum(-1, keepdim=True) + torch.exp(sink - top))
        out = weights.to(v.dtype) @ v
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class _Router(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.experts, shape.hidden))
        self.bias = nn.Parameter(torch.zeros(shape.experts))


class _Experts(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        e, h, f = shape.experts, shape.hidden, shape.intermediate
        self.gate_up_proj = nn.Parameter(torch.empty(e, h, 2 * f))
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(e, 2 * f))
        self.down_proj = nn.Parameter(torch.empty(e, f, h))
        self.down_proj_bias = nn.Parameter(torch.zeros(e, h))


class _Mixture(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.top = shape.experts_per_token
        self.router = _Router(shape)
        self.experts = _Experts(shape)

    def forward(self, x: torch.Tensor, quantized: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mixture's output [batch, length, hidden] and the balance loss (1 when even)."""
        batch, length, hidden = x.shape
        flat = x.reshape(-1, hidden)
        logits = F.linear(flat, self.router.weight, self.router.bias).float()
        values, index = logits.topk(self.top, -1)
        share = torch.zeros_like(logits).scatter(-1, index, values.softmax(-1))
        experts = self.experts
        gate_up_weight: torch.Tensor = experts.gate_up_proj
        down_weight: torch.Tensor = experts.down_proj
        if quantized:
            gate_up_weight, down_weight = fake_quantize(gate_up_weight), fake_quantize(down_weight)
        used, wanted = (share > 0).float().mean(0), logits.softmax(-1).mean(0)
        balance = (used * wanted).sum() * logits.shape[-1] / self.top
        if not flat.is_cuda:
            out = self._routed(flat, share.to(flat.dtype), gate_up_weight, down_weight)
            return out.view(batch, length, hidden), balance
        gate_up = torch.matmul(flat[None], gate_up_weight) + experts.gate_up_proj_bias[:, None]
        gate, up = gate_up[..., ::2].clamp(max=7.0), gate_up[..., 1::2].clamp(-7.0, 7.0)
        act = (up + 1) * gate * torch.sigmoid(gate * 1.702) * share.t()[..., None]
        out = act.transpose(0, 1).reshape(flat.shape[0], -1).to(flat.dtype) @ down_weight.reshape(-1, hidden)
        out = out + share.to(out.dtype) @ experts.down_proj_bias
        return out.view(batch, length, hidden), balance

    def _routed(
        self, flat: torch.Tensor, share: torch.Tensor, gate_up_weight: torch.Tensor, down_weight: torch.Tensor
    ) -> torch.Tensor:
        """The same on a CPU, where computing only the chosen experts is faster."""
        out = torch.zeros_like(flat)
        for number in range(share.shape[1]):
            rows = share[:, number].nonzero()[:, 0]
            gate_up = flat[rows] @ gate_up_weight[number] + self.experts.gate_up_proj_bias[number]
            gate, up = gate_up[..., ::2].clamp(max=7.0), gate_up[..., 1::2].clamp(-7.0, 7.0)
            act = (up + 1) * gate * torch.sigmoid(gate * 1.702)
            part = (act @ down_weight[number] + self.experts.down_proj_bias[number]) * share[
                rows, number, None
            ]
            out = out.index_add(0, rows, part.to(out.dtype))
        return out


class _Layer(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.self_attn = _Attention(shape)
        self.mlp = _Mixture(shape)
        self.input_layernorm = _Norm(shape.hidden)
        self.post_attention_layernorm = _Norm(shape.hidden)


class Network(nn.Module):
    """gpt-oss for training. ``rows`` is the number of token ids in use; id ``rows`` stands for all others."""

    def __init__(self, shape: NetworkShape, rows: int) -> None:
        super().__init__()
        self.shape, self.rows = shape, rows
        self.embed_tokens = nn.Embedding(rows, shape.hidden)
        self.layers = nn.ModuleList([_Layer(shape) for _ in range(shape.layers)])
        self.norm = _Norm(shape.hidden)
        frequencies, self.rope_scale = rope_frequencies(shape)
        self.register_buffer("frequencies", frequencies, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(
                    parameter,
                    std=0.02 / (2 * shape.layers) ** 0.5 if "o_proj" in name or "down" in name else 0.02,
                )
            elif "norm" not in name:
                nn.init.zeros_(parameter)

    def hidden_states(
        self, ids: torch.Tensor, positions: torch.Tensor, quantized: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """ids and positions [batch, length] (a position of 0 starts a new sample) → hidden [batch,
        length, hidden], balance.
        """
        known = (ids < self.rows)[..., None]
        x = self.embed_tokens(ids.clamp(max=self.rows - 1)) * known
        angle = positions[..., None].float() * self.get_buffer("frequencies")
        cos, sin = (angle.cos() * self.rope_scale)[:, None], (angle.sin() * self.rope_scale)[:, None]
        sample = (positions == 0).cumsum(-1)
        row = torch.arange(ids.shape[1], device=ids.device)
        full = (sample[:, :, None] == sample[:, None, :]) & (row[:, None] >= row[None, :])
        near = full & (row[:, None] - row[None, :] < self.shape.window)
        balance = x.new_zeros(())
        for number, layer in enumerate(self.layers):
            mask = (near if number % 2 == 0 else full)[:, None]
            x = x + layer.self_attn(layer.input_layernorm(x), cos, sin, mask)  # type: ignore[operator]
            out, uneven = layer.mlp(layer.post_attention_layernorm(x), quantized)  # type: ignore[operator]
            x, balance = x + out, balance + uneven
        return self.norm(x), balance / self.shape.layers

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor, quantized: bool
    ) -> torch.Tensor:
        """The training loss: mean cross-entropy at the flat places ``wanted`` [any], and a hundredth of
        the balance.
        """
        hidden, balance = self.hidden_states(ids, positions, quantized)
        target, before = ids.flatten()[wanted], hidden.flatten(0, 1)[(wanted - 1).clamp(min=0)]
        logits = F.linear(before, self.embed_tokens.weight).float()
        unused = logits.new_full((logits.shape[0], 1), math.log(FULL_VOCABULARY - self.rows))
        loss = F.cross_entropy(torch.cat((logits, unused), -1), target, reduction="none")
        weight = (
            wanted > 0
        ).float()  # a sample starts with its prompt, so place 0 is never wanted: it fills up
        return (loss * weight).sum() / weight.sum().clamp(min=1) + 0.01 * balance
