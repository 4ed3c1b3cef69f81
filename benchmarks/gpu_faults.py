"""What a GPU makes harder, tried on one: ``python -m benchmarks.gpu_faults FOLDER``, the demonstration model.

Want of pages, want of memory, a poisoned CUDA context in the worker's process, and long prompts (YaRN): each
says what happened and whether the requests after it are served. Exits with 1 if anything is not as it should
be.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.engine_exact import reference, replies
from benchmarks.engine_gpu import make_model, prompt, random_weights, run, shape_20b, time_to_first
from inference.demonstration.dataset import EFFORTS
from inference.demonstration.scoring import held_out_samples
from inference.demonstration.tasks import TASKS
from inference.engine import EngineConfig, LocalEngine
from inference.harmony import HarmonyCodec
from inference.types import FinishReason, GenerationRequest, SamplingParams, TokensFinished
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.device import look
from inference.worker.loading import load
from inference.worker.main import Worker
from inference.worker.messages import Submit

POISON = 199_999  # a prompt that begins with this id sets off a device assertion
MANY = 64
wrong: list[str] = []


class PoisonedWorker(Worker):
    """The real worker, but for the prompt above."""

    def _submit(self, command: Submit) -> None:
        if command.request.prompt_ids[0] == POISON:
            torch.ones(1, device="cuda")[torch.tensor([5], device="cuda")].cpu()  # out of bounds
        super()._submit(command)


def expect(right: bool, sentence: str) -> None:
    """Say what was found."""
    print(f"{'ok' if right else 'WRONG'}: {sentence}", flush=True)
    if not right:
        wrong.append(sentence)


def apart(one: list[float], other: list[float]) -> float:
    """The mean difference."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def prompts_of(codec: HarmonyCodec) -> list[tuple[int, ...]]:
    """Held-out questions of all kinds."""
    made = [
        tuple(codec.render(sample.prompt))
        for task in TASKS
        for effort in EFFORTS
        for sample in held_out_samples(task, effort, 2, codec)
    ]
    random.Random(0).shuffle(made)
    return made[:MANY]


def want_of_pages(folder: Path, prompts: list[tuple[int, ...]]) -> None:
    """The same replies with plenty of pages and with so few that requests must step back."""
    machine, checkpoint = look("cuda"), inspect(folder)
    plenty = replies(load(checkpoint, machine, EngineConfig(), lambda _detail: None), prompts)
    for budget in (40_000_000, 16_000_000):
        config = EngineConfig(kv_budget_bytes=budget, max_prefill_chunk=256)
        model = load(checkpoint, machine, config, lambda _detail: None)
        core = EngineCore(model, lambda _event: None)
        params = SamplingParams(temperature=0, max_tokens=300)
        for number, ids in enumerate(prompts):
            core.submit(GenerationRequest(f"r{number}", ids, params), time.monotonic())
        preempted = 0
        while core.busy:
            core.step()
            preempted = max(preempted, sum(s.preemptions for s in core.scheduler.sequences()))
        model.pages.check([])
        few = replies(model, prompts)
        same = sum(a[0] == b[0] for a, b in zip(plenty, few, strict=True))
        context = model.limits.context_length
        expect(
            same >= len(prompts) - 2,
            f"{budget / 1e6:.0f} MB of pages (context {context}): {preempted} steps back seen at once, "
            f"{same} of {len(prompts)} replies as with plenty (bfloat16: near ties may fall otherwise)",
        )


def finish(core: EngineCore) -> None:
    """Step until nobody waits."""
    while core.busy:
        core.step()


def want_of_memory() -> None:
    """Everything that is free is taken while prompts are read and replies are written."""
    model = make_model(random_weights(shape_20b(2), torch.device("cuda", 0)))
    model.chunk_tokens = 2048
    ends: list[TokensFinished] = []
    core = EngineCore(model, lambda event: ends.append(event) if isinstance(event, TokensFinished) else None)
    params = SamplingParams(temperature=0, max_tokens=40)
    core.submit(GenerationRequest("writing", prompt(100), params), time.monotonic())
    for _ in range(5):
        core.step()
    torch.cuda.empty_cache()
    hoard = []
    for size in (2**30, 2**26, 2**21):
        while True:
            try:
                hoard.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                break
    for number in range(3):
        core.submit(GenerationRequest(f"r{number}", prompt(2000), params), time.monotonic())
    finish(core)
    codes = {end.request_id: end.error_code for end in ends}
    expect(
        all(codes[f"r{n}"] == "out_of_memory" for n in range(3))
        and codes["writing"] in (None, "out_of_memory"),
        f"no memory left: the replies end with {codes}",
    )
    hoard.clear()
    gc.collect()
    torch.cuda.empty_cache()
    ends.clear()
    core.submit(GenerationRequest("next", prompt(2000), params), time.monotonic())
    finish(core)
    model.pages.check([])
    expect(ends[0].error is None, "the next one is served, and no page is lost")


