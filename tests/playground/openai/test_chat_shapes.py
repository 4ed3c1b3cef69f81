"""What a chat completion looks like, to the letter: on an engine that writes what the test says."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from playground.api.openai.errors import failure_of
from playground.generation import BROKEN
from tests.playground.openai.chats import RAIN, Json, body_of, calls_in, joined, post, streamed
from tests.playground.scripted import Script
from tests.playground.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = [("analysis", "12 + 30 = 42."), ("final", "The answer is 42.")]
CALL = [
    ("analysis", "They ask for rain."),
    ("commentary", "Let me look."),
    ("commentary to=functions.get_rain", '{"city": "Oslo"}'),
]


@pytest.fixture(autouse=True)
def afresh(world: World) -> None:
    world.engine.script = Script(list(ANSWER))
    world.engine.requests.clear()


async def whole(world: World, **fields: Any) -> Json:
    answer = await post(world.url, body_of(**fields))
    assert answer.status_code == 200, answer.text
    completion: Json = answer.json()
    valid = ChatCompletion.model_validate(completion)
    assert valid.to_dict(exclude_unset=True) == completion
    return completion


async def test_a_whole_answer(world: World) -> None:
    completion = await whole(world, seed=7)
    assert completion["id"].startswith("chatcmpl-")
    assert (completion["object"], completion["model"]) == ("chat.completion", "scripted")
    assert completion["system_fingerprint"] == "fp_r1"
    [choice] = completion["choices"]
    assert choice == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "The answer is 42.",
            "refusal": None,
            "reasoning": "12 + 30 = 42.",
            "reasoning_content": "12 + 30 = 42.",
        },
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = completion["usage"]
    assert usage["prompt_tokens"] == len(world.engine.requests[0].prompt_ids)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 8}
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    settings = completion["playground"]["settings"]
    assert (settings["seed"], settings["temperature"], settings["reasoning_effort"]) == (7, 1.0, "medium")
    assert completion["playground"]["notes"] == []


async def test_a_stream_in_its_order(world: World) -> None:
    chunks, last = await streamed(world.url, body_of(stream_options={"include_usage": True}))
    assert last == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert joined(chunks, "reasoning") == joined(chunks, "reasoning_content") == "12 + 30 = 42."
    assert joined(chunks, "content") == "The answer is 42."
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1] if chunk["choices"]][-1] == "stop"
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == (await whole(world))["usage"]
    kinds = [name for chunk in chunks[1:-2] for name in chunk["choices"][0]["delta"] if name != "reasoning"]
    assert kinds == sorted(kinds, reverse=True), "all reasoning comes before the answer"


async def test_a_stream_without_usage_has_none(world: World) -> None:
    chunks, _ = await streamed(world.url, body_of())
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["playground"]["settings"]["model"] == "scripted"


@pytest.mark.parametrize("fields", [{"reasoning": {"exclude": True}}, {"include_reasoning": False}])
async def test_reasoning_can_be_left_out(world: World, fields: Json) -> None:
    message = (await whole(world, **fields))["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "The answer is 42.", "refusal": None}
    chunks, _ = await streamed(world.url, body_of(**fields))
    assert joined(chunks, "reasoning") == joined(chunks, "reasoning_content") == ""
    assert joined(chunks, "content") == "The answer is 42."


async def test_a_preamble_is_content_and_a_call_follows(world: World) -> None:
    world.engine.script = Script(CALL)
    completion = await whole(world, tools=[RAIN])
    [choice] = completion["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me look."
    [call] = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == (
        "function",
        {"name": "get_rain", "arguments": '{"city": "Oslo"}'},
    )
    chunks, _ = await streamed(world.url, body_of(tools=[RAIN]))
    [again] = calls_in(chunks)
    assert (again["name"], again["arguments"]) == ("get_rain", '{"city": "Oslo"}')
    assert again["id"].startswith("call_")
    assert joined(chunks, "content") == "Let me look."
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_several_calls_of_one_reply_are_counted(world: World) -> None:
    world.engine.script = Script([*CALL[:1], CALL[2], ("analysis to=functions.get_rain", '{"city": "Bern"}')])
    completion = await whole(world, tools=[RAIN])
    message = completion["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
        '{"city": "Oslo"}',
        '{"city": "Bern"}',
    ]
    chunks, _ = await streamed(world.url, body_of(tools=[RAIN]))
    assert [call["arguments"] for call in calls_in(chunks)] == ['{"city": "Oslo"}', '{"city": "Bern"}']


async def test_one_call_ends_a_reply_where_that_is_asked_for(world: World) -> None:
    world.engine.script = Script([*CALL[:1], CALL[2], ("analysis to=functions.get_rain", '{"city": "Bern"}')])
    completion = await whole(world, tools=[RAIN], parallel_tool_calls=False)
    choice = completion["choices"][0]
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ['{"city": "Oslo"}']
    assert choice["finish_reason"] == "tool_calls"
    chunks, _ = await streamed(world.url, body_of(tools=[RAIN], parallel_tool_calls=False))
    assert [call["arguments"] for call in calls_in(chunks)] == ['{"city": "Oslo"}']


async def test_a_call_without_arguments_can_be_parsed(world: World) -> None:
    world.engine.script = Script([("commentary to=functions.now", "")])
    tool = {"type": "function", "function": {"name": "now"}}
    completion = await whole(world, tools=[tool])
    assert completion["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert calls_in((await streamed(world.url, body_of(tools=[tool])))[0])[0]["arguments"] == "{}"


async def test_an_answer_in_json_has_no_preamble(world: World) -> None:
    world.engine.script = Script([("commentary", "Here it is."), ("final", '{"sum": 42}')])
    message = (await whole(world, response_format={"type": "json_object"}))["choices"][0]["message"]
    assert (message["content"], message["reasoning"]) == ('{"sum": 42}', "Here it is.")


async def test_an_answer_that_breaks_its_schema_is_named(world: World) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "string"}}, "required": ["sum"]}
    world.engine.script = Script([("final", '{"sum": 42}')])
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    [note] = (await whole(world, response_format=wanted))["playground"]["notes"]
    assert note["param"] == "response_format"
    assert "/sum" in note["message"]


async def test_choices_of_one_stream_are_told_apart(world: World) -> None:
    chunks, _ = await streamed(world.url, body_of(n=3, seed=5, stream_options={"include_usage": True}))
    for index in range(3):
        assert joined(chunks, "content", index) == "The answer is 42."
    ends = [c["index"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert sorted(ends) == [0, 1, 2]
    assert [request.sampling.seed for request in world.engine.requests] == [5, 6, 7]
    assert chunks[-1]["playground"]["settings"]["seeds"] == [5, 6, 7]
    one = (await whole(world))["usage"]
    assert chunks[-1]["usage"]["prompt_tokens"] == one["prompt_tokens"]
    assert chunks[-1]["usage"]["completion_tokens"] == 3 * one["completion_tokens"]


@pytest.mark.parametrize("stop", ["swer", ["42", "swer"], ["42", "x", "y", "z"]])
async def test_a_stop_text_ends_the_answer_before_it(world: World, stop: str | list[str]) -> None:
    expected = "The an" if "swer" in stop else "The answer is "
    completion = await whole(world, stop=stop, logprobs=True)
    [choice] = completion["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop")
    tokens = "".join(entry["token"] for entry in choice["logprobs"]["content"])
    assert tokens.startswith(expected)
    assert len(tokens) < len("The answer is 42.")
    chunks, _ = await streamed(world.url, body_of(stop=stop))
    assert joined(chunks, "content") == expected


async def test_log_probabilities_are_those_of_the_answer(world: World) -> None:
    completion = await whole(world, logprobs=True, top_logprobs=2)
    scored = completion["choices"][0]["logprobs"]
    assert scored["refusal"] is None
    assert "".join(entry["token"] for entry in scored["content"]) == "The answer is 42."
    first = scored["content"][0]
    assert bytes(first["bytes"]).decode() == first["token"] == "The"
    assert [entry["logprob"] for entry in first["top_logprobs"]] == [-0.5, -1.5]
    chunks, _ = await streamed(world.url, body_of(logprobs=True, top_logprobs=2))
    entries = [
        entry
        for chunk in chunks
        for choice in chunk["choices"]
        for entry in (choice["logprobs"] or {"content": []})["content"]
    ]
    assert entries == scored["content"]
    with_text = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert all(choice["delta"].get("content") for choice in with_text)


async def test_a_cut_answer_says_so(world: World) -> None:
    completion = await whole(world, max_tokens=5, max_completion_tokens=18)
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == 18
    assert [note["param"] for note in completion["playground"]["notes"]] == ["max_tokens"]


async def test_a_failure_in_the_middle_raises_in_the_sdk(world: World, client: openai.AsyncOpenAI) -> None:
    world.engine.script = Script(list(ANSWER), fail_at=6)
    stream = await client.chat.completions.create(**body_of(), stream=True)
    with pytest.raises(openai.APIError, match="The model stopped in the middle"):
        async for _ in stream:
            pass
    with pytest.raises(openai.InternalServerError, match="The model stopped in the middle"):
        await client.chat.completions.create(**body_of())
    assert failure_of(BROKEN).status == 500


async def test_a_reply_that_breaks_tells_no_secret(world: World, client: openai.AsyncOpenAI) -> None:
    world.engine.script = Script(list(ANSWER), crash_at=6)
    answer = await post(world.url, body_of(stream=True))
    assert "/secret/path" not in answer.text
    assert '"type":"server_error"' in answer.text
    assert not answer.text.endswith("[DONE]\n\n")
    with pytest.raises(openai.InternalServerError, match="Something went wrong"):
        await client.chat.completions.create(**body_of())
