"""``/v1/responses`` by the SDK and by hand, on the scripted engine: every event, and what is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types.responses import Response
from pydantic import BaseModel

from inference.types import GenerationRequest
from tests.playground.openai.response_stream import checked, read_events, stream_of
from tests.playground.scripted import DRAWN_SEED, Script
from tests.playground.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOK = {
    "type": "function",
    "name": "find_tide",
    "description": "The tide of a harbour.",
    "parameters": {
        "type": "object",
        "properties": {"harbour": {"type": "string"}},
        "required": ["harbour"],
        "additionalProperties": False,
    },
}
CALLING = Script(
    [
        ("analysis", "I need the tide."),
        ("commentary", "I look it up."),
        ("commentary to=functions.find_tide", '{"harbour": "Cuxhaven"}'),
    ]
)


@pytest.fixture(autouse=True)
def ordinary(world: World) -> Iterator[None]:
    """Each test begins with the ordinary script."""
    yield
    world.engine.script = Script()
    world.engine.choose = lambda _: world.engine.script


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP by hand."""
    async with world.browser() as browser:
        yield browser


def prompt_of(world: World, request: GenerationRequest | None = None) -> str:
    """What the model was given last, with its markers."""
    return world.engine.codec.decode((request or world.engine.requests[-1]).prompt_ids)


def by_prompt(world: World, *scripts: Script) -> None:
    """Play one script after the other."""
    left = list(scripts)
    world.engine.choose = lambda _: left.pop(0)


