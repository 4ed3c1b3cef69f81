"""Many replies of the engine at once, measured at its border."""

from __future__ import annotations

import asyncio
import time

from inference.engine import LocalEngine
from inference.types import GenerationRequest, SamplingParams, TokensFinished


async def all_at_once(
    engine: LocalEngine, prompts: list[tuple[int, ...]], tokens: int
) -> tuple[list[float], float]:
    """Greedy replies to all prompts: the seconds to each one's first token, and tokens a second over all."""

    async def one(number: int, ids: tuple[int, ...]) -> TokensFinished:
        params = SamplingParams(temperature=0, max_tokens=tokens)
        async for event in engine.submit(GenerationRequest(f"r{number}", ids, params)):
            if isinstance(event, TokensFinished):
                return event
        raise RuntimeError("the engine ended a reply without its last event")

    began = time.perf_counter()
    ends = await asyncio.gather(*(one(number, ids) for number, ids in enumerate(prompts)))
    seconds = time.perf_counter() - began
    return [end.timings.ttft for end in ends], sum(end.usage.completion for end in ends) / seconds
