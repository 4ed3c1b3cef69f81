"""Bodies with very many faults are refused for the first of them, and the others are not even collected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from playground.api.bodies import TurnBody
from playground.api.openai.chat_body import ChatBody
from playground.api.openai.notes import MOST_NOTES, Notes
from playground.responses.body import ResponseBody
from tests.playground.world import running

MANY = 20_000
STRANGE = {f"key {number}": 1 for number in range(MANY)}
MESSAGES = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (TurnBody, {"text": "x", **STRANGE}),
        (TurnBody, {"text": "x", "settings": STRANGE}),
        (TurnBody, {"text": "x", "functions": [{"a": 1}] * MANY}),
        (TurnBody, {"text": "x", "operator_functions": [1] * MANY}),
        (TurnBody, {"results": [1] * MANY}),
        (ChatBody, {"messages": [1] * MANY}),
        (ChatBody, {"messages": MESSAGES, "tools": [1] * MANY}),
        (ChatBody, {"messages": MESSAGES, "stop": [1] * MANY}),
        (ResponseBody, {"input": "x", "tools": [1] * MANY}),
        (ResponseBody, {"input": "x", "include": [1] * MANY}),
        (ResponseBody, {"input": "x", "metadata": STRANGE}),
    ],
)
def test_only_the_first_fault_is_looked_at(model: type[BaseModel], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    assert refused.value.error_count() <= 2


@pytest.mark.parametrize("count", [1, MANY])
async def test_the_first_strange_key_is_named_however_many_there_are(tmp_path: Path, count: int) -> None:
    body = {"text": "x", **{f"key {number}": 1 for number in range(count)}}
    async with running(tmp_path) as world, world.browser() as browser:
        refused = await browser.post("/api/turns", json=body)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_parameter", "key 0")
    assert error["message"] == "key 0 is not a parameter here."


def test_notes_end_where_they_are_full() -> None:
    notes = Notes()
    notes.ignored(STRANGE, {})
    for number in range(MANY):
        notes.unread({"strange": 1}, (), f"messages.{number}x")
    assert len(notes.items) == MOST_NOTES
    assert len(notes._unread) == 0
