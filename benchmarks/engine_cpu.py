"""The engine on the CPU against plain ``generate()`` of the same model, in the same run.

    python -m benchmarks.engine_cpu [--tokens 96] [--prompt 64] [--rounds 3] [--threads 2] [--random]

Prints a Markdown table. Both sides run float32, eager attention, greedy, and write the same number of tokens.
Rounds alternate between the two, and the medians are shown, so that a busy machine hurts both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.generation.streamers import BaseStreamer

from inference.demonstration import pack
from inference.engine import EngineConfig, LocalEngine
from inference.types import GenerationRequest, SamplingParams, TokensFinished

AT_ONCE = 8
USED_IDS = 6116
NETWORK: Any = GptOssForCausalLM  # transformers is only partly annotated


@dataclass(frozen=True)
class Figures:
    """Seconds to the first token (0: not measured) and tokens a second over all replies."""

    ttft: float
    speed: float


def model_folder(scratch: Path, use_random: bool) -> tuple[Path, str]:
    """The demonstration model if it is there, else a random one of its shape."""
    if pack.PACKAGE.is_file() and not use_random:
        return pack.unpack(scratch), "demonstration model"
    torch.manual_seed(0)
    config = GptOssConfig(
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=8,
        num_experts_per_tok=2,
        tie_word_embeddings=True,
    )
    network = NETWORK(config)
    with torch.no_grad():
        network.lm_head.weight[USED_IDS:] = 0  # as in the demonstration model: most ids are never used
    network.save_pretrained(scratch / "random")
    return scratch / "random", "random model of the demonstration model's shape"


class FirstToken(BaseStreamer):
    """Notes when ``generate`` gives its first new token; the prompt comes first."""

    def __init__(self) -> None:
        self.calls = 0
        self.at = 0.0

    def put(self, value: object) -> None:
        self.calls += 1
        if self.calls == 2:
            self.at = time.perf_counter()

    def end(self) -> None:
        """Nothing to do."""


def plain(network: Any, prompts: list[tuple[int, ...]], tokens: int) -> Figures:
    """One reply after another by ``generate``."""
    began, ttft = time.perf_counter(), 0.0
    for ids in prompts:
        batch, first, start = torch.tensor([ids]), FirstToken(), time.perf_counter()
        network.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
            streamer=first,
        )
        ttft = ttft or first.at - start
    return Figures(ttft, tokens * len(prompts) / (time.perf_counter() - began))


async def ours(engine: LocalEngine, prompts: list[tuple[int, ...]], tokens: int) -> Figures:
    """All replies at once by the engine."""

    async def one(number: int, ids: tuple[int, ...]) -> TokensFinished:
        params = SamplingParams(temperature=0, max_tokens=tokens)
        async for event in engine.submit(GenerationRequest(f"r{number}", ids, params)):
            if isinstance(event, TokensFinished):
                return event
        raise RuntimeError("the engine ended a reply without its last event")

    began = time.perf_counter()
    ends = await asyncio.gather(*(one(number, ids) for number, ids in enumerate(prompts)))
    seconds = time.perf_counter() - began
    return Figures(min(end.timings.ttft for end in ends), sum(end.usage.completion for end in ends) / seconds)


async def measure(options: argparse.Namespace, folder: Path) -> list[tuple[str, Figures, Figures]]:
    """Rows of (what, engine, generate)."""
    engine = LocalEngine(
        EngineConfig(model=str(folder), device="cpu", threads=options.threads, fallback=False)
    )
    engine.start()
    while True:
        if engine.health().active is not None:
            break
        await asyncio.sleep(0.05)
    torch.set_num_threads(options.threads)
    network = NETWORK.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").float()
    rng = random.Random(1)
    prompts = [tuple(rng.randrange(USED_IDS) for _ in range(options.prompt)) for _ in range(AT_ONCE)]
    rows = []
    for name, batch in (("one reply", prompts[:1]), (f"{AT_ONCE} replies", prompts)):
        await ours(engine, batch[:1], 4)
        plain(network, batch[:1], 4)
        rounds = [
            (await ours(engine, batch, options.tokens), plain(network, batch, options.tokens))
            for _ in range(options.rounds)
        ]
        mine, theirs = ([pair[side] for pair in rounds] for side in (0, 1))
        rows.append((name, median(mine), median(theirs)))
    await engine.close()
    return rows


def median(figures: list[Figures]) -> Figures:
    """The median of each figure."""
    pick: Callable[[str], float] = lambda name: statistics.median(getattr(f, name) for f in figures)  # noqa: E731
    return Figures(pick("ttft"), pick("speed"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--random", action="store_true", help="a random model even if there is the real one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, name = model_folder(Path(scratch), options.random)
        rows = asyncio.run(measure(options, folder))
    print(f"{name}, prompt {options.prompt}, {options.tokens} new tokens, {options.threads} threads\n")
    print("| | engine tok/s | generate() tok/s | ratio | engine TTFT ms | generate() TTFT ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for what, mine, theirs in rows:
        print(
            f"| {what} | {mine.speed:.0f} | {theirs.speed:.0f} | {mine.speed / theirs.speed:.2f} "
            f"| {mine.ttft * 1e3:.0f} | {theirs.ttft * 1e3:.0f} | {mine.ttft / theirs.ttft:.2f} |"
        )


if __name__ == "__main__":
    main()
