"""The engine on the CPU against plain ``generate()`` of the demonstration model, in the same run.

    python -m benchmarks.generate_cpu [--tokens 96] [--prompt 64] [--rounds 3] [--threads 2]

Both sides run float32, greedy, and write the same number of tokens. Rounds alternate between the two, each
with prompts that the engine has not seen, and medians are shown, so that a busy machine hurts both alike.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import GptOssForCausalLM
from transformers.generation.streamers import BaseStreamer

from benchmarks.replies import all_at_once
from inference.demonstration import pack
from inference.engine import EngineConfig, LocalEngine

AT_ONCE = 8
NETWORK: Any = GptOssForCausalLM  # transformers is only partly annotated
Prompts = list[tuple[int, ...]]


@dataclass(frozen=True)
class Figures:
    """Seconds to the first token of the first reply, and tokens a second over all replies."""

    ttft: float
    speed: float


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


def plain(network: Any, prompts: Prompts, tokens: int) -> Figures:
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


async def ours(engine: LocalEngine, prompts: Prompts, tokens: int) -> Figures:
    """All replies at once by the engine."""
    firsts, speed = await all_at_once(engine, prompts, tokens)
    return Figures(min(firsts), speed)


async def measure(folder: Path, tokens: int, length: int, rounds: int, threads: int) -> None:
    """Print the table."""
    config = EngineConfig(
        model=str(folder), device="cpu", threads=threads, fallback=False, isolation="thread"
    )
    engine = LocalEngine(config)
    engine.start()
    while True:
        if engine.health().active is not None:
            break
        await asyncio.sleep(0.05)
    torch.set_num_threads(threads)
    network = NETWORK.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").float()
    rng, used = random.Random(1), pack.package_ids(pack.PACKAGE)
    print("| | engine tok/s | generate() tok/s | ratio | engine TTFT ms | generate() TTFT ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, count in (("one reply", 1), (f"{AT_ONCE} replies", AT_ONCE)):
        pairs = []
        for number in range(rounds + 1):
            prompts = [tuple(rng.choices(used, k=length)) for _ in range(count)]
            wanted = tokens if number else 4  # the first round only warms up
            pairs.append((await ours(engine, prompts, wanted), plain(network, prompts, wanted)))
        mine, theirs = (
            Figures(
                statistics.median(pair[side].ttft for pair in pairs[1:]),
                statistics.median(pair[side].speed for pair in pairs[1:]),
            )
            for side in (0, 1)
        )
        print(
            f"| {name} | {mine.speed:.0f} | {theirs.speed:.0f} | {mine.speed / theirs.speed:.2f} "
            f"| {mine.ttft * 1e3:.0f} | {theirs.ttft * 1e3:.0f} | {mine.ttft / theirs.ttft:.2f} |"
        )
    await engine.close()


def main(
    tokens: Annotated[int, typer.Option(help="New tokens of each reply.")] = 96,
    prompt: Annotated[int, typer.Option(help="Tokens of each prompt.")] = 64,
    rounds: Annotated[int, typer.Option(help="Measured rounds; medians count.")] = 3,
    threads: Annotated[int, typer.Option(help="Torch's threads.")] = os.cpu_count() or 1,
) -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(measure(pack.unpack(Path(scratch)), tokens, prompt, rounds, threads))


if __name__ == "__main__":
    typer.run(main)
