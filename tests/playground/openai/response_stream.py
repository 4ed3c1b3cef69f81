"""What every stream of a response must look like: from the API's description, and not from our encoder."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import httpx
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

Json = dict[str, Any]

REASONING = (
    "output_item.added content_part.added (reasoning_text.delta )*"
    "reasoning_text.done content_part.done output_item.done "
)
MESSAGE = (
    "output_item.added content_part.added (output_text.delta )*"
    "output_text.done content_part.done output_item.done "
)
CALL = "output_item.added (function_call_arguments.delta )*function_call_arguments.done output_item.done "
ORDER = re.compile(
    f"created (queued )?in_progress ({REASONING}|{MESSAGE}|{CALL})*(completed|incomplete|failed) "
)


def _classes() -> dict[str, type[BaseModel]]:
    """The SDK's event classes by their types."""
    union = get_args(ResponseStreamEvent)[0]
    return {get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(union)}


CLASSES = _classes()


def read_events(text: str) -> list[Json]:
    """The events of a body of server-sent events; each names its type twice, and nothing else is there."""
    events = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


async def stream_of(browser: httpx.AsyncClient, **body: Any) -> list[Json]:
    """The events of a new response, each of them checked."""
    answer = await browser.post("/v1/responses", json={"stream": True, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return checked(read_events(answer.text))


def checked(events: list[Json]) -> list[Json]:
    """The same events, which are of the SDK's types, in the right order, and tell one and the same story."""
    for event in events:
        CLASSES[event["type"]].model_validate(event)
        if "response" in event:
            Response.model_validate(event["response"])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    order = "".join(event["type"].removeprefix("response.") + " " for event in events)
    assert ORDER.fullmatch(order), order
    _check_items(events)
    assert [event for event in events if "response" in event and event["response"]["id"] != _id(events)] == []
    return events


def _id(events: list[Json]) -> str:
    return str(events[0]["response"]["id"])


def _check_items(events: list[Json]) -> None:
    """Each item's events name it, its deltas are its text, and all items are in the last event."""
    done: list[Json] = []
    text = ""
    added: Json = {}
    for event in events:
        kind = event["type"].removeprefix("response.")
        if "output_index" in event:
            assert event["output_index"] == len(done)
        if "item_id" in event:
            assert event["item_id"] == added["id"]
        if "content_index" in event:
            assert event["content_index"] == 0
        if kind == "output_item.added":
            added, text = event["item"], ""
            assert added["status"] == "in_progress"
        elif kind.endswith(".delta"):
            text += event["delta"]
        elif kind in ("reasoning_text.done", "output_text.done"):
            assert event["text"] == text
        elif kind == "function_call_arguments.done":
            assert (event["arguments"], event["name"]) == (text, added["name"])
        elif kind == "content_part.done":
            assert event["part"]["text"] == text
        elif kind == "output_item.done":
            item = event["item"]
            assert text == (
                item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
            )
            assert {**item, "status": ""} == {
                **added,
                **{name: item[name] for name in ("content", "arguments") if name in item},
                "status": "",
            }
            done.append(item)
    assert events[-1]["response"]["output"] == done
