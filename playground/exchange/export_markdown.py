"""A conversation as Markdown: its shown path, for reading and for other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from inference.types import Channel, Role
from playground.exchange.transcript import Transcript, Turn
from storage.records import GenerationRecord, GenerationStatus, MessageRecord

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
CLOSING_TAG = re.compile(r"<(?=/?(?:details|summary)\b)", re.IGNORECASE)

ENDINGS = {
    GenerationStatus.CANCELLED: "Stopped before the end.",
    GenerationStatus.FAILED: "Failed before the end.",
    GenerationStatus.INTERRUPTED: "Interrupted before the end.",
    GenerationStatus.QUEUED: "Not answered yet.",
    GenerationStatus.RUNNING: "Still being written.",
}


def markdown(transcript: Transcript) -> str:
    """The whole document."""
    conversation = transcript.conversation
    blocks = [f"# {_one_line(conversation.title)}", f"*{day(conversation.created_at)}*"]
    instructions = conversation.settings.instructions
    if instructions:
        blocks += ["## Instructions", closed(instructions)]
    for turn in transcript.turns:
        blocks += _turn(turn)
    return "\n\n".join(blocks) + "\n"


def _turn(turn: Turn) -> Iterator[str]:
    if turn.question is not None:
        yield "## Question"
        yield closed(turn.question.content)
    if turn.generation is None and not turn.messages:
        return
    yield "## Reply"
    if turn.generation is not None:
        yield f"*{made_by(turn.generation)}*"
    for message in turn.messages:
        yield _message(message)
    ending = ending_of(turn.generation)
    if ending:
        yield f"*{ending}*"


def _message(message: MessageRecord) -> str:
    if message.role is Role.TOOL:
        return _folded(f"Result of {message.name}", fenced(message.content))
    if message.recipient is not None:
        language = "json" if message.content_type == "json" else ""
        return _folded(f"Call of {message.recipient}", fenced(message.content, language))
    if message.channel is Channel.ANALYSIS:
        return _folded("Reasoning", CLOSING_TAG.sub("&lt;", closed(message.content)))
    return closed(message.content)


def _folded(summary: str, body: str) -> str:
    return f"<details>\n<summary>{_one_line(summary)}</summary>\n\n{body}\n\n</details>"


def fenced(text: str, language: str = "") -> str:
    """The text as a block of code, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def closed(text: str) -> str:
    """The text, with a block of code that it leaves open closed, so that what follows is not swallowed."""
    fence = ""
    for line in text.splitlines():
        found = FENCE.match(line)
        if found is None:
            continue
        if not fence:
            fence = found[1] if found[1][0] == "~" or "`" not in found[2] else ""
        elif found[1].startswith(fence) and not found[2].strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text


def made_by(generation: GenerationRecord) -> str:
    """Which model wrote a reply, and how."""
    effort = f"{generation.effort} effort"
    return f"{_one_line(generation.model)} · {effort}" if generation.model else effort


def ending_of(generation: GenerationRecord | None) -> str:
    """Why a reply is not whole; empty for one that is."""
    return "" if generation is None else ENDINGS.get(generation.status, "")


def day(value: datetime) -> str:
    """The date as people read it everywhere."""
    return value.astimezone(UTC).date().isoformat()


def _one_line(text: str) -> str:
    """Text that stands inside of a heading or a tag."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
