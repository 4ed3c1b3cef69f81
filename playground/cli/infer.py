"""``infer``: one request in, one JSON object out; for scripts and for other programs' runners."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from inference.types import Channel, FinishReason, ReasoningEffort
from playground.cli import common
from playground.cli.asking import Collected, Target, answering, collect
from playground.cli.backend import BackendError, Question, Tell
from playground.cli.infer_input import Asked, InputError, Overrides, from_text, from_words
from playground.cli.progress import telling
from playground.settings import Settings

AT_ONCE = 8
"""Lines of a JSON Lines input that are asked together; the engine reads and writes them as one batch."""
AT_ONCE_REMOTE = 2
"""As many as a playground gives its guests."""


def infer(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION]", help="The question.", show_default=False)
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="A file with the JSON (- is stdin).", show_default=False),
    ] = None,
    outfile: Annotated[
        Path | None,
        typer.Option("--outfile", "-o", help="Write the JSON there, not to stdout.", show_default=False),
    ] = None,
    model: common.Model = None,
    url: common.Url = None,
    api_key: common.ApiKey = None,
    effort: Annotated[
        ReasoningEffort | None,
        typer.Option(
            "--reasoning-level", "--effort", help="low, medium or high; else the input's.", show_default=False
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The longest reply; else the input's, or 256.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="0 is greedy; else the input's, or 0.7.", show_default=False),
    ] = None,
    seed: common.Seed = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions before those of the input.", show_default=False)
    ] = None,
    data_dir: common.DataDir = None,
) -> None:
    # long because every option is an argument
    """Answer one request, or a file of them, as JSON on stdout.

    The input is {"messages": [...], "max_tokens": 256, "temperature": 0.7, "reasoning_level": "medium"}
    (all but messages may be left out), and the output
    {"response": ..., "analysis": ..., "commentary": ..., "reasoning_level": ...}. Several objects, one to a
    line, give as many lines. stdout holds nothing but the JSON; the status is 2 for an input that cannot be
    asked and 1 for a failure.
    """
    settings = common.settings_or_stop(model=None if url else model, data_dir=data_dir)
    overrides = Overrides(max_tokens, temperature, effort, seed, system)
    try:
        asked = _read(words, source, overrides, settings.date_told())
        _check_outfile(outfile)
    except InputError as error:
        raise common.stop(error, common.WRONG_USE) from None
    if asked.unknown:
        typer.echo(f"Not used: {', '.join(sorted(asked.unknown))}.", err=True)
    try:
        with telling() as tell:
            replies = asyncio.run(_ask(asked, Target(model, url, api_key), settings, tell))
    except BackendError as error:
        raise common.stop(error) from None
    except KeyboardInterrupt:
        raise common.stop("Stopped.", 130) from None
    _give(asked, replies, outfile)


def _read(words: list[str] | None, source: Path | None, overrides: Overrides, today: str) -> Asked:
    """The input, from the one place that has it. Raises InputError."""
    if words and source is not None:
        raise InputError("Give a question or --input, not both.")
    if words:
        return from_words(" ".join(words), overrides, today)
    try:
        if source is not None and str(source) != "-":
            text = source.read_text(encoding="utf-8")
        elif source is None and sys.stdin.isatty():
            raise InputError('There is nothing to ask. Try: python app.py infer "What is 2+2?"')
        else:
            text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("The input is not text in UTF-8.") from None
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from None
    return from_text(text, overrides, today)


def _check_outfile(outfile: Path | None) -> None:
    """Better now than after minutes of work. Raises InputError."""
    if outfile is None:
        return
    folder = outfile.absolute().parent
    if not folder.is_dir() or outfile.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{outfile} cannot be written.")


async def _ask(asked: Asked, target: Target, settings: Settings, tell: Tell) -> list[Collected]:
    async with answering(target, settings, tell) as backend:
        places = asyncio.Semaphore(AT_ONCE if target.url is None else AT_ONCE_REMOTE)
        total, done = len(asked.questions), 0
        tell(f"{backend.model.name} answers")

        async def one(question: Question) -> Collected:
            nonlocal done
            async with places:
                reply = await collect(backend, question)
            done += 1
            if asked.many:
                tell(f"Answered: {done} of {total}")
            return reply

        return await asyncio.gather(*map(one, asked.questions))


def _give(asked: Asked, replies: list[Collected], outfile: Path | None) -> None:
    """Write all that there is. A line that failed says so in its place, so that the others keep theirs."""
    failed = False
    lines: list[str] = []
    for number, (question, reply) in enumerate(zip(asked.questions, replies, strict=True), 1):
        where = f"Line {number}: " if asked.many else ""
        if reply.error is not None:
            failed = True
            typer.echo(f"{where}{reply.error}", err=True)
            lines += [json.dumps({"error": reply.error}, ensure_ascii=False)] if asked.many else []
            continue
        if reply.finish_reason is FinishReason.LENGTH:
            limit = f"{question.max_tokens} tokens" if question.max_tokens else "the context"
            typer.echo(f"{where}The reply was cut at {limit}. --max-tokens gives it more room.", err=True)
        body = {
            "response": reply.text(Channel.FINAL),
            "analysis": reply.text(Channel.ANALYSIS),
            "commentary": reply.text(Channel.COMMENTARY),
            "reasoning_level": str(question.prompt.effort),
        }
        lines.append(json.dumps(body, ensure_ascii=False, indent=None if asked.many else 2))
    _write("".join(line + "\n" for line in lines), outfile)
    if failed:
        raise typer.Exit(common.FAILED)


def _write(text: str, outfile: Path | None) -> None:
    """To stdout, or into a file that is whole or as it was before."""
    if not text:
        return
    if outfile is None:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
        return
    handle, name = tempfile.mkstemp(dir=outfile.absolute().parent, prefix=f".{outfile.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(outfile)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        sys.stdout.buffer.write(text.encode("utf-8"))  # else it would be lost
        raise common.stop(f"{outfile} cannot be written: {error.strerror}. The JSON is on stdout.") from None
