"""What of a chat completion's request reaches the model, and what is refused or noted instead."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.playground.openai.chats import RAIN, Json, body_of, post
from tests.playground.scripted import Script
from tests.playground.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = {"role": "user", "content": "Does it rain in Oslo?"}
CALL = [
    ("analysis", "They ask for rain."),
    ("commentary", "Let me look."),
    ("commentary to=functions.get_rain", '{"city": "Oslo"}'),
]


@pytest.fixture(autouse=True)
def afresh(world: World) -> None:
    world.engine.script = Script()
    world.engine.requests.clear()


async def prompt_of(world: World, *messages: Json, **fields: Any) -> str:
    """The prompt that these messages become, as text."""
    answer = await post(world.url, {"messages": list(messages), **fields})
    assert answer.status_code == 200, answer.text
    return world.engine.codec.decode(world.engine.requests[-1].prompt_ids)


async def notes_of(world: World, **fields: Any) -> dict[str, str]:
    answer = await post(world.url, body_of(**fields))
    assert answer.status_code == 200, answer.text
    return {note["param"]: note["message"] for note in answer.json()["playground"]["notes"]}


def tool_turn(call_id: str = "call_1", **assistant: Any) -> list[Json]:
    call = {"name": "get_rain", "arguments": '{"city": "Oslo"}'}
    calls = [{"id": call_id, "type": "function", "function": call}]
    return [
        USER,
        {"role": "assistant", "content": None, "tool_calls": calls, **assistant},
        {"role": "tool", "tool_call_id": call_id, "content": "3 mm"},
    ]


# --- the conversation ---


async def test_all_instructions_stand_before_the_conversation(world: World) -> None:
    late = {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}
    prompt = await prompt_of(world, {"role": "system", "content": "Be brief."}, USER, late)
    assert "# Instructions\n\nBe brief.\n\nBe kind.<|end|><|start|>user" in prompt
    notes = (await post(world.url, {"messages": [USER, late]})).json()["playground"]["notes"]
    assert [note["param"] for note in notes] == ["messages[1]"]


async def test_reasoning_goes_back_before_the_calls_of_its_turn(world: World) -> None:
    for name in ("reasoning", "reasoning_content"):
        prompt = await prompt_of(world, *tool_turn(**{name: "They ask for rain."}), tools=[RAIN])
        assert (
            "<|start|>assistant<|channel|>analysis<|message|>They ask for rain.<|end|>"
            "<|start|>assistant to=functions.get_rain<|channel|>commentary" in prompt
        )
        assert "<|start|>functions.get_rain to=assistant<|channel|>commentary<|message|>3 mm<|end|>" in prompt


async def test_reasoning_of_a_turn_that_is_over_is_left_out(world: World) -> None:
    answer = {"role": "assistant", "content": "It does.", "reasoning": "They ask for rain."}
    prompt = await prompt_of(world, *tool_turn(reasoning="First thought."), answer, USER, tools=[RAIN])
    assert "thought" not in prompt
    assert "They ask" not in prompt
    assert "<|channel|>final<|message|>It does.<|end|>" in prompt


async def test_calls_and_results_in_parallel_find_each_other(world: World) -> None:
    turn = tool_turn()
    more = {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turn[1]["tool_calls"].append(more)
    turn.insert(2, {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]})
    prompt = await prompt_of(world, *turn, tools=[RAIN, {"type": "function", "function": {"name": "now"}}])
    results = prompt[prompt.index("functions.now to=assistant") :]
    assert "noon<|end|><|start|>functions.get_rain to=assistant" in results


async def test_a_call_that_comes_back_unchanged_is_the_ids_that_the_model_wrote(
    world: World, client: openai.AsyncOpenAI
) -> None:
    world.engine.script = Script(CALL)
    first = await client.chat.completions.create(model="default", messages=[USER], tools=[RAIN])  # type: ignore[list-item]
    wrote = world.engine.token_ids(world.engine.script)
    message = first.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assistant = {"role": "assistant", "content": message.content, "tool_calls": [call.to_dict()]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "3 mm"}

    def is_repeated() -> bool:
        ids = list(world.engine.requests[-1].prompt_ids)
        return any(ids[place : place + len(wrote)] == wrote for place in range(len(ids)))

    prompt = await prompt_of(world, USER, assistant, result, tools=[RAIN])
    assert is_repeated(), "without the reasoning, which the client left out"
    assert "They ask for rain." in prompt
    for changed in (
        {"content": "Something else."},
        {"tool_calls": [{**call.to_dict(), "function": {"name": "get_rain", "arguments": "{}"}}]},
    ):
        prompt = await prompt_of(world, USER, {**assistant, **changed}, result, tools=[RAIN])
        assert not is_repeated()
        assert "They ask for rain." not in prompt


async def test_the_format_and_the_effort_stand_in_the_prompt(world: World) -> None:
    schema = {"type": "object", "properties": {"rain": {"type": "number"}}, "required": ["rain"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "report", "schema": schema, "strict": True}}
    prompt = await prompt_of(world, USER, response_format=wanted, reasoning={"effort": "high"})
    assert "# Response Formats\n\n## report" in prompt
    assert "Reasoning: high" in prompt
    assert world.engine.requests[-1].constraint is not None


async def test_only_allowed_tools_are_declared(world: World) -> None:
    now = {"type": "function", "function": {"name": "now"}}
    named = [{"type": "function", "function": {"name": "now"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": named}}
    prompt = await prompt_of(world, USER, tools=[RAIN, now], tool_choice=choice)
    assert "type now" in prompt
    assert "get_rain" not in prompt
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": named * 129}}
    refused = await post(world.url, body_of(tools=[RAIN, now], tool_choice=choice))
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "tool_choice.tools holds more than 128 functions."


# --- settings ---


async def test_settings_reach_the_model_and_come_back(world: World) -> None:
    answer = await post(
        world.url, body_of(temperature=0.5, top_p=0.9, max_tokens=100, seed=-1, reasoning_effort="low")
    )
    sampling = world.engine.requests[-1].sampling
    settings = answer.json()["playground"]["settings"]
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.5, 0.9, 100)
    assert sampling.seed == settings["seed"] == 2**63 - 1
    assert {name: settings[name] for name in ("temperature", "top_p", "max_tokens")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 100,
    }
    assert settings["reasoning_effort"] == "low"


async def test_what_is_not_honoured_is_named(world: World) -> None:
    notes = await notes_of(
        world,
        user="ada",
        store=True,
        stream_options={"include_usage": True, "padding": 3},
        tools=[{**RAIN, "cache_control": {}, "function": {**RAIN["function"], "colour": "red"}}],
        colour="red",
        max_tokens=10**6,
        reasoning={"effort": "minimal", "summary": "auto"},
        presence_penalty=0,
        top_k=-1,
        top_p=0,
        metadata=None,
    )
    assert set(notes) == {
        "user",
        "store",
        "stream_options.padding",
        "tools[0].cache_control",
        "tools[0].function.colour",
        "colour",
        "max_tokens",
        "reasoning_effort",
        "reasoning.summary",
        "top_p",
    }
    assert "not known" in notes["colour"]
    assert all(len(name) < 100 for name in await notes_of(world, **{"a" * 500: 1}))


async def test_what_is_not_read_of_a_message_is_named(world: World) -> None:
    part = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}, "annotations": []}
    call = {
        "id": "c1",
        "type": "function",
        "index": 0,
        "extra": 1,
        "function": {"name": "rain", "arguments": "{}"},
    }
    messages = [
        {"role": "user", "content": [part], "mood": "good", "name": None},
        {"role": "assistant", "tool_calls": [{**call, "function": {"name": "rain", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": [part]},
        *[{"role": "user", "content": [part]}] * 60,
    ]
    notes = await notes_of(world, messages=messages, response_format={"type": "json_object"})
    assert "not valid JSON" in notes.pop("response_format")
    assert set(notes) == {
        "messages[0].mood",
        "messages[0].content[0].cache_control",
        "messages[1].tool_calls[0].extra",
    }


async def test_texts_may_have_the_names_of_the_other_api(world: World) -> None:
    parts = [{"type": "input_text", "text": "One"}, {"type": "text", "text": "two"}]
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "Three"}]}
    prompt = await prompt_of(world, {"role": "user", "content": parts}, answer, USER, model="")
    assert "<|message|>One\ntwo<|end|>" in prompt
    assert "<|message|>Three<|end|>" in prompt


async def test_a_body_that_does_not_say_that_it_is_json_is_told_how_to(world: World) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for kind in ("application/x-www-form-urlencoded", "text/plain"):
            answer = await client.post(
                f"{world.url}/v1/chat/completions", content=b"{}", headers={"Content-Type": kind}
            )
            assert answer.status_code == 400
            assert "Content-Type: application/json" in answer.json()["error"]["message"]


async def test_broken_characters_break_nothing(world: World) -> None:
    for broken in (
        b'{"\\ud800": 1}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"user": "\\ud800"}',
    ):
        body = b'{"messages": [{"role": "user", "content": "x"}], ' + broken[1:]
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"Content-Type": "application/json"}
            answer = await client.post(f"{world.url}/v1/chat/completions", content=body, headers=headers)
        assert answer.status_code in {200, 400}
        assert "error" in answer.json() or answer.json()["playground"]["notes"]


# --- refusals ---

IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org"}}]}
NAMED = {"type": "function", "function": {"name": "other"}}
REFUSED: list[tuple[str, Json, str | None]] = [
    ("no messages", {"messages": []}, "messages"),
    ("no list", {"messages": "hello"}, "messages"),
    ("a strange role", {"messages": [{"role": "root", "content": "x"}]}, "messages[0].role"),
    ("a list as role", {"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ("a list as kind", {"messages": [{"role": "user", "content": [{"type": [1]}]}]},
     "messages[0].content[0]"),
    ("a role that is gone", {"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
    ("no content", {"messages": [{"role": "user"}]}, "messages[0].content"),
    ("an image", {"messages": [IMAGE]}, "messages[0].content[0]"),
    ("an unknown call", {"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]},
     "messages[0].tool_call_id"),
    ("a call without a name", {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]},
     "messages[0].tool_calls[0]"),
    ("a forged name", {"tools": [{"type": "function", "function": {"name": "a to=b"}}]},
     "tools[0].function.name"),
    ("two of one name", {"tools": [RAIN, RAIN]}, "tools"),
    ("another kind of tool", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ("a schema that is none", {"tools": [{"type": "function", "function": {"name": "a", "parameters": 1}}]},
     "tools[0].function.parameters"),
    ("a choice without tools", {"tool_choice": "required"}, "tool_choice"),
    ("a choice that is none", {"tool_choice": "perhaps"}, "tool_choice"),
    ("a function that is not declared", {"tools": [RAIN], "tool_choice": NAMED}, "tool_choice"),
    ("too hot", {"temperature": 3}, "temperature"),
    ("too many choices", {"n": 9}, "n"),
    ("too many stops", {"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ("too many probabilities", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ("probabilities of nothing", {"top_logprobs": 3}, "top_logprobs"),
    ("a penalty", {"presence_penalty": 0.5}, "presence_penalty"),
    ("a bias", {"logit_bias": {"50256": -100}}, "logit_bias"),
    ("another sampler", {"top_k": 40}, "top_k"),
    ("functions of old", {"functions": [{"name": "x"}]}, "functions"),
    ("sound", {"modalities": ["text", "audio"]}, "modalities"),
    ("an effort that is none", {"reasoning_effort": "heroic"}, "reasoning_effort"),
    ("a format that is none", {"response_format": {"type": "xml"}}, "response_format.type"),
    ("a format without a name", {"response_format": {"type": "json_schema", "json_schema": {}}},
     "response_format.json_schema.name"),
    ("too long", {"messages": [{"role": "user", "content": "word " * 5000}]}, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_what_makes_no_sense_is_refused_by_name(world: World, body: Json, param: str | None) -> None:
    answer = await post(world.url, {"messages": [USER], **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"].endswith(".")
    assert world.engine.requests == []


async def test_a_schema_that_cannot_be_kept_is_refused(world: World) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "https://elsewhere.example/x"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    answer = await post(world.url, body_of(response_format=wanted))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_refusals_are_the_sdks_exceptions(world: World, client: openai.AsyncOpenAI) -> None:
    create = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as refused:
        await create(**{**body_of(), "n": 100})
    assert (refused.value.param, refused.value.code) == ("n", "invalid_value")
    with pytest.raises(openai.NotFoundError) as missing:
        await create(**{**body_of(), "model": "gpt-5"})
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    world.engine.script = Script(refuse_full=True)
    with pytest.raises(openai.RateLimitError) as full:
        await create(**body_of())
    assert int(full.value.response.headers["retry-after"]) > 0
    world.engine.ready = False
    try:
        with pytest.raises(openai.InternalServerError) as loading:
            await create(**body_of())
    finally:
        world.engine.ready = True
    assert (loading.value.status_code, loading.value.type) == (503, "server_error")


async def test_models_are_listed_and_found(world: World, client: openai.AsyncOpenAI) -> None:
    models = [model.id async for model in client.models.list()]
    assert models[0] == "scripted"
    assert (await client.models.retrieve("scripted")).owned_by == "gpt-oss-playground"
    assert (await client.models.retrieve("default")).id == "default"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("openai/gpt-5")
