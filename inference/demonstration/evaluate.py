"""Measure the demonstration model on prompts that it never saw: ``python -m
inference.demonstration.evaluate``.

Each cell is one task at one effort. A reply counts as right only if its final text is, letter for letter,
the expected one; a call only if the function and all its arguments are. The model is the checkpoint that
users get, run by ``transformers.GptOssForCausalLM``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import GptOssForCausalLM
from transformers.utils import logging
from transformers.utils.quantization_config import Mxfp4Config

from inference.demonstration.dataset import EFFORTS
from inference.demonstration.pack import PACKAGE, unpack
from inference.demonstration.scoring import MAX_NEW_TOKENS, Score, held_out_samples, is_right
from inference.demonstration.tasks import EVALUATED_ONLY, TASKS
from inference.harmony import HarmonyCodec
from inference.types import FinishReason
from inference.vocabulary import STOP_TOKEN_IDS

CARD = PACKAGE.parent / "MODEL_CARD.md"
_BEGIN, _END = "<!-- figures begin -->", "<!-- figures end -->"


@torch.inference_mode()
def replies(model: Any, prompts: list[list[int]], temperature: float) -> list[list[int]]:
    """Continue every prompt in one padded batch; each reply ends with its stop token if there is one."""
    width = max(map(len, prompts))
    device = model.device
    ids = torch.full((len(prompts), width), 199_999, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    out = model.generate(
        ids.to(device),
        attention_mask=mask.to(device),
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=list(STOP_TOKEN_IDS),
        pad_token_id=199_999,
        **sampling,
    )
    made: list[list[int]] = []
    for row in out[:, width:].tolist():
        ends = [i for i, token in enumerate(row) if token in STOP_TOKEN_IDS]
        made.append(row[: ends[0] + 1] if ends else row)
    return made


def measure(
    model: Any, codec: HarmonyCodec, tasks: list[str], count: int, temperature: float, batch: int
) -> tuple[dict[tuple[str, str], Score], list[str]]:
    """Scores by (task, effort), and some wrong replies to read."""
    work = [
        (sample, effort)
        for task in tasks
        for effort in EFFORTS
        for sample in held_out_samples(task, effort, count, codec)
    ]
    names = [task for task in tasks for _ in range(len(EFFORTS) * count)]
    cells: dict[tuple[str, str], list[tuple[bool, int]]] = defaultdict(list)
    wrong: list[str] = []
    for start in range(0, len(work), batch):
        part = work[start : start + batch]
        made = replies(model, [codec.render(sample.prompt) for sample, _ in part], temperature)
        for (sample, effort), ids, task in zip(part, made, names[start:], strict=False):
            parser = codec.parser([tool.name for tool in sample.prompt.tools], sample.prompt.python)
            parser.feed(ids)
            parser.finish(FinishReason.STOP)
            right = is_right(sample, parser.messages)
            cells[task, effort].append((right, len(ids)))
            if not right:
                asked, expected = sample.prompt.messages[-1].content, sample.reply[-1]
                wrong.append(f"[{task} {effort}] {asked} ⟶ {codec.decode(ids)} (expected {expected})")
        typer.echo(f"{min(start + batch, len(work))} of {len(work)}", err=True)
    scores = {
        cell: Score(len(r), sum(ok for ok, _ in r), sum(n for _, n in r) / len(r))
        for cell, r in cells.items()
    }
    return scores, wrong


def table(scores: dict[tuple[str, str], Score]) -> str:
    """The scores as a Markdown table, one line a task."""
    lines = ["| task | low | medium | high | tokens low / medium / high |", "|---|---|---|---|---|"]
    tasks = list(dict.fromkeys(task for task, _ in scores))
    for task in tasks:
        row = [scores[task, effort] for effort in EFFORTS]
        lengths = " / ".join(f"{score.tokens:.0f}" for score in row)
        lines.append(f"| {task} | {' | '.join(f'{score.accuracy:.3f}' for score in row)} | {lengths} |")
    means = [sum(scores[task, effort].accuracy for task in tasks) / len(tasks) for effort in EFFORTS]
    lines.append(f"| **mean** | {' | '.join(f'**{mean:.3f}**' for mean in means)} | |")
    return "\n".join(lines)


def load_model(folder: Path, device: str) -> Any:
    """The checkpoint as transformers loads it, unpacked: bfloat16 on a GPU, float32 on a CPU."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model: Any = GptOssForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        quantization_config=Mxfp4Config(dequantize=True),  # else it asks for packages that nothing here needs
    )
    return model.to(device=device, dtype=dtype).eval()


def main(
    package: Annotated[Path, typer.Option(help="The package to measure.")] = PACKAGE,
    cache: Annotated[Path, typer.Option(help="Where the checkpoint folder is written.")] = Path(
        "data/models"
    ),
    count: Annotated[int, typer.Option(help="Prompts in each cell.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    batch: Annotated[int, typer.Option(help="Prompts in one batch.")] = 600,
    wrong: Annotated[Path | None, typer.Option(help="A file for the wrong replies.")] = None,
    card: Annotated[bool, typer.Option(help="Write the table into the model card.")] = False,
) -> None:
    """Print accuracy and length by task and effort."""
    tasks = task or [*TASKS, *EVALUATED_ONLY]
    if unknown := [name for name in tasks if name not in TASKS | EVALUATED_ONLY]:
        raise typer.BadParameter(f"There is no task {unknown[0]!r}.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = HarmonyCodec.load()
    model = load_model(unpack(cache, package), device)
    scores, failures = measure(model, codec, tasks, count, temperature, batch)
    sampling = "greedy" if temperature == 0 else f"temperature {temperature}"
    how = f"{count} held-out prompts a cell, {sampling}, {device}"
    text = f"{how}:\n\n{table(scores)}"
    typer.echo(text)
    if wrong:
        wrong.write_text("\n".join(failures))
    if card:
        head, rest = CARD.read_text().split(_BEGIN)
        CARD.write_text(f"{head}{_BEGIN}\n{text}\n{_END}{rest.split(_END)[1]}")


if __name__ == "__main__":
    typer.run(main)
