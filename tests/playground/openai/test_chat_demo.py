"""Chat completions of the demonstration model, by the clients that people use: the openai SDK and llm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from pydantic import BaseModel

from tests.conftest import Scale
from tests.e2e.served_app import ServedApp
from tests.playground.openai.chats import TOOLS, Json, Tool, body_of, calls_in, joined
from tests.playground.world import TIMEOUT

SUM = "What is 12 + 30?"
ADDED = "12 + 30 = 42."
WEIGHT = TOOLS[0]


def create(demo: openai.OpenAI, text: str = SUM, **fields: Any) -> Any:
    """A chat completion of the likeliest tokens."""
    return demo.chat.completions.create(**body_of(text, **{"temperature": 0, **fields}))


# --- the compatibility cases: six functions, five questions each ---


@dataclass(frozen=True)
class Case:
    """A question, and what came of it: one call, and some reasoning."""

    calls: list[Json]
    reasoning: str
    finish_reason: str


QUESTIONS = 5
FEW = 2  # of each function, in every run
CASES = [(tool, number) for tool in TOOLS for number in range(QUESTIONS)]


def strictly(tool: Tool) -> Json:
    """The function as the Agents SDK declares it: no other arguments than these."""
    spec = tool.spec()
    function = spec["function"]
    parameters = {**function["parameters"], "additionalProperties": False}
    return {**spec, "function": {**function, "strict": True, "parameters": parameters}}


def answer_to(demo: openai.OpenAI, tool: Tool, number: int) -> Case:
    """Whole for even numbers, streamed for odd ones."""
    fields: Json = {"tools": [strictly(tool)], "reasoning_effort": "low"}
    question = tool.questions()[number]
    if number % 2 == 0:
        [choice] = create(demo, question, **fields).choices
        calls = [{"id": call.id, **call.function.to_dict()} for call in choice.message.tool_calls or ()]
        return Case(calls, choice.message.reasoning, choice.finish_reason)
    chunks = [chunk.to_dict() for chunk in create(demo, question, **fields, stream=True)]
    last = chunks[-1]["choices"][0]["finish_reason"]
    return Case(calls_in(chunks), joined(chunks, "reasoning"), last)


@pytest.fixture(scope="module")
def answers(demo: openai.OpenAI, scale: Scale) -> Iterator[dict[tuple[str, int], Case]]:
    """All of them, several at once."""
    cases = [case for case in CASES if case[1] < scale(FEW, QUESTIONS)]
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda case: answer_to(demo, *case), cases)
        yield {(tool.name, number): case for (tool, number), case in zip(cases, made, strict=True)}


@pytest.mark.parametrize(
    ("tool", "number"),
    [
        pytest.param(
            tool, number, marks=[pytest.mark.long] if number >= FEW else [], id=f"{tool.name}-{number}"
        )
        for tool, number in CASES
    ],
)
def test_a_declared_function_is_called_as_its_schema_says(
    answers: dict[tuple[str, int], Case], tool: Tool, number: int
) -> None:
    case = answers[tool.name, number]
    assert case.finish_reason == "tool_calls"
    assert case.reasoning.strip()
    [call] = case.calls
    assert call["name"] == tool.name
    assert call["id"].startswith("call_")
    arguments = json.loads(call["arguments"])
    jsonschema.validate(arguments, strictly(tool)["function"]["parameters"])
    expected = [*tool.values[number].split()[-1:], *tool.tail.split()[-1:]]
    assert list(map(str, arguments.values())) == (expected if tool.properties else [])


# --- functions ---


def test_a_round_with_a_function_ends_in_the_right_answer(demo: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weight of bread?"}]
    first = create(demo, messages=messages, tools=[WEIGHT.spec()]).choices[0].message
    [call] = first.tool_calls
    messages += [first.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": '{"weight": 417}'}]
    second = create(demo, messages=messages, tools=[WEIGHT.spec()])
    assert second.choices[0].message.content == "The weight of bread is 417."
    assert second.choices[0].finish_reason == "stop"
    assert second.usage.prompt_tokens_details.cached_tokens > 0, "the call was repeated as it was written"


def test_what_is_called_is_chosen(demo: openai.OpenAI) -> None:
    tools = [tool.spec() for tool in TOOLS[:3]]
    ask = "What is the weight of bread?"

    def called(choice: Any, text: str = ask) -> list[str]:
        answer = create(demo, text, tools=tools, tool_choice=choice, reasoning_effort="low", max_tokens=200)
        return [call.function.name for call in answer.choices[0].message.tool_calls or ()]

    assert called("auto") == ["request_weight"]
    assert called("none") == []
    assert called("auto", SUM) == []
    assert called("required", SUM) != []
    assert called({"type": "function", "function": {"name": "check_rate"}}) == ["check_rate"]


# --- formats ---


class Sum(BaseModel):
    """What the answer is parsed into."""

    question: str
    result: int


def test_an_answer_is_parsed_into_its_type(demo: openai.OpenAI) -> None:
    body = body_of(temperature=0, max_tokens=300)
    completion = demo.chat.completions.parse(**body, response_format=Sum)
    message = completion.choices[0].message
    assert isinstance(message.parsed, Sum)
    assert getattr(message, "reasoning", "").endswith("42.")
    assert completion.playground["notes"] == []  # type: ignore[attr-defined]


# --- settings ---


def test_a_stream_adds_up_in_the_sdk(demo: openai.OpenAI) -> None:
    body = body_of(temperature=0, stream_options={"include_usage": True})
    with demo.chat.completions.stream(**body) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == ADDED
    assert final.usage is not None
    details = final.usage.completion_tokens_details
    assert details is not None
    assert 0 < (details.reasoning_tokens or 0) < final.usage.completion_tokens


def test_a_seed_makes_an_answer_again(demo: openai.OpenAI) -> None:
    def answer(**fields: Any) -> Any:
        return create(demo, "Hello", temperature=2, max_tokens=40, reasoning_effort="low", **fields)

    drawn = answer()
    seed = drawn.playground["settings"]["seed"]
    again = answer(seed=seed, n=4)
    assert again.playground["settings"]["seeds"] == [seed, seed + 1, seed + 2, seed + 3]
    assert again.choices[0].message == drawn.choices[0].message
    assert answer(seed=seed + 1).choices[0].message == again.choices[1].message
    assert len({str(choice.message) for choice in again.choices}) > 1


def test_probabilities_and_stop_texts(demo: openai.OpenAI) -> None:
    scored = create(demo, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert "".join(entry.token for entry in scored) == ADDED
    for entry in scored:
        assert entry.logprob == entry.top_logprobs[0].logprob >= entry.top_logprobs[2].logprob
        assert bytes(entry.bytes).decode() == entry.token
    stopped = create(demo, stop=[" ="]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("12 + 30", "stop")
    cut = create(demo, max_completion_tokens=5)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 5)


# --- llm ---

LLM = """
import llm, sys
model = llm.get_model("local")
print(model.prompt(sys.argv[1], temperature=0).text())
print(model.prompt(sys.argv[1], temperature=0, stream=False, schema=llm.schema_dsl("result int")).text())
"""


def test_llm_chats_and_keeps_to_a_schema(served: ServedApp, demo: openai.OpenAI, tmp_path: Path) -> None:
    model = {"model_id": "local", "model_name": "default", "api_base": f"{served.url}/v1"}
    models = json.dumps([{**model, "supports_schema": True}])  # which is YAML, too
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-c", LLM, SUM]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, structured = done.stdout.splitlines()
    assert answer == ADDED
    assert json.loads(structured).keys() == {"result"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (body_of(top_p=2), "top_p", "invalid_value"),
        ({"messages": [{"role": "nobody"}]}, "messages[0].role", "invalid_value"),
        (body_of("word " * 5000), None, "context_length_exceeded"),
    ],
)
def test_the_whole_application_tells_errors_as_openai_does(
    served: ServedApp, demo: openai.OpenAI, body: Json, param: str | None, code: str
) -> None:
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, trust_env=False)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
