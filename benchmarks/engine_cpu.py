"""The engine on the CPU against ``transformers serve``, on the same checkpoint, in the same run.

    python -m benchmarks.engine_cpu [--peer TRANSFORMERS] [--model random|demo] [--threads 2] [--rounds 3]

``--peer`` is the ``transformers`` command of an environment with ``transformers[serving]``. It is run with
and without continuous batching. Both sides run in the number type of the checkpoint (bfloat16) and in
float32. The peer answers over HTTP, the engine at its border. All are greedy and write the same number of
tokens; rounds alternate between them, and medians are shown, so that a busy machine hurts all alike. Prints
Markdown tables, and how near one stream is to the time in which the output matrix can be read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers import GptOssConfig, GptOssForCausalLM

from benchmarks.peer import Figures, Peer, write_tokenizer
from benchmarks.replies import all_at_once
from inference.demonstration import pack
from inference.engine import EngineConfig, LocalEngine
from inference.worker.messages import CpuDtype

TARGETS = {1: 1.5, 8: 2.0, 32: 2.0}  # by the number of streams
DTYPES: tuple[CpuDtype, ...] = ("bfloat16", "float32")
VOCABULARY = 201_088
# These libraries are only partly annotated.
NETWORK: Any = GptOssForCausalLM
OPEN: Any = safe_open


def write_random(folder: Path) -> None:
    """A tied model of 27 million parameters with the real vocabulary, in bfloat16 as published ones are."""
    torch.manual_seed(0)
    config = GptOssConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=8,
        num_experts_per_tok=2,
        tie_word_embeddings=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    NETWORK(config).to(torch.bfloat16).save_pretrained(folder)


def model_folder(scratch: Path, kind: str) -> Path:
    """A checkpoint with a tokenizer, and without ids that end a reply early."""
    folder = scratch / "model"
    if kind == "demo":
        folder = pack.unpack(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    else:
        write_random(folder)
    write_tokenizer(folder, VOCABULARY)
    return folder


def output_matrix(folder: Path) -> tuple[list[int], int]:
    """The ids that a tied model knows, whose rows are not all zeros, and how many numbers those rows have."""
    with OPEN(str(folder / "model.safetensors"), "pt") as file:
        matrix: Tensor = file.get_tensor("model.embed_tokens.weight")
    known = matrix.any(dim=1).nonzero()[:, 0].tolist()
    return known, len(known) * matrix.shape[1]


async def ours(engine: LocalEngine, prompts: list[tuple[int, ...]], tokens: int) -> Figures:
    """All replies at once by the engine."""
    firsts, speed = await all_at_once(engine, prompts, tokens)
    return Figures(statistics.median(firsts), speed)


def read_bandwidth() -> float:
    """Bytes a second at which plain operations read memory, the best of a few, with the threads of now."""
    numbers = torch.randn(64_000_000)
    wide = numbers.view(128, -1)
    row = torch.randn(1, 128)
    ways: list[Callable[[], object]] = [
        numbers.sum,
        lambda: torch.dot(numbers, numbers),
        lambda: torch.mm(row, wide),
    ]
    best = 0.0
    for way in ways:
        way()
        for _ in range(5):
            began = time.perf_counter()
            way()
            best = max(best, numbers.nbytes / (time.perf_counter() - began))
    return best


Rows = dict[int, dict[str, Figures]]


async def start(folder: Path, dtype: CpuDtype, threads: int) -> LocalEngine:
    """An engine that is ready."""
    config = EngineConfig(model=str(folder), device="cpu", cpu_dtype=dtype, threads=threads, fallback=False)
    engine = LocalEngine(config)
    engine.start()
    while True:
        if engine.health().active is not None:
            break
        await asyncio.sleep(0.05)
    return engine


async def measure(options: argparse.Namespace, folder: Path, ids: list[int]) -> tuple[Rows, float]:
    """The medians by streams and by who answers, and the best reading bandwidth in bytes a second."""
    engines = {dtype: await start(folder, dtype, options.threads) for dtype in options.dtypes}
    rows: Rows = {}
    bandwidth = 0.0
    async with AsyncExitStack() as stack:
        peers = []
        if options.peer:
            for dtype in options.dtypes:
                for batching in (False, True):
                    peer = Peer(options.peer, folder, dtype, batching, options.threads)
                    peers.append(await stack.enter_async_context(peer))
        for streams in options.streams:
            made: dict[str, list[Figures]] = {}
            for number in range(options.rounds + 1):
                bandwidth = max(bandwidth, await asyncio.to_thread(read_bandwidth))
                rng = random.Random(1000 * streams + number)
                # New prompts each round: nothing may come out of a prefix cache.
                prompts = [tuple(rng.choices(ids, k=options.prompt)) for _ in range(streams)]
                tokens = options.tokens if number else 4  # the first round warms up
                for dtype, engine in engines.items():
                    made.setdefault(f"engine, {dtype}", []).append(await ours(engine, prompts, tokens))
                for peer in peers:
                    made.setdefault(peer.name, []).append(await peer.measure(prompts, tokens))
                told = ", ".join(f"{name} {figures[-1].speed:.0f}" for name, figures in made.items())
                print(f"{streams} streams, round {number}, tok/s: {told}", file=sys.stderr, flush=True)
            rows[streams] = {name: median(figures[1:]) for name, figures in made.items()}
    for engine in engines.values():
        await engine.close()
    return rows, bandwidth


def median(figures: list[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(
        statistics.median(figure.ttft for figure in figures),
        statistics.median(figure.speed for figure in figures),
    )


def report(rows: Rows, dtypes: list[str], bandwidth: float, numbers: int) -> str:
    """Markdown."""
    lines = ["| streams | who | tok/s | TTFT ms |", "|---|---|---|---|"]
    for streams, figures in rows.items():
        for name, one in figures.items():
            lines.append(f"| {streams} | {name} | {one.speed:.0f} | {one.ttft * 1e3:.0f} |")
    lines.append("")
    for streams, figures in rows.items():
        others = {name: one.speed for name, one in figures.items() if name.startswith("serve")}
        for dtype in dtypes:
            own = figures[f"engine, {dtype}"].speed
            like = {name: speed for name, speed in others.items() if f" {dtype}" in name}
            for kind, against in (("its best in the same", like), ("the best of all", others)):
                if against:
                    best = max(against, key=against.__getitem__)
                    lines.append(
                        f"{streams} streams, {dtype}: {own / against[best]:.2f} times {kind} ({best}); "
                        f"goal {TARGETS[streams]}  "
                    )
    for dtype in dtypes if 1 in rows else []:
        size = numbers * (2 if dtype == "bfloat16" else 4)
        floor, own = size / bandwidth, 1 / rows[1][f"engine, {dtype}"].speed
        lines.append(
            f"\nThe output matrix has {size / 1e6:.0f} MB in {dtype}, at {bandwidth / 1e9:.1f} GB/s: "
            f"{floor * 1e3:.1f} ms a token at least.\nOne stream takes {own * 1e3:.1f} ms a token, "
            f"{own / floor:.1f} times as long."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", help="the transformers command to compare with")
    parser.add_argument("--model", choices=("random", "demo"), default="random")
    parser.add_argument("--streams", type=int, nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"], choices=DTYPES)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(Path(scratch), options.model)
        ids, numbers = output_matrix(folder)
        rows, bandwidth = asyncio.run(measure(options, folder, ids))
    print(
        f"{options.model} model, prompt {options.prompt}, {options.tokens} new tokens, "
        f"{options.threads} threads, torch {torch.__version__}, transformers {transformers.__version__}\n"
    )
    print(report(rows, options.dtypes, bandwidth, numbers))


if __name__ == "__main__":
    main()
