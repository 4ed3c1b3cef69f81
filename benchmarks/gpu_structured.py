"""Structured answers on one CUDA GPU: ``python -m benchmarks.gpu_structured``.

Random weights of the gpt-oss-20b shape write answers by a schema through the engine's own step loop, beside
the same number of streams without one. Every answer is read back and checked against its schema. Then a
schema beside free streams: these keep the pipeline that a schema cannot have, for its next mask needs the
token before it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer

from benchmarks.engine_gpu import Recorder, make_model, prompt, random_weights, section, shape_20b
from benchmarks.mask_cost import Stopwatch
from inference.grammar import grammar_for, matches
from inference.harmony import HarmonyCodec
from inference.types import Constraint, GenerationRequest, MessageRule, SamplingParams
from inference.vocabulary import CHANNEL, MESSAGE, RETURN, STOP_TOKEN_IDS
from inference.worker.core import EngineCore
from inference.worker.guide import Guide
from inference.worker.network import LoadedModel

SCHEMAS: dict[str, dict[str, Any]] = {
    "objects": {
        "type": "array",
        "minItems": 12,
        "maxItems": 12,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 20, "maxLength": 40},
                "age": {"type": "integer", "minimum": 0, "maximum": 150},
                "member": {"type": "boolean"},
            },
            "required": ["name", "age", "member"],
            "additionalProperties": False,
        },
    },
    "enum of 100": {
        "type": "array",
        "minItems": 30,
        "maxItems": 30,
        "items": {"enum": [f"choice number {number} of the list" for number in range(100)]},
    },
}
STREAMS = [1, 8]
FREE_TOKENS = 256
MOST_TOKENS = 4000
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature 1": {"temperature": 1.0},
    "temperature 1, top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
}


@dataclass(slots=True)
class Outcome:
    """Tokens a second of the streams of each kind, once all of them write, and what went wrong."""

    held: float = 0.0
    free: float = 0.0
    tokens: int = 0
    wrong: list[str] = field(default_factory=list)


def answer_rule(schema: dict[str, Any]) -> MessageRule:
    """An answer at once: random weights would never end their reasoning."""
    header = (CHANNEL, *HarmonyCodec.load().encode_text("final"), MESSAGE)
    return MessageRule(header, grammar_for(schema), RETURN)


def serve(model: LoadedModel, schema: dict[str, Any], held: int, free: int, way: dict[str, Any]) -> Outcome:
    """So many streams with the schema and without, all at once."""
    rule = answer_rule(schema)
    told = Recorder()
    core = EngineCore(model, told)
    for number in range(held):
        sampling = SamplingParams(**way, seed=number, max_tokens=MOST_TOKENS, stop_token_ids=STOP_TOKEN_IDS)
        core.submit(
            GenerationRequest(f"held {number}", prompt(128), sampling, constraint=Constraint((rule,))),
            time.monotonic(),
        )
    while core._guided:  # grammars are made beside the loop; their time is not a token's
        core._take_guides()
    for number in range(free):
        sampling = SamplingParams(**way, seed=number, max_tokens=FREE_TOKENS)
        core.submit(GenerationRequest(f"free {number}", prompt(128), sampling), time.monotonic())
    while core.busy:
        core.step()
    torch.cuda.synchronize()
    outcome = Outcome(rate(told, "held"), rate(told, "free"))
    for name, ids in told.ids.items():
        if name.startswith("held"):
            outcome.tokens += len(ids)
            why = fault(ids, len(rule.header), schema)
            outcome.wrong += [f"{name}: {why}"] if why else []
    return outcome


def rate(told: Recorder, kind: str) -> float:
    """Tokens a second of all streams of a kind together, while all of them were writing."""
    times = [moments for name, moments in told.times.items() if name.startswith(kind)]
    if not times:
        return 0.0
    first, last = max(moments[0] for moments in times), min(moments[-1] for moments in times)
    count = sum(first < moment <= last for moments in times for moment in moments)
    return count / (last - first) if last > first else 0.0


def fault(ids: list[int], header: int, schema: dict[str, Any]) -> str | None:
    """Why a reply is not what it should be."""
    if ids[-1] != RETURN:
        return f"it did not end in {MOST_TOKENS} tokens"
    codec = HarmonyCodec.load()
    text = b"".join(codec.token_bytes(token) or b"?" for token in ids[header:-1])
    return matches(schema, text.decode(errors="replace"))


def measure(model: LoadedModel, repeats: int, streams_of: list[int]) -> int:
    """Print the table; how many replies were wrong."""
    wrong: list[str] = []
    print("| streams | sampling | free tokens/s | schema | tokens/s | share of free | mask us |")
    print("|---|---|---|---|---|---|---|")
    for streams in streams_of:
        for label, way in WAYS.items():
            free = statistics.median(serve(model, {}, 0, streams, way).free for _ in range(repeats))
            for name, schema in SCHEMAS.items():
                asked = Stopwatch(Guide.mask)
                with patch.object(Guide, "mask", asked.timed):
                    outcomes = [serve(model, schema, streams, 0, way) for _ in range(repeats)]
                held = statistics.median(outcome.held for outcome in outcomes)
                wrong += [line for outcome in outcomes for line in outcome.wrong]
                cells = f"{held:,.0f} | {held / free:.0%} | {asked.median():.0f}"
                print(f"| {streams} | {label} | {free:,.0f} | {name} | {cells} |", flush=True)
    mixed = serve(model, SCHEMAS["objects"], 4, 4, WAYS["temperature 1"])
    wrong += mixed.wrong
    print(f"4 streams with a schema beside 4 without: {mixed.held:,.0f} and {mixed.free:,.0f} tokens/s")
    for line in wrong:
        print("WRONG", line)
    return len(wrong)


def main(
    layers: Annotated[int, typer.Option(help="Layers; fewer for a quick look.")] = 24,
    repeats: Annotated[int, typer.Option(help="Runs of each row; the median counts.")] = 3,
    streams: Annotated[list[int], typer.Option(help="Rows with so many streams; may be repeated.")] = STREAMS,
) -> None:
    """Measure; the exit status is 1 when a reply did not match."""
    device = torch.device("cuda", 0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    model = make_model(random_weights(shape_20b(layers), device))
    with section("first request with a schema"):
        print(f"{serve(model, SCHEMAS['objects'], 1, 0, WAYS['greedy']).tokens} tokens")
    with section("structured answers"), torch.inference_mode():
        wrong = measure(model, repeats, streams)
    print("All replies match." if not wrong else f"{wrong} replies do not match.")
    raise SystemExit(int(wrong > 0))


if __name__ == "__main__":
    typer.run(main)
