"""Whether models give the GPU's memory back: ``python -m benchmarks.model_switch_gpu``.

Loads the demonstration model, lets it answer, changes five times between it and another folder (or itself)
while it answers, and unloads. Bytes that torch holds are printed after each step. It ends with an error if
a change leaves more than 1 % behind, or if anything at all is left at the end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from inference.engine import EngineConfig, LocalEngine
from inference.types import (
    EngineHealth,
    FinishReason,
    GenerationRequest,
    ModelStage,
    SamplingParams,
    TokensFinished,
)

CHANGES = 5
PATIENCE = 300.0
TOLERANCE = 0.01
MIB = 2**20


async def settled(engine: LocalEngine, loaded: bool) -> EngineHealth:
    """Wait until the wanted model answers, or none does, and what it replaced is gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            health = engine.health()
            if health.target is not None and health.target.stage is ModelStage.FAILED:
                sys.exit(health.target.note)
            if health.target is None and (health.active is not None) == loaded:
                return health
            await asyncio.sleep(0.01)


async def quiet(engine: LocalEngine) -> None:
    """Wait until nothing runs, so that a model that was only kept for its last replies is gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if not engine.health().running:
                break
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)


async def serve(engine: LocalEngine, streams: int, tokens: int) -> None:
    """Let some requests run at once."""
    sampling = SamplingParams(max_tokens=tokens)

    async def one(number: int) -> None:
        prompt = tuple(range(100 + number, 400 + number))
        events = [event async for event in engine.submit(GenerationRequest(f"{number}", prompt, sampling))]
        end = events[-1]
        if not isinstance(end, TokensFinished) or end.finish_reason is not FinishReason.LENGTH:
            sys.exit(f"A request failed: {end}")

    await asyncio.gather(*(one(number) for number in range(streams)))


def show(step: str) -> int:
    """Print what torch holds; gives the bytes of its tensors."""
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    free, total = torch.cuda.mem_get_info()
    print(
        f"| {step} | {allocated / MIB:.1f} | {reserved / MIB:.1f} | {(total - free) / MIB:.0f} |", flush=True
    )
    return allocated


async def switch(model: str, other: str, streams: int, tokens: int) -> None:
    """All steps, one after the other."""
    # A thread: the figures of torch are those of this process.
    engine = LocalEngine(EngineConfig(model=model, device="cuda", isolation="thread", fallback=False))
    print("| step | allocated MiB | reserved MiB | in use on the GPU MiB |\n|---|---|---|---|")
    engine.start()
    await settled(engine, loaded=True)
    await serve(engine, streams, tokens)
    first = show("loaded, and answered")
    for number in range(1, CHANGES + 1):
        began = time.monotonic()
        wanted = other if number % 2 else model
        before = asyncio.create_task(serve(engine, streams, tokens))
        await asyncio.sleep(0)  # those requests are sent before the change begins
        await engine.load(wanted)
        await asyncio.sleep(0.5)  # the worker has heard of it
        await settled(engine, loaded=True)
        seconds = time.monotonic() - began
        await before
        await serve(engine, streams, tokens)
        await quiet(engine)
        now = show(f"change {number}, {seconds:.1f} s")
        if wanted == model and abs(now - first) > TOLERANCE * first:
            sys.exit("A change left memory behind.")
    await engine.load("none")
    await settled(engine, loaded=False)
    left = show("unloaded")
    machine = engine.health().machine
    await engine.close()
    if left or torch.cuda.memory_reserved():
        sys.exit("Memory is left although no model is loaded.")
    print(f"\n{machine}")


def main(
    model: Annotated[str, typer.Option(help="The first model: a name or a folder.")] = "demo",
    other: Annotated[Path | None, typer.Option(help="The second one's folder; else the same again.")] = None,
    streams: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens of each reply.")] = 1024,
) -> None:
    """Load, change and unload models, and print the GPU's memory after each step."""
    asyncio.run(switch(model, str(other) if other else model, streams, tokens))


if __name__ == "__main__":
    typer.run(main)
