"""A random checkpoint of gpt-oss-20b's shape, in the real MXFP4 layout, through the real loader and engine.

    python -m benchmarks.engine_gpu_smoke [--layers 24] [--experts 32] [--folder DIR] [--kernels DIR]

Prints how the model was loaded, its memory, and tokens a second for one and for eight replies. The weights
mean nothing, so neither do the replies. ``--layers 2 --experts 4 --device cpu`` is small enough for a trial.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference.engine import EngineConfig, LocalEngine
from inference.types import GenerationRequest, ModelStage, SamplingParams, TokensFinished

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 2880, 2880, 64, 8, 64, 201_088
SCALE = 120  # 2 ** (120 - 127): four-bit values up to 6 become weights of a few hundredths


def config(layers: int, experts: int) -> dict[str, Any]:
    """The 20b's configuration with so many layers and experts."""
    kinds = ["sliding_attention" if number % 2 == 0 else "full_attention" for number in range(layers)]
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "num_hidden_layers": layers,
        "num_local_experts": experts,
        "num_experts_per_tok": min(4, experts),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "sliding_window": 128,
        "max_position_embeddings": 131_072,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "layer_types": kinds,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
    }


@cache
def pool(size: int = 4_194_301) -> Tensor:
    """Random weights to cut all others from; its odd size shifts the pattern from row to row."""
    return (torch.randn(size) * 0.02).to(torch.bfloat16)


def random_weight(*shape: int) -> Tensor:
    """A tensor that looks random, without waiting for a billion random numbers."""
    count = math.prod(shape)
    return pool().repeat(-(-count // pool().numel()))[:count].reshape(shape).clone()


@cache
def random_blocks(*shape: int) -> Tensor:
    """Random four-bit values; every layer has the same, which makes no difference to speed and memory."""
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def layer_tensors(number: int, experts: int) -> dict[str, Tensor]:
    """One layer's tensors under their names in the checkpoint."""
    attention, mlp = f"model.layers.{number}.self_attn", f"model.layers.{number}.mlp"
    tensors = {
        f"model.layers.{number}.{norm}.weight": torch.ones(HIDDEN, dtype=torch.bfloat16)
        for norm in ("input_layernorm", "post_attention_layernorm")
    }
    for name, outside, inside in (
        ("q_proj", HEADS * HEAD_DIM, HIDDEN),
        ("k_proj", KV_HEADS * HEAD_DIM, HIDDEN),
        ("v_proj", KV_HEADS * HEAD_DIM, HIDDEN),
        ("o_proj", HIDDEN, HEADS * HEAD_DIM),
    ):
        tensors[f"{attention}.{name}.weight"] = random_weight(outside, inside)
        tensors[f"{attention}.{name}.bias"] = random_weight(outside)
    tensors[f"{attention}.sinks"] = random_weight(HEADS)
    tensors[f"{mlp}.router.weight"] = random_weight(experts, HIDDEN)
    tensors[f"{mlp}.router.bias"] = random_weight(experts)
    for name, outside, inside in (("gate_up_proj", 2 * INNER, HIDDEN), ("down_proj", HIDDEN, INNER)):
        tensors[f"{mlp}.experts.{name}_blocks"] = random_blocks(experts, outside, inside // 32, 16)
        tensors[f"{mlp}.experts.{name}_scales"] = torch.full(
            (experts, outside, inside // 32), SCALE, dtype=torch.uint8
        )
        tensors[f"{mlp}.experts.{name}_bias"] = random_weight(experts, outside)
    return tensors


def write(folder: Path, layers: int, experts: int) -> None:
    """Write the checkpoint, one file a layer, and one for the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    files = layers + 1
    weight_map: dict[str, str] = {}
    for number in range(files):
        tensors = (
            layer_tensors(number, experts)
            if number < layers
            else {
                "model.embed_tokens.weight": random_weight(VOCAB, HIDDEN),
                "lm_head.weight": random_weight(VOCAB, HIDDEN),
                "model.norm.weight": torch.ones(HIDDEN, dtype=torch.bfloat16),
            }
        )
        name = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, name))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    (folder / "config.json").write_text(json.dumps(config(layers, experts), indent=2))


async def replies(engine: LocalEngine, count: int, prompt: int, tokens: int) -> list[TokensFinished]:
    """So many replies at once."""

    async def one(number: int) -> TokensFinished:
        ids = tuple((number * 7919 + k * 104_729) % VOCAB for k in range(prompt))
        params = SamplingParams(temperature=1.0, top_p=0.95, seed=number, max_tokens=tokens)
        async for event in engine.submit(GenerationRequest(f"{count}-{number}", ids, params)):
            if isinstance(event, TokensFinished):
                return event
        raise RuntimeError("the engine ended a reply without its last event")

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def trial(options: argparse.Namespace, folder: Path) -> int:
    engine = LocalEngine(
        EngineConfig(model=str(folder), device=options.device, local_kernels=options.kernels, fallback=False)
    )
    began, shown = time.perf_counter(), ""
    engine.start()
    while (active := engine.health().active) is None:
        target = engine.health().target
        if target is not None and target.detail.split(" ")[0] != shown:
            shown = target.detail.split(" ")[0]
            print(f"{time.perf_counter() - began:6.1f} s  {target.stage} {target.detail}", flush=True)
        if target is not None and target.stage is ModelStage.FAILED:
            print(f"FAILED {target.error_code}: {target.note}")
            return 1
        await asyncio.sleep(0.1)
    print(f"{time.perf_counter() - began:6.1f} s  ready: {active}")
    await replies(engine, 1, options.prompt, 8)
    for count in (1, 8):
        start = time.perf_counter()
        ends = await replies(engine, count, options.prompt, options.tokens)
        seconds = time.perf_counter() - start
        made = sum(end.usage.completion for end in ends)
        problems = sorted({end.error_code for end in ends if end.error_code})
        print(
            f"{count} at once: {made / seconds:.1f} tok/s in all, "
            f"{ends[0].timings.tokens_per_second:.1f} the first while it wrote, "
            f"TTFT {min(end.timings.ttft for end in ends) * 1e3:.0f} ms, errors {problems or 'none'}"
        )
    if torch.cuda.is_available():
        held, most = torch.cuda.memory_allocated() / 2**30, torch.cuda.max_memory_allocated() / 2**30
        print(f"GPU memory: {held:.1f} GiB held, {most:.1f} GiB at most")
    await engine.close()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--experts", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--kernels", type=Path, help="folder of the MXFP4 kernels")
    parser.add_argument("--folder", type=Path, help="keep the checkpoint here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "random-20b"
        if not (folder / "config.json").exists():
            began = time.perf_counter()
            write(folder, options.layers, options.experts)
            print(f"{time.perf_counter() - began:6.1f} s  checkpoint written")
        return asyncio.run(trial(options, folder))


if __name__ == "__main__":
    sys.exit(main())
