"""Small files of every format that can be imported, and a short way to read one."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import Any

from inference.types import Message
from playground.exchange.import_draft import Imported
from playground.exchange.import_file import read_file
from storage.drafts import ConversationDraft

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def read(content: Any) -> list[Imported]:
    """What a file gives; anything but bytes is written as JSON first."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with TemporaryFile() as file:
        file.write(data)
        return read_file(file, NOW)


def drafts(content: Any) -> list[ConversationDraft]:
    """The conversations of a file that all can be taken."""
    found = [each.draft for each in read(content)]
    assert None not in found
    return [draft for draft in found if draft is not None]


def shown(draft: ConversationDraft) -> list[Message]:
    """The messages from the first to the leaf."""
    by_key = {node.key: node for node in draft.nodes}
    path = []
    key = draft.leaf_key
    while key is not None:
        path.append(by_key[key].message)
        key = by_key[key].parent_key
    return path[::-1]


def texts(draft: ConversationDraft) -> list[tuple[str, str]]:
    """Role or channel, and text, of the shown path."""
    return [(message.channel or message.role, message.content) for message in shown(draft)]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with these files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def node(
    key: str,
    parent: str | None,
    children: list[str],
    role: str = "",
    text: str | dict[str, Any] = "",
    **fields: Any,
) -> dict[str, Any]:
    """One node of ChatGPT's tree; without a role it holds no message."""
    content = {"content_type": "text", "parts": [text]} if isinstance(text, str) else text
    author = {"role": role, "name": fields.pop("name", None), "metadata": {}}
    message = {
        "id": key,
        "author": author,
        "create_time": 1_700_000_000.25,
        "content": content,
        "status": "finished_successfully",
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **fields,
    }
    return {"id": key, "message": message if role else None, "parent": parent, "children": children}


def chatgpt(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """One conversation of ChatGPT's export; the last node is the shown one."""
    return {
        "title": "Sums",
        "create_time": 1_700_000_000.5,
        "mapping": {each["id"]: each for each in nodes},
        "current_node": nodes[-1]["id"],
        **fields,
    }


PLAIN_CHATGPT = chatgpt(
    node("root", None, ["s"]),
    node("s", "root", ["q"], "system", "", weight=0.0),
    node("q", "s", ["t"], "user", "What is 1 + 1?"),
    node(
        "t", "q", ["a"], "assistant", {"content_type": "thoughts", "thoughts": [{"content": "One and one."}]}
    ),
    node("a", "t", [], "assistant", "It is 2.", metadata={"model_slug": "gpt-5"}),
)
OWN: dict[str, Any] = {
    "format": "gpt-oss-playground",
    "version": 1,
    "exported_at": "2026-02-01T10:00:00.000+00:00",
    "reasoning": True,
    "conversations": [
        {
            "title": "Sums",
            "created_at": "2026-01-01T10:00:00Z",
            "updated_at": "2026-01-02T10:00:00Z",
            "shown": "m3",
            "messages": [
                {"key": "m1", "role": "user", "content": "1 + 1?", "created_at": "2026-01-01T10:00:00Z"},
                {
                    "key": "m2",
                    "parent": "m1",
                    "generation": "g1",
                    "role": "assistant",
                    "channel": "analysis",
                    "content": "Two.",
                    "created_at": "2026-01-01T10:00:01Z",
                },
                {
                    "key": "m3",
                    "parent": "m2",
                    "generation": "g1",
                    "role": "assistant",
                    "channel": "final",
                    "content": "2",
                    "created_at": "2026-01-01T10:00:02Z",
                },
            ],
            "generations": [
                {
                    "key": "g1",
                    "question": "m1",
                    "status": "finished",
                    "effort": "high",
                    "temperature": 0.5,
                    "top_p": 0.9,
                    "seed": 7,
                    "max_tokens": 100,
                    "model": "demo",
                    "usage": {"prompt": 10, "completion": 8, "reasoning": 3, "final": 1},
                    "timings": {"total": 1.5},
                    "created_at": "2026-01-01T10:00:00Z",
                }
            ],
        }
    ],
}
