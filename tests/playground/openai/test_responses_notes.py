"""What ``/v1/responses`` names as ignored: nothing that a client says is dropped in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.playground.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP by hand."""
    async with world.browser() as browser:
        yield browser


def named(answer: dict[str, Any]) -> list[str]:
    """The parameters that have a note."""
    return [note["param"] for note in answer["playground"]["notes"]]


async def test_what_is_not_read_of_an_item_is_named(browser: httpx.AsyncClient) -> None:
    part = {"type": "input_text", "text": "Hello", "prompt_cache_breakpoint": True, "annotations": []}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "rain", "arguments": "{}"}
    items = [
        {"type": "message", "role": "user", "content": [part], "mood": "good", "colour": None},
        {**call, "status": "completed", "namespace": "weather"},
        {"type": "function_call_output", "call_id": "c1", "output": [part], "status": "completed"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "So."}]},
        {"role": "user", "content": "Go on"},
    ]
    made = (await browser.post("/v1/responses", json={"input": items})).json()
    assert named(made) == [
        "input[0].mood",
        "input[0].content[0].prompt_cache_breakpoint",
        "input[1].namespace",
        "input[2].output[0].prompt_cache_breakpoint",
    ]
    again = {"previous_response_id": made["id"], "input": "And now?"}
    assert named((await browser.post("/v1/responses", json=again)).json()) == []


async def test_what_an_address_asks_in_vain_is_named(world: World, browser: httpx.AsyncClient) -> None:
    made = (await browser.post("/v1/responses", json={"input": "x"})).json()
    address = f"/v1/responses/{made['id']}"
    assert (await browser.get(address)).json() == made
    found = (await browser.get(f"{address}?include[]=message.output_text.logprobs&colour=red")).json()
    assert named(found) == ["include", "colour"]
    listed = (await browser.get(f"{address}/input_items?include=x&limit=1")).json()
    assert named(listed) == ["include"]
    assert named((await browser.get(address)).json()) == []


async def test_the_sdk_may_ask_for_more(world: World) -> None:
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none") as client:
        made = await client.responses.create(model="default", input="x")
        found = await client.responses.retrieve(made.id, include=["message.output_text.logprobs"])
        assert found.output_text == made.output_text
        items = [item async for item in await client.responses.input_items.list(made.id)]
        assert len(items) == 1
