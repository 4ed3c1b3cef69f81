"""ChatGPT's export: a tree of nodes under ``mapping``, of which only some hold a message that was seen.

A node that is not taken (empty, hidden, of a tool that is not here) is passed over: what hangs on it hangs on
the node before it. Every way from a question to the next question, or to an end, becomes one reply; where
such ways part in the middle of a reply, each keeps its own copy of the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inference.message_rules import PYTHON
from inference.types import Channel, Message, Role
from playground.exchange.import_draft import (
    Allowance,
    DraftBuilder,
    Imported,
    LeftOut,
    Part,
    answer_parts,
    model_name,
)
from playground.exchange.moments import moment
from playground.exchange.refused import named

ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
NOTES = frozenset(
    (
        "reasoning_recap",
        "model_editable_context",
        "user_editable_context",
        "system_error",
        "app_pairing_content",
    )
)
FOREIGN = frozenset(("tether_quote", "tether_browsing_display", "sonic_webpage", "computer_output"))


@dataclass(eq=False)
class _Way:
    """The reply so far: its question, and the parts since it. ``end`` is its last key once stored."""

    question: str | None
    before: _Way | None = None
    parts: list[Part] = field(default_factory=list)
    model: str = ""
    end: str | None = None
    goes_on: bool = False

    def all_parts(self) -> list[Part]:
        """From the first to the last."""
        pieces: list[list[Part]] = []
        way: _Way | None = self
        while way is not None:
            pieces.append(way.parts)
            way = way.before
        return [part for piece in reversed(pieces) for part in piece]


def from_chatgpt(value: dict[str, Any], allowance: Allowance, now: datetime) -> Imported:
    """One conversation of ``conversations.json``.

    Raises:
        ImportRefused: the tree has a loop or an orphan, a role does not exist, or a value has the wrong type.
    """
    title = value.get("title")
    title = title if isinstance(title, str) else ""
    builder = DraftBuilder("ChatGPT", title or "without a title", allowance, now)
    mapping = value.get("mapping")
    if not isinstance(mapping, dict):
        raise builder.refuse("has no tree of messages.")
    children = _tree(builder, mapping)
    walk = _Walk(builder, mapping, children, value.get("current_node"))
    walk.run()
    created = moment(value.get("create_time"))
    return builder.finish(title, walk.instructions, created, walk.leaf)


def _tree(builder: DraftBuilder, mapping: dict[str, Any]) -> dict[str | None, list[str]]:
    """The ids below each id, in order; those of the roots below None.

    Raises:
        ImportRefused: parents and children contradict each other, or not every node hangs on a root.
    """
    listed: dict[str | None, list[str]] = {None: []}
    for key, node in mapping.items():
        parent = node.get("parent") if isinstance(node, dict) else 0
        below = node.get("children", []) if isinstance(node, dict) else None
        if not (parent is None or isinstance(parent, str)) or not isinstance(below, list):
            raise builder.refuse("has a node of the wrong type.")
        if node.get("id", key) != key:
            raise builder.refuse("has a node with two ids.")
        if parent is None:
            listed[None].append(key)
        elif parent not in mapping:
            raise builder.refuse("has a message that hangs on one which is not there.")
        listed[key] = below
    for key in mapping:
        below = listed[key]
        for child in below:
            if not isinstance(child, str) or child not in mapping or mapping[child].get("parent") != key:
                raise builder.refuse("has a tree whose parents and children contradict each other.")
        if len(set(below)) != len(below):
            raise builder.refuse("has a message that hangs twice on the same one.")
    # Every node but the roots now hangs on one other; what no root leads to is an orphan or in a loop.
    reached, pending = 0, list(listed[None])
    while pending:
        reached += 1
        pending.extend(listed[pending.pop()])
    if reached != len(mapping):
        raise builder.refuse("has messages in a loop, or without a way to the first one.")
    return listed


class _Walk:
    """One pass over the tree, parents first, siblings in their order. No recursion: chats are deep."""

    def __init__(
        self,
        builder: DraftBuilder,
        mapping: dict[str, Any],
        children: dict[str | None, list[str]],
        current: Any,
    ) -> None:
        self.builder = builder
        self.mapping = mapping
        self.children = children
        self.current = current
        self.instructions: list[str] = []
        self.leaf: str | None = None
        self._shown: _Way | None = None
        self._loose: list[_Way] = []

    def run(self) -> None:
        """Store every question and every reply."""
        start = _Way(None)
        pending = [(key, start) for key in reversed(self.children[None])]
        while pending:
            key, way = pending.pop()
            way = self._node(key, way)
            if key == self.current:
                self._shown = way
            pending.extend((child, way) for child in reversed(self.children[key]))
        for way in self._loose:
            if not way.goes_on:
                self._store(way)
        if self._shown is not None:
            self.leaf = self._shown.end or self._shown.question

    def _node(self, key: str, way: _Way) -> _Way:
        """Take one node; the way on which its children go on."""
        message = self.mapping[key].get("message")
        role, texts = (None, None) if message is None else self._read(message)
        if role == "user" and texts is not None:
            at = moment(message.get("create_time"))
            question = self.builder.question(self._store(way), texts, at)
            if question is not None:
                return _Way(question)
        parts = [] if role is None or role == "user" else self._parts(message, role)
        if parts and way.question is None:
            self.builder.leave_out(LeftOut.EARLY)
            parts = []
        if parts:
            way.goes_on = True
            model = self._model(message) or way.model
            way = _Way(way.question, way, parts, model)
        if not self.children[key]:
            if parts:
                self._store(way)
            else:
                self._loose.append(way)
        return way

    def _store(self, way: _Way) -> str | None:
        """Make the way a reply, once; the key that a question below it hangs on."""
        if way.end is None and way.question is not None:
            parts = way.all_parts()
            way.end = self.builder.reply(way.question, parts, way.model) if parts else way.question
        return way.end

    def _read(self, message: Any) -> tuple[str | None, str | None]:
        """Role and, of a question, text; (None, None) for what is not taken."""
        builder = self.builder
        author = message.get("author") if isinstance(message, dict) else None
        role = author.get("role") if isinstance(author, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            raise builder.refuse(f"has a message with the role {named(role)}, which no message can have.")
        content = message.get("content")
        if content is not None and not isinstance(content, dict):
            raise builder.refuse("has a message whose content has the wrong type.")
        hidden = _metadata(message).get("is_visually_hidden_from_conversation") is True
        if hidden or message.get("weight") == 0:
            if content and any(_strings(content)):
                builder.leave_out(LeftOut.HIDDEN)
            return None, None
        return (role, self._text(content or {})) if role == "user" else (role, None)

    def _parts(self, message: dict[str, Any], role: str) -> list[Part]:
        """The messages of harmony that an assistant's or a tool's node gives."""
        content: dict[str, Any] = message.get("content") or {}
        kind = str(content.get("content_type"))
        at = moment(message.get("create_time"))
        if role in {"system", "developer"}:
            text = self._text(content)
            if text.strip():
                self.instructions.append(text)
            return []
        if kind in NOTES:
            self.builder.leave_out(LeftOut.NOTES)
            return []
        if kind in FOREIGN:
            self.builder.leave_out(LeftOut.FOREIGN_TOOLS)
            return []
        if role == "tool":
            return self._result(message, content, at)
        return self._said(message, content, at)

    def _said(self, message: dict[str, Any], content: dict[str, Any], at: datetime | None) -> list[Part]:
        """What the assistant wrote: reasoning, a call of python, or an answer."""
        recipient = message.get("recipient", "all")
        kind = content.get("content_type")
        if kind == "thoughts":
            thoughts = "\n\n".join(self._thoughts(content))
            return answer_parts(self.builder, thoughts, "", at)
        text = self._text(content)
        if not text.strip():
            return []
        if recipient == PYTHON:
            call = Message(Role.ASSISTANT, self.builder.clean(text), Channel.COMMENTARY, recipient=PYTHON)
            return [Part(call, at)]
        if recipient not in (None, "all"):
            self.builder.leave_out(LeftOut.FOREIGN_TOOLS)
            return []
        channel = message.get("channel")
        if channel == Channel.ANALYSIS:
            return answer_parts(self.builder, text, "", at)
        if kind == "code":
            text = f"```\n{text}\n```"
        complete = message.get("status") in (None, "finished_successfully")
        known = Channel.COMMENTARY if channel == Channel.COMMENTARY else Channel.FINAL
        return [Part(Message(Role.ASSISTANT, self.builder.clean(text), known), at, complete)]

    def _result(self, message: dict[str, Any], content: dict[str, Any], at: datetime | None) -> list[Part]:
        """What python printed; other tools are not here."""
        text = self._text(content)
        if message["author"].get("name") != PYTHON:
            if text.strip():
                self.builder.leave_out(LeftOut.FOREIGN_TOOLS)
            return []
        result = Message(Role.TOOL, self.builder.clean(text), Channel.COMMENTARY, "assistant", PYTHON)
        return [Part(result, at)]

    def _thoughts(self, content: dict[str, Any]) -> Iterator[str]:
        thoughts = content.get("thoughts")
        if not isinstance(thoughts, list):
            raise self.builder.refuse("has reasoning of the wrong type.")
        for thought in thoughts:
            text = thought.get("content") or thought.get("summary") if isinstance(thought, dict) else thought
            if not isinstance(text, str):
                raise self.builder.refuse("has reasoning of the wrong type.")
            yield text

    def _text(self, content: dict[str, Any]) -> str:
        """The text of a message; pictures and recordings leave a mark of their place."""
        if "parts" not in content:
            text = content.get("text", content.get("result", ""))
            if not isinstance(text, str):
                raise self.builder.refuse("has a message whose text has the wrong type.")
            if content.get("content_type") not in ("text", "code", "execution_output", None):
                self.builder.leave_out(LeftOut.UNKNOWN)
            return text
        parts = content["parts"]
        if not isinstance(parts, list):
            raise self.builder.refuse("has a message whose parts are not a list.")
        return "\n\n".join(filter(None, map(self._part, parts)))

    def _part(self, part: Any) -> str:
        if isinstance(part, str):
            return part
        if not isinstance(part, dict):
            raise self.builder.refuse("has a message with a part of the wrong type.")
        if isinstance(part.get("text"), str):  # what was said in a recording
            return str(part["text"])
        if "image" in str(part.get("content_type")):
            self.builder.leave_out(LeftOut.IMAGES)
            return "[image]"
        self.builder.leave_out(LeftOut.FILES)
        return "[file]"

    @staticmethod
    def _model(message: dict[str, Any]) -> str:
        return model_name(_metadata(message).get("model_slug"))


def _metadata(message: dict[str, Any]) -> dict[str, Any]:
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _strings(content: dict[str, Any]) -> Iterator[str]:
    """The text in a content that is not taken, for the report alone."""
    parts = content.get("parts")
    for value in (*(parts if isinstance(parts, list) else ()), content.get("text")):
        if isinstance(value, str) and value.strip():
            yield value
