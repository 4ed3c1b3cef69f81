"""``eval``: the demonstration model's own tasks, asked of any model."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from inference.types import ReasoningEffort
from playground.cli import common
from playground.cli.asking import Target, answering, collect
from playground.cli.backend import Backend, BackendError, Question, Tell
from playground.cli.progress import telling
from playground.settings import Settings

if TYPE_CHECKING:
    from inference.demonstration.sample import Sample
    from inference.demonstration.scoring import Score

AT_ONCE = 16
AT_ONCE_REMOTE = 2
ONLY_HERE = ("date", "python", "python, answer")
"""Tasks that need harmony's own date or python tool, which Chat Completions cannot ask for."""

Cell = tuple[str, ReasoningEffort]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: so many samples of each task at each effort."""

    tasks: tuple[str, ...]
    efforts: tuple[ReasoningEffort, ...]
    samples: int
    max_tokens: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. ``failures`` are sentences of replies that there were none of."""

    model: str
    scores: Mapping[Cell, Score]
    failures: Sequence[str]

    @property
    def mean(self) -> float:
        """Of all cells' shares of right answers."""
        return sum(score.accuracy for score in self.scores.values()) / len(self.scores)


def evaluate(
    model: common.Model = None,
    url: common.Url = None,
    api_key: common.ApiKey = None,
    samples: Annotated[
        int, typer.Option(min=1, max=10_000, help="Prompts of each task at each effort.")
    ] = 10,
    effort: Annotated[
        list[ReasoningEffort] | None,
        typer.Option(
            "--reasoning-level", "--effort", help="Only this one; may be repeated.", show_default=False
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; may be repeated.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="The longest reply; else 420, and 4096 for other models.", show_default=False
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
    least: Annotated[
        float | None,
        typer.Option(
            "--min", min=0, max=1, help="End with status 1 if the mean is below this.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: common.DataDir = None,
) -> None:
    # long because every option is an argument
    """Measure a model on the demonstration model's tasks: a table by task and effort.

    The prompts are ones that the demonstration model never saw in training. A reply is right only if it
    is, letter for letter, the expected one; of a call the function and all arguments. Models that were not
    trained on these words answer rightly in other ones, and score low. Without --model it is the
    demonstration model.
    """
    from inference.catalog import DEMO

    settings = common.settings_or_stop(model=None if url else model or DEMO, data_dir=data_dir)
    wanted = max_tokens or (420 if url is None and settings.model == DEMO else 4096)
    tasks = _tasks(task, here=url is None)
    efforts = tuple(dict.fromkeys(effort)) if effort else tuple(ReasoningEffort)
    plan = Plan(tasks, efforts, samples, wanted, temperature)
    try:
        with telling() as tell:
            result = asyncio.run(_measure(plan, Target(model, url, api_key), settings, tell))
    except BackendError as error:
        raise common.stop(error) from None
    except KeyboardInterrupt:
        raise common.stop("Stopped.", 130) from None
    for sentence in dict.fromkeys(result.failures):
        typer.echo(sentence, err=True)
    if as_json:
        typer.echo(json.dumps(_as_json(plan, result), indent=2))
    else:
        _print_table(plan, result)
    if result.failures or (least is not None and result.mean < least):
        raise typer.Exit(common.FAILED)


def _tasks(given: list[str] | None, *, here: bool) -> tuple[str, ...]:
    """The tasks that were asked for, or all that can be; ends the command at an unknown one."""
    from inference.demonstration.tasks import EVALUATED_ONLY, TASKS

    known = (*TASKS, *EVALUATED_ONLY)
    for name in given or ():
        if name not in known:
            raise common.stop(f"There is no task {name}. These are: {'; '.join(known)}.", common.WRONG_USE)
        if name in ONLY_HERE and not here:
            raise common.stop(f"The task {name} cannot be asked of a server.", common.WRONG_USE)
    if given:
        return tuple(dict.fromkeys(given))
    if not here:
        typer.echo(f"Left out, for a server cannot be asked them: {'; '.join(ONLY_HERE)}.", err=True)
    return tuple(name for name in known if here or name not in ONLY_HERE)


async def _measure(plan: Plan, target: Target, settings: Settings, tell: Tell) -> Result:
    from inference.demonstration.scoring import Score, held_out_samples, is_right
    from inference.harmony import HarmonyCodec

    async with answering(target, settings, tell) as backend:
        codec = await asyncio.to_thread(HarmonyCodec.load)
        work: list[tuple[Cell, Sample]] = [
            ((task, effort), sample)
            for task in plan.tasks
            for effort in plan.efforts
            for sample in held_out_samples(task, effort, plan.samples, codec)
        ]
        places = asyncio.Semaphore(AT_ONCE if target.url is None else AT_ONCE_REMOTE)
        cells: dict[Cell, list[tuple[bool, int]]] = defaultdict(list)
        failures: list[str] = []
        done = 0

        async def one(cell: Cell, sample: Sample) -> None:
            nonlocal done
            async with places:
                reply = await collect(backend, _question(plan, sample, backend))
            done += 1
            tell(f"Measuring: {done} of {len(work)}")
            if reply.error is not None:
                failures.append(reply.error)
            cells[cell].append(
                (reply.error is None and is_right(sample, reply.messages), reply.usage.completion)
            )

        await asyncio.gather(*(one(cell, sample) for cell, sample in work))
        scores = {
            cell: Score(len(r), sum(ok for ok, _ in r), sum(n for _, n in r) / len(r))
            for cell, r in cells.items()
        }
        return Result(backend.model.name, scores, failures)


def _question(plan: Plan, sample: Sample, backend: Backend) -> Question:
    prompt = sample.prompt
    if not backend.model.context_length:  # a server writes the date itself
        prompt = replace(prompt, current_date=None)
    return Question(prompt, temperature=plan.temperature, max_tokens=plan.max_tokens, seed=0)


def _as_json(plan: Plan, result: Result) -> dict[str, object]:
    return {
        "model": result.model,
        "samples": plan.samples,
        "temperature": plan.temperature,
        "mean": round(result.mean, 4),
        "scores": [
            {
                "task": task,
                "effort": str(effort),
                "asked": score.asked,
                "right": score.right,
                "accuracy": round(score.accuracy, 4),
                "tokens": round(score.tokens, 1),
            }
            for (task, effort), score in sorted(result.scores.items())
        ],
    }


def _print_table(plan: Plan, result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result.model}, {plan.samples} prompts a cell")
    table.add_column("task")
    for effort in plan.efforts:
        table.add_column(str(effort), justify="right")
        table.add_column("tokens", justify="right", style="dim")
    for task in plan.tasks:
        cells: list[str] = []
        for effort in plan.efforts:
            score = result.scores[task, effort]
            cells += [f"{score.accuracy:.2f}", f"{score.tokens:.0f}"]
        table.add_row(task, *cells)
    means: list[str] = []
    for effort in plan.efforts:
        column = [score.accuracy for (_, level), score in result.scores.items() if level == effort]
        means += [f"{sum(column) / len(column):.2f}", ""]
    table.add_section()
    table.add_row("mean", *means, style="bold")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
