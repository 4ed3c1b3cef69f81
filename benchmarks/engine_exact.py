"""Exactness of the engine on a GPU, on the demonstration model: ``python -m benchmarks.engine_exact FOLDER``.

The folder is the demonstration model's checkpoint. The measure is transformers' own forward pass in float32;
its bfloat16 pass shows how much of a difference the number type alone makes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import typer
from transformers import GptOssForCausalLM
from transformers.utils.quantization_config import Mxfp4Config

from inference.demonstration.dataset import EFFORTS
from inference.demonstration.scoring import held_out_samples
from inference.demonstration.tasks import TASKS
from inference.harmony import HarmonyCodec
from inference.types import GenerationRequest, SamplingParams, TokenEvent, TokensFinished, TokensGenerated
from inference.vocabulary import STOP_TOKEN_IDS
from inference.worker.checkpoint import inspect
from inference.worker.core import EngineCore
from inference.worker.device import look
from inference.worker.loading import load
from inference.worker.messages import EngineConfig
from inference.worker.network import LoadedModel

NETWORK: Any = GptOssForCausalLM  # transformers is only partly annotated
MAX_NEW = 300
Reply = tuple[list[int], list[float]]


def replies(model: LoadedModel, prompts: Sequence[tuple[int, ...]], **sampling: Any) -> list[Reply]:
    """Ids and log-probabilities of the replies to all prompts, running together."""
    made: dict[str, Reply] = {}

    def take(event: TokenEvent) -> None:
        if isinstance(event, TokensGenerated):
            ids, scores = made.setdefault(event.request_id, ([], []))
            ids.extend(event.token_ids)
            scores.extend(score.logprob for score in event.logprobs)
        elif isinstance(event, TokensFinished) and event.error:
            raise SystemExit(event.error)

    params = SamplingParams(
        **{"temperature": 0.0, "max_tokens": MAX_NEW, "stop_token_ids": tuple(STOP_TOKEN_IDS), **sampling}
    )
    core = EngineCore(model, take)
    for number, ids in enumerate(prompts):
        core.submit(GenerationRequest(f"r{number}", ids, params), time.monotonic())
    while core.busy:
        core.step()
    model.pages.check([])
    return [made[f"r{number}"] for number in range(len(prompts))]


@torch.inference_mode()
def reference(
    folder: Path, dtype: torch.dtype, prompts: Sequence[tuple[int, ...]], made: Sequence[Reply]
) -> tuple[list[list[float]], list[int]]:
    """transformers' log-probabilities of the replies' ids, and for each reply how many ids are its greedy
    choice before the first that is not.
    """
    network = NETWORK.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        quantization_config=Mxfp4Config(dequantize=True),
    ).to("cuda", dtype)
    scores, agreed = [], []
    for ids, (reply, _) in zip(prompts, made, strict=True):
        tokens = torch.tensor([[*ids, *reply]], device="cuda")
        logits = network(tokens).logits[0, len(ids) - 1 : -1].float()
        wanted = torch.tensor(reply, device="cuda")
        logs = torch.log_softmax(logits, dim=-1)
        scores.append(logs.gather(1, wanted[:, None])[:, 0].tolist())
        wrong = (logits.argmax(dim=-1) != wanted).nonzero()
        agreed.append(int(wrong[0, 0]) if len(wrong) else len(reply))
    return scores, agreed


def differences(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> str:
    """How far log-probabilities are apart."""
    apart = torch.tensor(
        [abs(x - y) for a, b in zip(one, other, strict=True) for x, y in zip(a, b, strict=True)]
    )
    return f"mean {apart.mean():.2e}, 99.9 % below {apart.quantile(0.999):.2e}, largest {apart.max():.2e}"


def check(folder: Path, count: int = 2) -> None:
    """Print how near the engine is to transformers, and that batches and cached prefixes change nothing."""
    codec = HarmonyCodec.load()
    prompts = [
        tuple(codec.render(sample.prompt))
        for task in TASKS
        for effort in EFFORTS
        for sample in held_out_samples(task, effort, count, codec)
    ]
    random.Random(0).shuffle(prompts)
    machine, checkpoint = look("cuda"), inspect(folder)
    model = load(checkpoint, machine, EngineConfig(), lambda _detail: None)
    print(f"{len(prompts)} prompts, {model.status.quantization}, {model.status.dtype}")
    made = replies(model, prompts, logprobs=0)
    exact, agreed = reference(folder, torch.float32, prompts, made)
    rough, agreed_rough = reference(folder, torch.bfloat16, prompts, made)
    tokens = sum(len(ids) for ids, _ in made)
    same = sum(n == len(ids) for n, (ids, _) in zip(agreed, made, strict=True))
    same_rough = sum(n == len(ids) for n, (ids, _) in zip(agreed_rough, made, strict=True))
    print(f"greedy replies that float32 would have written, too: {same} of {len(made)} ({tokens} tokens)")
    print(f"greedy replies that transformers' bfloat16 would have written, too: {same_rough}")
    print(f"log-probabilities, engine against float32: {differences([s for _, s in made], exact)}")
    print(f"log-probabilities, transformers bfloat16 against float32: {differences(rough, exact)}")
    again = replies(model, prompts, logprobs=0)
    print(
        f"with all prompts' pages cached: {sum(a[0] == b[0] for a, b in zip(made, again, strict=True))} equal"
    )
    same_seed(checkpoint, machine, prompts)


def same_seed(checkpoint: Any, machine: Any, prompts: Sequence[tuple[int, ...]]) -> None:
    """One request alone, and among 31 others, in both modes."""
    for reproducible in (False, True):
        model = load(checkpoint, machine, EngineConfig(reproducible=reproducible), lambda _detail: None)
        equal = 0
        for number in range(8):
            options = {"temperature": 1.0, "seed": number}
            crowd = replies(model, prompts[number : number + 32], **options)[0][0]
            equal += crowd == replies(model, prompts[number : number + 1], **options)[0][0]
        print(f"reproducible={reproducible}: {equal} of 8 replies equal alone and among 31 others")


if __name__ == "__main__":
    typer.run(check)
