"""What a schema costs a token on the CPU: ``python -m benchmarks.mask_cost``.

The demonstration model writes answers by three schemas through the engine's own step loop. For every token
under a grammar three times are taken: to find what may come next (the mask), to choose among it, and the
whole step. The share is what mask and choice take more than a free choice does, of the step.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer

from inference.demonstration import pack
from inference.grammar import grammar_for, matches
from inference.harmony import HarmonyCodec
from inference.types import (
    Constraint,
    GenerationRequest,
    Message,
    MessageRule,
    Prompt,
    Role,
    SamplingParams,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
)
from inference.vocabulary import CHANNEL, MESSAGE, RETURN, STOP_TOKEN_IDS
from inference.worker import runner
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.device import Machine
from inference.worker.guide import Guide
from inference.worker.guide_maker import vocabulary_tree
from inference.worker.loading import load
from inference.worker.messages import EngineConfig
from inference.worker.network import LoadedModel

SCHEMAS: dict[str, dict[str, Any]] = {
    "flat object": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 40},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "member": {"type": "boolean"},
        },
        "required": ["name", "age", "member"],
        "additionalProperties": False,
    },
    "nested arrays": {
        "type": "array",
        "minItems": 4,
        "maxItems": 6,
        "items": {
            "type": "array",
            "minItems": 2,
            "maxItems": 4,
            "items": {"type": "integer", "minimum": 0, "maximum": 999},
        },
    },
    "enum of 100": {
        "type": "array",
        "minItems": 6,
        "maxItems": 6,
        "items": {"enum": [f"choice number {number} of the list" for number in range(100)]},
    },
}


class Stopwatch:
    """Takes the times of a function's calls, in microseconds; ``timed`` stands for the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.times: list[float] = []

        def timed(*given: Any, **named: Any) -> Any:
            before = time.perf_counter()
            result = function(*given, **named)
            self.times.append((time.perf_counter() - before) * 1e6)
            return result

        self.timed = timed

    def median(self) -> float:
        """Of all calls so far."""
        return statistics.median(self.times) if self.times else 0.0


def demonstration(folder: Path, threads: int) -> LoadedModel:
    """The demonstration model on the CPU."""
    torch.set_num_threads(threads)
    machine = Machine(torch.device("cpu"), native_mxfp4=False)
    return load(inspect(pack.unpack(folder)), machine, EngineConfig(), lambda _detail: None)


def write(
    model: LoadedModel, constraint: Constraint | None, seed: int, most: int
) -> tuple[list[int], list[float]]:
    """The ids of one reply, and the microseconds of each step."""
    ids: list[int] = []
    steps: list[float] = []

    def hear(event: TokenEvent) -> None:
        if isinstance(event, TokensGenerated):
            ids.extend(event.token_ids)
        elif isinstance(event, TokensFinished) and event.error:
            raise RuntimeError(event.error)

    core = EngineCore(model, hear)
    codec = HarmonyCodec.load()
    prompt = tuple(codec.render(Prompt([Message(Role.USER, "Tell me something.")])))
    stops = () if constraint is None else STOP_TOKEN_IDS
    sampling = SamplingParams(temperature=1.0, seed=seed, max_tokens=most, stop_token_ids=stops)
    core.submit(GenerationRequest("one", prompt, sampling, constraint=constraint), time.monotonic())
    while core.busy:
        known, before = len(ids), time.perf_counter()
        core.step()
        if known and len(ids) > known:
            steps.append((time.perf_counter() - before) * 1e6)
    return ids, steps


def measured(
    model: LoadedModel, schema: dict[str, Any], replies: int
) -> tuple[int, float, float, float, int]:
    """Masked tokens, medians of mask, choice and step in microseconds, and answers that do not match."""
    header = (CHANNEL, *HarmonyCodec.load().encode_text("final"), MESSAGE)
    constraint = Constraint((MessageRule(header, grammar_for(schema), RETURN),))
    asked, chosen = Stopwatch(Guide.mask), Stopwatch(runner.PlainRunner._pick)
    wrong, tokens, steps = 0, 0, list[float]()
    with (
        patch.object(Guide, "mask", asked.timed),
        patch.object(runner.PlainRunner, "_pick", chosen.timed),
    ):
        for seed in range(replies):
            ids, took = write(model, constraint, seed, 400)
            content = ids[len(header) : -1]
            text = b"".join(HarmonyCodec.load().token_bytes(token) or b"" for token in content)
            wrong += ids[-1] != RETURN or matches(schema, text.decode(errors="replace")) is not None
            tokens += len(content) + 1
            steps += took[len(header) - 1 :]
    return tokens, asked.median(), chosen.median(), statistics.median(steps), wrong


def main(
    replies: Annotated[int, typer.Option(help="Answers for each schema.")] = 8,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
) -> None:
    """Print a table."""
    before = time.perf_counter()
    vocabulary_tree()
    print(f"vocabulary: {time.perf_counter() - before:.2f} s, once in a process")
    with tempfile.TemporaryDirectory() as folder:
        model = demonstration(Path(folder), threads)
        write(model, None, 0, 20)
        plain = Stopwatch(runner.PlainRunner._pick)
        with patch.object(runner.PlainRunner, "_pick", plain.timed):
            free = statistics.median(write(model, None, 0, 150)[1])
        print(f"without a schema: a step of {free:.0f} us, {plain.median():.0f} us of them for the choice")
        print(
            f"{'schema':15} {'tokens':>7} {'mask us':>8} {'choice us':>10} {'step us':>8} {'share':>6} wrong"
        )
        for name, schema in SCHEMAS.items():
            tokens, mask, choice, step, wrong = measured(model, schema, replies)
            share = max(0.0, mask + choice - plain.median()) / step
            print(f"{name:15} {tokens:7} {mask:8.0f} {choice:10.0f} {step:8.0f} {share:6.1%} {wrong:5}")


if __name__ == "__main__":
    typer.run(main)