async def test_a_whole_response(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(
        input="What is 12 + 30?",
        model="default",
        instructions="Be brief.",
        reasoning={"effort": "high"},
        max_output_tokens=500,
        temperature=0.5,
        top_p=0.75,
        metadata={"topic": "sums"},
        user="ada",
    )
    checked_again = Response.model_validate(made.model_dump())
    assert made.output_text == "The answer is 42."
    thought, answer = made.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert [(part.type, part.text) for part in thought.content] == [("reasoning_text", "12 + 30 = 42.")]
    assert answer.type == "message"
    assert answer.phase == "final_answer"
    assert (made.status, made.error, made.incomplete_details) == ("completed", None, None)
    assert (made.instructions, made.temperature, made.top_p) == ("Be brief.", 0.5, 0.75)
    assert (made.max_output_tokens, made.metadata, made.user) == (500, {"topic": "sums"}, "ada")
    assert made.reasoning is not None
    assert made.reasoning.effort == "high"
    assert made.usage is not None
    assert made.usage.output_tokens_details.reasoning_tokens == 8
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    extra = made.model_extra or {}
    assert extra["playground"]["notes"] == []
    assert extra["playground"]["settings"]["seed"] == DRAWN_SEED
    assert extra["playground"]["settings"]["max_tokens"] == 500
    assert checked_again.id == made.id
    assert (await client.responses.retrieve(made.id)).model_dump() == made.model_dump()


async def test_a_stream_of_every_kind_of_item(world: World, browser: httpx.AsyncClient) -> None:
    world.engine.script = CALLING
    events = await stream_of(browser, input="How is the tide?", tools=[LOOK])
    kinds = [item["type"] for item in events[-1]["response"]["output"]]
    assert kinds == ["reasoning", "message", "function_call"]
    preamble, call = events[-1]["response"]["output"][1:]
    assert preamble["phase"] == "commentary"
    assert (call["name"], call["arguments"]) == ("find_tide", '{"harbour": "Cuxhaven"}')
    assert call["call_id"].startswith("call_")
    deltas = [event for event in events if event["type"].endswith("arguments.delta")]
    assert len(deltas) > 3
    again = await browser.get(f"/v1/responses/{events[0]['response']['id']}?stream=true")
    assert [_told(event) for event in checked(read_events(again.text))] == [_told(event) for event in events]


def _told(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what is only known once the model has begun."""
    return {name: value for name, value in event.items() if name != "response"}


async def test_the_sdks_own_stream(client: openai.AsyncOpenAI) -> None:
    kinds = []
    async with client.responses.stream(model="default", input="What is 12 + 30?") as stream:
        async for event in stream:
            kinds.append(event.type)
        final = await stream.get_final_response()
    assert final.output_text == "The answer is 42."
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


class Tide(BaseModel):
    """An answer in a shape."""

    harbour: str
    metres: float


async def test_an_answer_is_parsed(world: World, client: openai.AsyncOpenAI) -> None:
    world.engine.script = Script([("final", '{"harbour": "Cuxhaven", "metres": 2.5}')])
    made = await client.responses.parse(model="default", input="The tide?", text_format=Tide)
    assert made.output_parsed == Tide(harbour="Cuxhaven", metres=2.5)
    assert '"metres"' in prompt_of(world)
    assert world.engine.requests[-1].constraint is not None
    async with client.responses.stream(model="default", input="The tide?", text_format=Tide) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == made.output_parsed
    world.engine.script = Script([("final", '{"harbour": "Cuxhaven", "metres": "high"}')])  # deaf to masks
    wanted: Any = {"format": {"type": "json_schema", "name": "x", "schema": Tide.model_json_schema()}}
    wrong = await client.responses.create(model="default", input="The tide?", text=wanted)
    [note] = (wrong.model_extra or {})["playground"]["notes"]
    assert note["param"] == "text.format"
    assert "/metres" in note["message"]


async def test_a_schema_that_cannot_be_kept_is_refused(client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {}, "unevaluatedProperties": False}
    wanted: Any = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="default", input="x", text=wanted)
    assert "unevaluatedProperties" in str(caught.value)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_call_and_its_result(world: World, client: openai.AsyncOpenAI, stored: bool) -> None:
    by_prompt(world, CALLING, Script([("analysis", "2.5 m."), ("final", "It is 2.5 metres.")]))
    tools: Any = [LOOK]
    said: Any = [{"role": "user", "content": "How is the tide?"}]
    first = await client.responses.create(model="default", input=said, tools=tools, store=stored)
    call = first.output[-1]
    assert call.type == "function_call"
    said += [each.model_dump(exclude_none=True) for each in first.output]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": '{"metres": 2.5}'}]
    second = await client.responses.create(model="default", input=said, tools=tools, store=stored)
    assert second.output_text == "It is 2.5 metres."
    written = world.engine.token_ids(CALLING)
    given = list(world.engine.requests[-1].prompt_ids)
    assert any(given[place : place + len(written)] == written for place in range(len(given)))
    assert '<|start|>functions.find_tide to=assistant<|channel|>commentary<|message|>{"metres": 2.5}' in (
        prompt_of(world)
    )


async def test_three_turns(world: World, client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(
        model="default",
        instructions="Only in the first.",
        input=[{"role": "developer", "content": "Always brief."}, {"role": "user", "content": "One?"}],
    )
    assert "Only in the first.\n\nAlways brief." in prompt_of(world)
    second = await client.responses.create(model="default", input="Two?", previous_response_id=first.id)
    third = await client.responses.create(
        model="default",
        input="Three?",
        previous_response_id=second.id,
        instructions="Now this.",
        include=["message.output_text.logprobs"],
    )
    prompt = prompt_of(world)
    assert "Only in the first." not in prompt
    assert "Now this.\n\nAlways brief." in prompt
    assert [each for each in ("One?", "Two?", "Three?") if each in prompt] == ["One?", "Two?", "Three?"]
    assert prompt.count("The answer is 42.") == 2
    assert "12 + 30 = 42." not in prompt
    assert third.previous_response_id == second.id
    with pytest.raises(openai.NotFoundError) as caught:
        await client.responses.create(model="default", input="x", previous_response_id="resp_unknown")
    assert caught.value.code == "previous_response_not_found"
    await client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model="default", input="x", previous_response_id=third.id)


async def test_reasoning_named_by_its_id_alone(world: World, client: openai.AsyncOpenAI) -> None:
    world.engine.script = CALLING
    tools: Any = [LOOK]
    first = await client.responses.create(model="default", input="The tide?", tools=tools)
    thought, _, call = first.output
    assert thought.type == "reasoning"
    assert call.type == "function_call"
    said: Any = [
        {"role": "user", "content": "The tide?"},
        {"type": "reasoning", "id": thought.id, "summary": []},
        {"type": "reasoning", "id": "rs_of_another_server", "summary": []},
        {"type": "item_reference", "id": call.id},
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": [{"type": "input_text", "text": "2 m"}],
        },
    ]
    world.engine.script = Script()
    second = await client.responses.create(model="default", input=said, tools=tools)
    assert "I need the tide." in prompt_of(world)
    assert "<|message|>2 m<|end|>" in prompt_of(world)
    notes = (second.model_extra or {})["playground"]["notes"]
    assert [note["param"] for note in notes] == ["input[2]"]
    listed = await client.responses.input_items.list(second.id, order="asc")
    assert [item.type for item in listed.data] == [
        "message",
        "reasoning",
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    await client.responses.delete(first.id)
    world.engine.script = Script()
    await client.responses.create(model="default", input="And now?", previous_response_id=second.id)
    assert '{"harbour": "Cuxhaven"}' in prompt_of(world)


async def test_what_codex_sends_is_taken_with_notes(browser: httpx.AsyncClient, world: World) -> None:
    tools = [LOOK, {"type": "namespace", "name": "agents", "tools": [LOOK]}, {"type": "web_search"}]
    body: dict[str, Any] = {
        "model": "gpt-oss:20b",
        "input": [
            {
                "type": "message",
                "role": "developer",
                "id": "m1",
                "content": [{"type": "input_text", "text": "One."}],
            },
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Two."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "local_shell_call", "id": "x", "call_id": "y", "action": {}},
        ],
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "prompt_cache_key": "key",
        "client_metadata": {"x": "y"},
        "text": {"verbosity": "low"},
    }
    refused = await browser.post("/v1/responses", json=body)
    assert refused.status_code == 404  # the scripted model has another name
    events = await stream_of(browser, **{**body, "model": None})
    made = events[-1]["response"]
    named = {note["param"] for note in made["playground"]["notes"]}
    assert named == {
        "tools[1]",
        "tools[2]",
        "reasoning.summary",
        "include",
        "client_metadata",
        "text.verbosity",
        "input[3].type",
    }
    assert [tool["name"] for tool in made["tools"]] == ["find_tide"]
    assert "# Instructions\n\nOne.\n\nTwo." in prompt_of(world)
    assert (await browser.get(f"/v1/responses/{made['id']}")).status_code == 404


async def test_a_cut_answer_is_incomplete(browser: httpx.AsyncClient) -> None:
    events = await stream_of(browser, input="x", max_output_tokens=6)
    assert events[-1]["type"] == "response.incomplete"
    made = events[-1]["response"]
    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert made["output"][-1]["status"] == "incomplete"
    answer = await browser.post(
        "/v1/responses", json={"input": "Go on.", "previous_response_id": made["id"], "store": False}
    )
    assert answer.json()["status"] == "completed"


@pytest.mark.parametrize("script", [Script(fail_at=6), Script(crash_at=6)], ids=["fails", "crashes"])
async def test_a_failure_on_the_way(world: World, browser: httpx.AsyncClient, script: Script) -> None:
    world.engine.script = script
    events = await stream_of(browser, input="x")
    assert events[-1]["type"] == "response.failed"
    error = events[-1]["response"]["error"]
    assert error["code"] == "server_error"
    assert "secret" not in json.dumps(events)
    assert (await browser.post("/v1/responses", json={"input": "x"})).json()["status"] == "failed"


async def test_a_refusal_comes_before_the_stream(world: World, browser: httpx.AsyncClient) -> None:
    world.engine.script = Script(refuse_full=True)
    answer = await browser.post("/v1/responses", json={"input": "x", "stream": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")


async def test_a_function_that_cannot_be_strict(browser: httpx.AsyncClient) -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string", "contentEncoding": "base64"}}}
    tool = {"type": "function", "name": "f", "parameters": loose}
    made = (await browser.post("/v1/responses", json={"input": "x", "tools": [tool]})).json()
    assert made["tools"][0]["strict"] is False
    assert [note["param"] for note in made["playground"]["notes"]] == ["tools[0].strict"]
    answer = await browser.post("/v1/responses", json={"input": "x", "tools": [{**tool, "strict": True}]})
    assert answer.status_code == 400
    assert "contentEncoding" in answer.json()["error"]["message"]


async def test_a_call_without_arguments_can_be_parsed_and_comes_back_as_it_was(
    world: World, browser: httpx.AsyncClient
) -> None:
    tool = {"type": "function", "name": "now", "colour": "red"}
    world.engine.script = Script([("analysis", "What time?"), ("commentary to=functions.now", "")])
    made = (await stream_of(browser, input="x", tools=[tool], store=False))[-1]["response"]
    call = made["output"][1]
    assert call["arguments"] == "{}"
    assert [note["param"] for note in made["playground"]["notes"]] == ["tools[0].colour"]
    written = world.engine.requests[-1].prompt_ids
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "noon"}
    world.engine.script = Script()
    said = [{"role": "user", "content": "x"}, call, result]
    answer = await browser.post("/v1/responses", json={"input": said, "tools": [tool], "store": False})
    assert answer.status_code == 200, answer.text
    assert world.engine.requests[-1].prompt_ids[: len(written)] == written
    assert "to=functions.now<|message|><|call|>" in prompt_of(world)


@pytest.mark.parametrize(
    "said", [[{"role": "developer", "content": "Greet."}], [{"role": "user", "content": "Hi"}]]
)
async def test_what_is_odd_and_allowed_is_answered(browser: httpx.AsyncClient, said: list[Any]) -> None:
    odd = {"type": "unheard_of", "role": "assistant"}
    answer = await browser.post("/v1/responses", json={"input": [*said, odd], "top_p": 0})
    assert answer.status_code == 200, answer.text
    assert [note["param"] for note in answer.json()["playground"]["notes"]] == ["top_p", "input[1].type"]


async def test_one_call_only_where_that_is_asked_for(world: World, browser: httpx.AsyncClient) -> None:
    header, arguments = CALLING.messages[-1]
    world.engine.script = Script(
        [("analysis", "Two."), (header, arguments), (header, '{"harbour": "Bremen"}')]
    )
    both = await stream_of(browser, input="x", tools=[LOOK])
    assert [each["type"] for each in both[-1]["response"]["output"]] == ["reasoning", *["function_call"] * 2]
    one = await stream_of(browser, input="x", tools=[LOOK], parallel_tool_calls=False)
    assert [each["type"] for each in one[-1]["response"]["output"]] == ["reasoning", "function_call"]
    assert one[-1]["response"]["status"] == "completed"


async def test_a_conversation_that_is_too_long(world: World, browser: httpx.AsyncClient) -> None:
    turns = [{"role": role, "content": "word " * 900} for role in ("user", "assistant") * 3]
    body: dict[str, Any] = {"input": [*turns, {"role": "user", "content": "And now?"}]}
    refused = await browser.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    made = (await browser.post("/v1/responses", json={**body, "truncation": "auto"})).json()
    assert made["status"] == "completed"
    assert [note["param"] for note in made["playground"]["notes"]] == ["truncation"]
    assert len(world.engine.requests[-1].prompt_ids) <= 4096 * 3 // 4
