"""What ``/v1/responses`` refuses, with OpenAI's error, and before anything runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.playground.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP by hand."""
    async with world.browser() as browser:
        yield browser


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role"),
        ({"input": [{"text": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": {}, "text": "x"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": "x", "more": "\ud800"}]}, "input"),
        ({"input": [{"type": "item_reference"}, {"role": "user", "content": ["x", 5]}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0]"),
        (
            {"input": [{"type": "function_call", "name": "a b", "call_id": "c", "arguments": ""}]},
            "input[0].name",
        ),
        ({"input": "x", "background": True, "store": False}, "background"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice"),
        ({"input": "x", "temperature": 3}, "temperature"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "top_logprobs": 21}, "top_logprobs"),
        ({"input": "x", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "prompt": {"id": "p"}}, "prompt"),
        ({"input": "x", "text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"input": "x", "tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"input": "x", "metadata": {"a": 5}}, "metadata.a"),
    ],
)
async def test_what_makes_no_sense_is_refused(browser: httpx.AsyncClient, body: Any, param: str) -> None:
    headers = {"content-type": "application/json"}
    answer = await browser.post("/v1/responses", content=json.dumps(body), headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == (404 if param == "input[0]" and "reference" in str(body) else 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


async def test_nothing_ran_and_nothing_is_stored(world: World) -> None:
    """All of the above, and no request came to the model."""
    assert world.engine.requests == []
