"""Small random gpt-oss checkpoints, written as transformers and as OpenAI's MXFP4 layout store them."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GptOssConfig, GptOssForCausalLM

VOCAB = 320
NETWORK: Any = GptOssForCausalLM  # transformers is only partly annotated


def tiny_config(**changes: Any) -> GptOssConfig:
    """Four layers, sliding and full in turn, a window of 16, four experts."""
    options: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 16,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 150000.0,
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 64,
        },
        "initializer_range": 0.2,
    }
    return GptOssConfig(**{**options, **changes})


@cache
def plain_checkpoint() -> Path:
    """A tiny model that all tests of a run share; nobody changes it."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-gpt-oss-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_checkpoint(folder / "tiny")


def write_checkpoint(folder: Path, *, seed: int = 0, shards: bool = False, **changes: Any) -> Path:
    """A random model in ``folder``; ``changes`` go to its configuration. Returns the folder."""
    torch.manual_seed(seed)
    network = NETWORK(tiny_config(**changes)).eval()
    network.save_pretrained(folder, max_shard_size="100KB" if shards else "5GB")
    return folder


def write_mxfp4_checkpoint(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """The same kind of model with its experts as MXFP4 blocks and scales."""
    write_checkpoint(folder, seed=seed, **changes)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = pack_mxfp4(tensors.pop(name))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(
        folder,
        quantization_config={
            "quant_method": "mxfp4",
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
        },
    )
    return folder


def pack_mxfp4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round ``[experts, in, out]`` to four bits: blocks ``[experts, out, in / 32, 16]`` and their scales.

    Each 32 inputs share a power of two; a byte holds two values, the first in its low half.
    """
    experts, inside, outside = weight.shape
    groups = weight.transpose(1, 2).float().reshape(experts, outside, inside // 32, 32)
    largest = groups.abs().amax(-1).clamp_min(1e-30)
    exponent = torch.floor(torch.log2(largest)) - 2
    scaled = groups / torch.exp2(exponent)[..., None]
    levels = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    codes = (scaled.abs()[..., None] - levels).abs().argmin(-1) + 8 * (scaled < 0)
    blocks = (codes[..., ::2] + 16 * codes[..., 1::2]).to(torch.uint8)
    return blocks.contiguous(), (exponent + 127).to(torch.uint8).contiguous()


def change_config(folder: Path, **changes: Any) -> None:
    """Overwrite entries of a checkpoint's ``config.json``."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder: Path, **changes: Tensor | None) -> None:
    """Overwrite tensors of a checkpoint of one file, or drop those given as ``None``."""
    tensors: dict[str, Tensor | None] = {**load_file(folder / "model.safetensors"), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@cache
def _reference_network(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return NETWORK.from_pretrained(folder, dtype=dtype, attn_implementation="eager").to(dtype)


@cache
def generate(folder: Path, ids: tuple[int, ...], count: int) -> tuple[int, ...]:
    """What transformers' own greedy ``generate`` makes of ``ids`` in float32."""
    network = _reference_network(folder)
    batch = torch.tensor([ids])
    output = network.generate(
        batch,
        attention_mask=torch.ones_like(batch),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return tuple(int(token) for token in output[0, len(ids) :])


def full_logits(folder: Path, ids: tuple[int, ...], last: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """float32 ``[last, vocab]``: what a forward pass of transformers says after each of the last ids."""
    with torch.inference_mode():
        logits: Tensor = _reference_network(folder, dtype)(torch.tensor([ids]), logits_to_keep=last).logits
    return logits[0].float()


def prompt(number: int, length: int) -> tuple[int, ...]:
    """A prompt of this length; different numbers give different ones."""
    return tuple((7 * number + 3 * k * k + k) % VOCAB for k in range(length))
