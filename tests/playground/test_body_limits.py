"""Counting the values of a body without parsing it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from playground.body_limits import BodyLimits, has_too_many_values

texts = st.text(st.sampled_from('a,[]{}":\\\n\u00e9\U0001f600'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


def strings_of(value: Any) -> int:
    """Strings in a value, keys included."""
    if isinstance(value, dict):
        return len(value) + sum(map(strings_of, value.values()))
    return sum(map(strings_of, value)) if isinstance(value, list) else isinstance(value, str)


def marks_of(value: Any) -> int:
    """Lists and objects, and the commas in them."""
    if not isinstance(value, list | dict):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(marks_of, parts))


@given(values, st.integers(0, 30), st.booleans())
def test_it_counts_what_a_parser_would_make(value: Any, most: int, plain: bool) -> None:
    body = json.dumps(value, ensure_ascii=plain).encode()
    expected = strings_of(value) > most or marks_of(value) > most
    assert has_too_many_values(body, most) is expected


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'"' + b"," * 50, False),
        (b'"' + b'\\"' * 50, False),
        (b"\\" * 50, False),
        (b'"' * 50, True),
        (b"[" * 50, True),
        (b"]" * 50, False),
        (b'"\\' + b'",' * 50, True),
        (b"", False),
        (('["\u0122", ' + "[]," * 50 + "[]]").encode("utf-16-le"), True),
        ('["\u0122", [], [], []]'.encode("utf-16-le"), False),
    ],
)
def test_what_is_no_json_is_counted_as_far_as_a_parser_would_read(body: bytes, found: bool) -> None:
    assert has_too_many_values(body, most=10) is found


SCOPE: Scope = {"type": "http", "method": "POST", "path": "/api/turns", "headers": []}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


class Client:
    """Sends these pieces of a body, and notes what is answered."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.answers: list[Message] = []

    async def receive(self) -> Message:
        body = self.pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.pieces)}

    async def send(self, message: Message) -> None:
        self.answers.append(message)


async def test_what_comes_once_the_answer_has_begun_ends_the_request_quietly() -> None:
    client = Client(b"[" * 2_000_001)
    seen: list[Message] = []

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        seen.append(await receive())

    await BodyLimits(streams)(SCOPE, client.receive, client.send)
    assert (seen, client.answers) == ([{"type": "http.disconnect"}], [START])


@pytest.mark.parametrize("answers_first", [True, False])
async def test_no_piece_of_a_body_is_kept_while_its_answer_is_made(answers_first: bool) -> None:
    pieces = [b"[" * 1_000, b"x" * 1_000]
    before = [sys.getrefcount(piece) for piece in pieces]
    client = Client(*pieces)
    kept: list[int] = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        if answers_first:
            await send(START)
        for _ in range(len(pieces)):
            await receive()
        kept.extend(sys.getrefcount(piece) for piece in pieces)

    await BodyLimits(reads)(SCOPE, client.receive, client.send)
    assert kept == before
