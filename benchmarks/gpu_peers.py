"""transformers on the same GPU and shape, for comparison: ``python -m benchmarks.gpu_peers``.

Random weights of the gpt-oss-20b shape in bfloat16 (without a hub there are no MXFP4 or flash kernels for
transformers): ``generate()``, and continuous batching with its own paged attention.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import torch
import transformers
import typer
from transformers import ContinuousBatchingConfig, GenerationConfig, GptOssConfig, GptOssForCausalLM

# transformers is only partly annotated.
NETWORK: Any = GptOssForCausalLM
GENERATION: Any = GenerationConfig


def random_network(device: torch.device) -> Any:
    """The published shape is GptOssConfig's default, but for the number of layers and experts."""
    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    with torch.device("meta"):
        network = NETWORK(config).to(torch.bfloat16)
    network = network.to_empty(device=device)
    for parameter in network.parameters():
        parameter.data.normal_(0, 0.02)
    rotary = network.model.rotary_emb
    fresh = type(rotary)(config).to(device)
    rotary.inv_freq, rotary.original_inv_freq = fresh.inv_freq, fresh.original_inv_freq
    return network.eval().requires_grad_(False)


def prompts(count: int, length: int) -> list[list[int]]:
    """Random ids."""
    made: list[list[int]] = torch.randint(0, 200_000, (count, length)).tolist()
    return made


def generate(network: Any, streams: int, new: int) -> float:
    """Tokens a second of ``generate()`` on one batch."""
    ids = torch.tensor(prompts(streams, 128), device="cuda")
    options = {
        "do_sample": False,
        "eos_token_id": -1,
        "pad_token_id": 0,
        "attention_mask": torch.ones_like(ids),
    }
    network.generate(ids, max_new_tokens=4, **options)
    torch.cuda.synchronize()
    began = time.perf_counter()
    network.generate(ids, max_new_tokens=new, **options)
    torch.cuda.synchronize()
    return streams * new / (time.perf_counter() - began)


def continuous(network: Any, streams: int, new: int) -> float:
    """Tokens a second of a continuous batching manager that has run before."""
    generation = GENERATION(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)
    config = ContinuousBatchingConfig(num_blocks=1024, max_batch_tokens=2048)
    rates = []
    with network.continuous_batching_context_manager(
        generation_config=generation, continuous_batching_config=config
    ) as manager:
        for _ in range(2):
            began = time.perf_counter()
            manager.add_requests(inputs=prompts(streams, 128), max_new_tokens=new)
            done = 0
            while done < streams:
                done += manager.get_result(timeout=60) is not None
            rates.append(streams * new / (time.perf_counter() - began))
    return rates[-1]


def compare(device: torch.device, new: int) -> None:
    """Print tokens a second, the prompt's prefill included."""
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{torch.cuda.get_device_name(device)}, {versions}")
    network = random_network(device)
    network.set_attn_implementation("eager")
    for streams in (1, 8, 32):
        rate = generate(network, streams, new)
        print(f"generate(), eager, bfloat16, {streams} streams: {rate:,.0f} tokens/s", flush=True)
    network.set_attn_implementation("paged|eager")
    for streams in (1, 8, 32):
        rate = continuous(network, streams, new)
        print(
            f"continuous batching, paged eager, bfloat16, {streams} streams: {rate:,.0f} tokens/s", flush=True
        )


def main(new: Annotated[int, typer.Option(help="New tokens of each stream.")] = 64) -> None:
    """Print tokens a second, the prompt's prefill included."""
    compare(torch.device("cuda", 0), new)


if __name__ == "__main__":
    typer.run(main)