def long_prompts(folder: Path) -> None:
    """YaRN with the published sizes: log-probabilities at 16,384 tokens, and speed at 131,072."""
    with tempfile.TemporaryDirectory() as scratch:
        longer = Path(scratch) / "long"
        shutil.copytree(folder, longer)
        config: dict[str, Any] = json.loads((longer / "config.json").read_text())
        config["max_position_embeddings"] = 131_072
        config["rope_scaling"]["original_max_position_embeddings"] = config["initial_context_length"] = 4096
        (longer / "config.json").write_text(json.dumps(config))
        model = load(inspect(longer), look("cuda"), EngineConfig(), lambda _detail: None)
        codec = HarmonyCodec.load()
        start = [token for ids in prompts_of(codec) for token in ids]
        long = tuple((start * 8)[:16_384])
        made = replies(model, [long], logprobs=0, max_tokens=200)
        exact, agreed = reference(longer, torch.float32, [long], made)
        rough, agreed_rough = reference(longer, torch.bfloat16, [long], made)
        ours, theirs = apart(made[0][1], exact[0]), apart(rough[0], exact[0])
        expect(
            ours < 2 * theirs,
            f"16,384 tokens: log-probabilities differ from float32 by {ours:.3f} on average, those of "
            f"transformers' bfloat16 by {theirs:.3f}; the first {agreed[0]} and {agreed_rough[0]} of "
            f"{len(made[0][0])} ids are float32's and bfloat16's own choice",
        )
    del model
    gc.collect()
    torch.cuda.empty_cache()
    big = make_model(random_weights(shape_20b(24), torch.device("cuda", 0)))
    for length in (16_384, 65_536, 130_000):
        seconds = time_to_first(big, prompt(length))
        rate = run(big, 1, length, 65)[0]
        print(f"20b shape, {length} tokens: first token after {seconds:.2f} s, then {rate:,.0f} tokens/s")


async def poisoned(folder: Path, prompts: list[tuple[int, ...]]) -> None:
    """An access out of bounds kills the CUDA context of the worker's process amid eight replies."""
    config = EngineConfig(
        model=str(folder), worker="benchmarks.gpu_faults:PoisonedWorker", fallback=False, isolation="process"
    )
    engine = LocalEngine(config)
    engine.start()

    async def answering() -> float:
        began = time.monotonic()
        while True:
            if engine.health().alive and engine.health().active:
                return time.monotonic() - began
            await asyncio.sleep(0.05)

    async def ask(name: str, ids: tuple[int, ...]) -> TokensFinished:
        params = SamplingParams(temperature=0, max_tokens=2000)
        async for event in engine.submit(GenerationRequest(name, ids, params)):
            if isinstance(event, TokensFinished):
                return event
        raise RuntimeError("a reply ended without its last event")

    await answering()
    for cycle in range(3):
        waiting = [asyncio.create_task(ask(f"c{cycle}r{n}", prompts[n])) for n in range(8)]
        await asyncio.sleep(0.3)
        bad = asyncio.create_task(ask(f"c{cycle}bad", (POISON, 1, 2)))
        ends = await asyncio.wait_for(asyncio.gather(*waiting, bad), 60)
        codes = sorted({str(end.error_code) for end in ends})
        expect(codes == ["engine_died"], f"poisoned context: nine of nine told, with {codes}")
        await asyncio.sleep(0.2)
        seconds = await asyncio.wait_for(answering(), 120)
        end = await ask(f"c{cycle}next", prompts[9][:-1] + prompts[9][-1:])
        served = end.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        expect(served, f"a new worker answers after {seconds:.1f} s")
    await engine.close()


def main(
    folder: Annotated[Path, typer.Argument(help="The demonstration model's checkpoint.")],
    only: Annotated[list[str] | None, typer.Option(help="pages, memory, long, context; all if none.")] = None,
) -> None:
    """Try all of it."""
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    prompts = prompts_of(HarmonyCodec.load())
    parts: dict[str, Callable[[], None]] = {
        "pages": lambda: want_of_pages(folder, prompts),
        "memory": want_of_memory,
        "context": lambda: asyncio.run(poisoned(folder, prompts)),
        "long": lambda: long_prompts(folder),
    }
    for name, part in parts.items():
        if only and name not in only:
            continue
        began = time.perf_counter()
        part()
        gc.collect()
        torch.cuda.empty_cache()
        print(f"({name}: {time.perf_counter() - began:.1f} s)", flush=True)
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
