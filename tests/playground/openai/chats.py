"""What tests of chat completions share: bodies, raw streams, and functions for the demonstration model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from openai.types.chat import ChatCompletionChunk

from tests.playground.world import TIMEOUT

Json = dict[str, Any]

RAIN: Json = {
    "type": "function",
    "function": {
        "name": "get_rain",
        "description": "How much it rains.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def body_of(text: str = "What is 12 + 30?", **fields: Any) -> Json:
    """A body with one question."""
    return {"model": "default", "messages": [{"role": "user", "content": text}], **fields}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the application does by itself."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # what is looked at belongs to the application
            await asyncio.sleep(0.005)


async def post(url: str, body: Json, **headers: str) -> httpx.Response:
    """The raw answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)


async def streamed(url: str, body: Json) -> tuple[list[Json], str]:
    """All chunks of a stream, each as the SDK's types have it, and the last line."""
    answer = await post(url, {**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    chunks = [json.loads(line) for line in lines[:-1]]
    for chunk in chunks:
        valid = ChatCompletionChunk.model_validate(chunk)
        assert valid.to_dict(exclude_unset=True) == chunk
    return chunks, lines[-1]


def joined(chunks: list[Json], name: str, index: int = 0) -> str:
    """One field of all deltas of a choice."""
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(name) or "" for choice in choices)


def calls_in(chunks: list[Json], index: int = 0) -> list[Json]:
    """The calls that the deltas of a choice add up to."""
    calls: list[Json] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            for part in choice["delta"].get("tool_calls", ()) if choice["index"] == index else ():
                if part["index"] == len(calls):
                    calls.append({"id": part["id"], **part["function"]})
                else:
                    calls[part["index"]]["arguments"] += part["function"]["arguments"]
    return calls


@dataclass(frozen=True)
class Tool:
    """A function whose name the demonstration model was never trained on, and questions for it."""

    name: str
    noun: str
    properties: dict[str, Json]
    values: tuple[str, ...]
    tail: str = ""

    def spec(self) -> Json:
        """As a client declares it."""
        schema = {"type": "object", "properties": self.properties, "required": list(self.properties)}
        function = {"name": self.name, "description": f"Get the {self.noun}.", "parameters": schema}
        return {"type": "function", "function": function}

    def questions(self) -> list[str]:
        """Five ways to ask, each about something else."""
        return [
            way.format(noun=self.noun, value=value, tail=self.tail)
            for way, value in zip(WAYS, self.values, strict=True)
        ]


TEXT: Json = {"type": "string"}
WAYS = (
    "What is the {noun} of {value}{tail}?",
    "Tell me the {noun} of {value}{tail}.",
    "Find the {noun} for {value}{tail}.",
    "{noun} of {value}{tail}?",
    "Give me the {noun} for {value}{tail}.",
)
TOOLS = (
    Tool("request_weight", "weight", {"item": TEXT}, ("bread", "milk", "cheese", "tea", "lamp")),
    Tool("show_age", "age", {"person": TEXT}, ("Anna", "Ben", "Clara", "David", "Emma")),
    Tool("check_rate", "rate", {"city": TEXT}, ("Paris", "Oslo", "Rome", "Lima", "Cairo")),
    Tool(
        "lookup_tax",
        "tax",
        {"country": TEXT, "currency": TEXT},
        ("France", "Italy", "Spain", "Japan", "Egypt"),
        " in euros",
    ),
    Tool("query_file", "file", {"id": {"type": "number"}}, ("id 12", "id 407", "id 88", "id 5", "id 930")),
    Tool("check_status", "status", {}, ("Paris", "Oslo", "Rome", "Lima", "Cairo")),
)
"""The last one takes no arguments."""
