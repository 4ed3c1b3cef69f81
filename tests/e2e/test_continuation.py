"""A reply of the demonstration model that was cut goes on as if it never had been, or answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.served_app import ServedApp

QUESTION = "What is 347 + 586?"
FEW = 12


@pytest.fixture
def person(app: ServedApp) -> Iterator[httpx.Client]:
    with app.person() as person:
        yield person


def reply(person: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A greedy reply at high effort once it is over: conversation, generation, messages, raw."""
    body = {"effort": "high", "temperature": 0, **fields}
    turn = person.post("/api/turns", json=body).raise_for_status().json()
    address = f"/api/generations/{turn['generation']['id']}"
    with person.stream("GET", f"{address}/events") as events:
        for _ in events.iter_lines():
            pass
    over = person.get(address).json()
    raw = person.get(f"{address}/raw").json()
    return {"conversation_id": turn["conversation"]["id"], "raw": raw, **over}


def cut(person: httpx.Client) -> dict[str, Any]:
    """The same reply, ended by its limit in the reasoning."""
    short = reply(person, text=QUESTION, max_tokens=FEW)
    assert short["generation"]["finish_reason"] == "length"
    assert [each["channel"] for each in short["messages"]] == ["analysis"]
    return short


def again(person: httpx.Client, old: dict[str, Any], mode: str) -> dict[str, Any]:
    ids = {"conversation_id": old["conversation_id"], "continue_of": old["generation"]["id"]}
    return reply(person, mode=mode, **ids)


def test_a_reply_that_was_cut_goes_on_to_what_it_would_have_been(person: httpx.Client) -> None:
    whole = reply(person, text=QUESTION)
    assert "933" in whole["messages"][-1]["content"]
    continued = again(person, cut(person), "continue")
    assert continued["raw"] == whole["raw"]
    for old, new in zip(whole["messages"], continued["messages"], strict=True):
        for field in ("channel", "content", "token_count", "complete"):
            assert new[field] == old[field]
    written = continued["generation"]["usage"]["completion"] + continued["generation"]["primed_tokens"]
    assert written == whole["generation"]["usage"]["completion"]
    assert continued["generation"]["primed_tokens"] == FEW


def test_a_reply_that_was_cut_can_answer_at_once(person: httpx.Client) -> None:
    short = cut(person)
    answered = again(person, short, "answer_now")
    assert [each["channel"] for each in answered["messages"]] == ["analysis", "final"]
    assert answered["messages"][0]["content"] == short["messages"][0]["content"]
    assert answered["messages"][1]["content"] != ""
    assert answered["generation"]["finish_reason"] == "stop"
    beginning = short["raw"]["output"] + "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert answered["raw"]["output"].startswith(beginning)
    refused = person.post(
        "/api/turns",
        json={
            "conversation_id": answered["conversation_id"],
            "continue_of": answered["generation"]["id"],
        },
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "cannot_continue")
