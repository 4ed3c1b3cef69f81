"""What every importer builds: a conversation for the store, and an account of what could not be taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from inference.errors import HarmonyFormatError
from inference.message_rules import checked_messages
from inference.types import Channel, Message, Role
from playground.api.bodies import INSTRUCTIONS_CHARS, TITLE_CHARS
from playground.exchange.refused import ImportRefused, named
from playground.text import says_something, title_from
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.records import ChatSettings

MESSAGES = 100_000
TEXT_CHARS = 1_000_000
MODEL_CHARS = 200
UNTITLED = "Imported conversation"
THINKING = re.compile(r"\s*<(think|thinking)>(.*?)(?:</\1>|\Z)", re.DOTALL)


class LeftOut(Enum):
    """What an import may leave out, in the words of the report for one and for several of them."""

    IMAGES = ("an image", "images")
    FILES = ("a recording or file", "recordings or files")
    HIDDEN = ("a hidden message", "hidden messages")
    FOREIGN_TOOLS = (
        "a message of a tool that this playground does not have",
        "messages of tools that this playground does not have",
    )
    NOTES = ("a note of the other program", "notes of the other program")
    UNKNOWN = ("a message of an unknown kind", "messages of an unknown kind")
    EMPTY = ("an empty message", "empty messages")
    EARLY = ("a reply without a question before it", "replies without a question before them")
    LATE_INSTRUCTIONS = (
        "an instruction in the middle of the conversation",
        "instructions in the middle of the conversation",
    )


@dataclass(frozen=True)
class Imported:
    """One conversation of the file. ``draft`` is None where nothing of it could be taken."""

    source: str
    title: str
    draft: ConversationDraft | None
    taken: int
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a reply."""

    message: Message
    at: datetime | None
    complete: bool = True


@dataclass
class Allowance:
    """How many messages the file may still bring."""

    left: int = MESSAGES

    def take(self) -> None:
        """One more message.

        Raises:
            ImportRefused: there were enough.
        """
        self.left -= 1
        if self.left < 0:
            raise ImportRefused(f"This file holds more than {MESSAGES:,} messages.")


@dataclass
class DraftBuilder:
    """Collects the tree of one conversation of another program's file.

    ``label`` names the conversation in refusals.
    """

    source: str
    label: str
    allowance: Allowance
    now: datetime
    nodes: list[MessageNode] = field(default_factory=list)
    missing: Counter[LeftOut] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    replies: int = 0

    def refuse(self, sentence: str) -> ImportRefused:
        """A refusal that names the conversation."""
        return ImportRefused(f"The conversation {named(self.label)} {sentence}")

    def leave_out(self, what: LeftOut, count: int = 1) -> None:
        """Note that something was not taken."""
        self.missing[what] += count

    def clean(self, text: str) -> str:
        """The text as it can be stored.

        Raises:
            ImportRefused: it is far too long, or holds half of a character pair.
        """
        if len(text) > TEXT_CHARS:
            raise self.refuse(f"holds a message of more than {TEXT_CHARS:,} characters.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise self.refuse("holds a broken character.") from None
        if "\x00" in text:
            self._remark("Characters that cannot be stored were replaced by �.")
            text = text.replace("\x00", "\ufffd")
        return text

    def question(self, parent: str | None, text: str, at: datetime | None) -> str | None:
        """Add what the user wrote; None where it says nothing."""
        if not says_something(text):
            self.leave_out(LeftOut.EMPTY)
            return None
        return self._add(parent, Message(Role.USER, self.clean(text)), at)

    def reply(self, question: str, parts: Sequence[Part], model: str) -> str:
        """Add one reply, a chain of messages; the key of the last one."""
        self.replies += 1
        times = [part.at for part in parts if part.at is not None] or [self.now]
        generation = GenerationDraft(
            key=f"g{self.replies}",
            model=model,
            created_at=times[0],
            started_at=times[0],
            finished_at=max(times),
        )
        key = question
        for part in parts:
            key = self._add(key, part.message, part.at, generation, part.complete)
        return key

    def _add(
        self,
        parent: str | None,
        message: Message,
        at: datetime | None,
        generation: GenerationDraft | None = None,
        complete: bool = True,
    ) -> str:
        self.allowance.take()
        key = f"m{len(self.nodes) + 1}"
        try:
            [message] = checked_messages([message])
        except HarmonyFormatError as error:
            raise self.refuse(f"cannot be taken: {error}") from None
        self.nodes.append(MessageNode(key, parent, message, at or self.now, generation, complete))
        return key

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def finish(
        self,
        title: str,
        instructions: Sequence[str] = (),
        created_at: datetime | None = None,
        leaf: str | None = None,
    ) -> Imported:
        """The whole conversation and its report."""
        wanted = "\n\n".join(text for text in instructions if text.strip())
        if len(wanted) > INSTRUCTIONS_CHARS:
            self._remark(f"Instructions of more than {INSTRUCTIONS_CHARS:,} characters were left out.")
            wanted = ""
        name = self._title(title)
        draft = None
        if self.nodes:
            draft = ConversationDraft(
                title=name,
                settings=ChatSettings(instructions=self.clean(wanted) or None),
                created_at=created_at or min(node.created_at for node in self.nodes),
                nodes=tuple(self.nodes),
                leaf_key=leaf,
                title_by_hand=bool(title.strip()),
            )
        else:
            self._remark("It holds no question, so it was not taken.")
        return Imported(self.source, name, draft, len(self.nodes), self._account())

    def _title(self, title: str) -> str:
        name = " ".join(self.clean(title[:TEXT_CHARS]).split())
        if len(name) > TITLE_CHARS:
            self._remark(f"The title had more than {TITLE_CHARS} characters and was shortened.")
            name = name[: TITLE_CHARS - 1] + "…"
        return name or (title_from(self.nodes[0].message.content) if self.nodes else UNTITLED)

    def _account(self) -> list[str]:
        sentences = []
        for what, count in self.missing.items():
            one, several = what.value
            sentences.append(
                f"{one[0].upper()}{one[1:]} was left out."
                if count == 1
                else f"{count:,} {several} were left out."
            )
        return sentences + self.remarks


def thinking_apart(text: str) -> tuple[str, str, bool]:
    """Reasoning in a ``<think>`` block at the start, what follows it, and whether the block ends."""
    found = THINKING.match(text)
    if found is None:
        return "", text, True
    closed = found.end() > found.end(2)
    return found[2].strip(), text[found.end() :].lstrip(), closed


def answer_parts(builder: DraftBuilder, reasoning: str, text: str, at: datetime | None) -> list[Part]:
    """A reply's reasoning and answer, each where there is one; a ``<think>`` block counts as reasoning."""
    block, rest, closed = thinking_apart(text)
    parts = []
    for thought, complete in ((reasoning, True), (block, closed)):
        if thought.strip():
            message = Message(Role.ASSISTANT, builder.clean(thought), Channel.ANALYSIS)
            parts.append(Part(message, at, complete))
    if rest.strip():
        parts.append(Part(Message(Role.ASSISTANT, builder.clean(rest), Channel.FINAL), at))
    return parts


def model_name(value: object) -> str:
    """A model's name as another program gave it; empty where it is none."""
    if not isinstance(value, str) or len(value) > MODEL_CHARS or not value.isprintable():
        return ""
    return value
