"""openai-agents on the demonstration model: functions that it has never seen, called to a right answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai.types.responses import Response, ResponseReasoningItem
from openai.types.shared import Reasoning

from inference.demonstration.sample import held_out
from tests.e2e.served_app import ServedApp
from tests.playground.openai.conftest import client_of
from tests.playground.openai.response_stream import CLASSES

set_tracing_disabled(True)

UNSEEN = ("list_weather", "show_email")


@function_tool
def list_weather(city: str) -> str:
    """Get the weather."""
    return '{"weather": 21}' if city == "Paris" else '{"error": "not found"}'


@function_tool
def show_email(person: str) -> str:
    """Get the email."""
    return '{"result": 137}' if person == "Anna" else '{"error": "not found"}'


@pytest_asyncio.fixture
async def model(served: ServedApp) -> AsyncIterator[OpenAIResponsesModel]:
    """The demonstration model by the Responses API, as the SDK uses it."""
    async with client_of(served.url) as client:
        yield OpenAIResponsesModel(model="default", openai_client=client)


def agent_of(model: OpenAIResponsesModel, **settings: object) -> Agent:
    """Somebody with two functions."""
    return Agent(
        name="Helper",
        model=model,
        tools=[list_weather, show_email],
        model_settings=ModelSettings(temperature=0.0, reasoning=Reasoning(effort="medium"), **settings),  # type: ignore[arg-type]
    )


def test_the_model_has_not_seen_these_names() -> None:
    assert all(held_out(f"function {name}") for name in UNSEEN)


@pytest.mark.parametrize("store", [True, False])
async def test_a_tool_loop_ends_in_a_right_answer(model: OpenAIResponsesModel, store: bool) -> None:
    result = await Runner.run(agent_of(model, store=store), "What is the weather of Paris?")
    assert result.final_output == "The weather of Paris is 21."
    calls = [item for item in result.new_items if item.type == "tool_call_item"]
    assert [item.raw_item.name for item in calls] == ["list_weather"]  # type: ignore[union-attr]
    thoughts = [item for item in result.new_items if item.type == "reasoning_item"]
    assert len(thoughts) == 2
    for thought in thoughts:
        assert isinstance(thought.raw_item, ResponseReasoningItem)
        assert thought.raw_item.content
        assert thought.raw_item.content[0].text


async def test_a_streamed_tool_loop(model: OpenAIResponsesModel) -> None:
    result = Runner.run_streamed(agent_of(model), "Get the email of Anna.")
    kinds = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
    assert result.final_output == "The email of Anna is 137."
    assert kinds.count("response.completed") == 2
    assert set(kinds) <= set(CLASSES)


async def test_an_agent_that_goes_on_by_the_servers_memory(model: OpenAIResponsesModel) -> None:
    first = await Runner.run(agent_of(model), "What is the weather of Paris?")
    second = await Runner.run(
        agent_of(model), "Get the email of Anna.", previous_response_id=first.last_response_id
    )
    assert second.final_output == "The email of Anna is 137."


def test_log_probabilities(demo: openai.OpenAI) -> None:
    made = demo.responses.create(
        model="default",
        input="What is 12 + 30?",
        temperature=0,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
    )
    answer = Response.model_validate(made.model_dump()).output[-1]
    assert answer.type == "message"
    assert answer.content[0].type == "output_text"
    scores = answer.content[0].logprobs
    assert scores
    assert b"".join(bytes(score.bytes) for score in scores).decode() == answer.content[0].text
    assert all(score.logprob <= 0 and len(score.top_logprobs) == 2 for score in scores)
    assert all(score.top_logprobs[0].logprob >= score.logprob - 1e-6 for score in scores)


def test_a_schema_is_kept_by_a_model_that_never_learnt_it(demo: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}, "sure": {"type": "boolean"}},
        "required": ["sum", "sure"],
        "additionalProperties": False,
    }
    with demo.responses.stream(
        model="default",
        input="What is 12 + 30?",
        max_output_tokens=400,
        text={"format": {"type": "json_schema", "name": "sum", "schema": schema, "strict": True}},
    ) as stream:
        final = stream.get_final_response()
    assert final.status == "completed"
    told = json.loads(final.output_text)
    assert set(told) == {"sum", "sure"}
    assert (type(told["sum"]), type(told["sure"])) == (int, bool)
