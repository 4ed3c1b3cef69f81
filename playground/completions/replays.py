"""Replies that called functions, kept for when the client comes back with the results.

The client gives back text. What the model reads must be the ids that it wrote: written anew, its own call
looks strange to it, and its reasoning may be missing.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inference.types import Message
from inference.vocabulary import END, RETURN, START

MOST_IDS = 1_000_000
"""So many ids, or characters of messages without ids, are kept of all owners: at most about 40 MB."""
NO_ARGUMENTS = "{}"
"""What clients, which parse it, are given where the model wrote no arguments at all."""

REWRITTEN, BLANKS = 20, 1_000
"""A text that means the same is at most so many times as long, and so much: with other escapes and blanks."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The messages of a reply, with the ids of each, and the ids of its calls by the messages' places."""

    messages: tuple[Message, ...]
    calls: Mapping[int, str]

    def has_call(self, call_id: str, recipient: str, arguments: str) -> bool:
        """Whether the reply made this very call; a client may have changed it."""
        return any(
            call == call_id
            and self.messages[place].recipient == recipient
            and _same(self.messages[place].content, arguments)
            for place, call in self.calls.items()
        )


class Replays:
    """The latest replies with calls, by owner and call. Belongs to one event loop."""

    def __init__(self, most_ids: int = MOST_IDS) -> None:
        self._most = most_ids
        self._size = 0
        self._kept: OrderedDict[tuple[str, str], Replay] = OrderedDict()

    def keep(self, owner_id: str, replay: Replay) -> None:
        """Remember a reply under each of its calls; the oldest ones make room."""
        for call_id in replay.calls.values():
            self._kept[owner_id, call_id] = replay
            self._size += _size(replay)
        while self._size > self._most and self._kept:
            self._size -= _size(self._kept.popitem(last=False)[1])

    def find(self, owner_id: str, call_id: str) -> Replay | None:
        """The reply that made this call."""
        return self._kept.get((owner_id, call_id))


def with_ids(messages: Sequence[Message], output_ids: Sequence[int], start: Sequence[int]) -> list[Message]:
    """The messages of a reply, each with the ids that it was written with, where they are sound.

    ``output_ids`` are all ids of the reply and ``start`` those of ``<|start|>assistant``, which the prompt
    ended with. An answer's ``<|return|>`` becomes ``<|end|>``, as in every history. Where anything had to be
    mended, or was cut, the messages stay without ids.
    """
    pieces: list[list[int]] = [list(start)]
    for token in output_ids:
        if token == START and pieces[-1][-1:] == [END]:
            pieces.append([])
        pieces[-1].append(END if token == RETURN else token)
    if len(pieces) != len(messages) or any(message.recovered for message in messages):
        return list(messages)
    return [replace(message, written=tuple(ids)) for message, ids in zip(messages, pieces, strict=True)]


def _size(replay: Replay) -> int:
    return sum(len(message.written) or len(message.content) for message in replay.messages) + 1


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    if len(other) > REWRITTEN * len(one) + BLANKS:
        return False
    try:
        return bool(json.loads(one.strip() or NO_ARGUMENTS) == json.loads(other.strip() or NO_ARGUMENTS))
    except (ValueError, RecursionError):
        return False
