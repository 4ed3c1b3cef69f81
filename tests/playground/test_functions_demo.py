"""Functions and answers as JSON by the demonstration model, in the application as a process of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.e2e.served_app import ServedApp, app_running
from tests.playground.calling import functions_file

ITEM = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
WEIGHT = {"name": "request_weight", "description": "Get the weight.", "parameters": ITEM}
AGE = {
    "name": "show_age",
    "description": "Returns the age.",
    "parameters": {"type": "object", "properties": {"person": {"type": "string"}}, "required": ["person"]},
    "strict": True,
}
Json = dict[str, Any]

pytestmark = pytest.mark.long


class Scales(BaseHTTPRequestHandler):
    """Weighs bread."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["arguments"] == {"item": "bread"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"weight": 417}')

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """The application with one function of its operator."""
    folder = tmp_path_factory.mktemp("served")
    scales = ThreadingHTTPServer(("127.0.0.1", 0), Scales)
    threading.Thread(target=scales.serve_forever, daemon=True).start()
    file = functions_file(folder, [{**WEIGHT, "url": f"http://127.0.0.1:{scales.server_port}/weigh"}])
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FUNCTIONS_FILE", str(file))
            with app_running(folder) as app:
                yield app
    finally:
        scales.shutdown()
        scales.server_close()


def start(person: httpx.Client, **fields: Any) -> Json:
    turn: Json = person.post("/api/turns", json={"temperature": 0, **fields}).raise_for_status().json()
    return turn


def over(person: httpx.Client, generation_id: str) -> Json:
    """The reply once it has ended, by its events."""
    with person.stream("GET", f"/api/generations/{generation_id}/events") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    finish: Json = json.loads(lines[-1].removeprefix("data: "))
    return finish


def answer_in(person: httpx.Client, turn: Json) -> str:
    page = person.get(f"/api/conversations/{turn['conversation']['id']}").json()
    return str(page["messages"][-1]["content"])


def test_the_operators_function_leads_to_the_right_answer(served: ServedApp) -> None:
    with served.person() as person:
        turn = start(person, text="What is the weight of bread?", operator_functions=["request_weight"])
        first = over(person, turn["generation"]["id"])
        assert (first["finish_reason"], first["error"]) == ("tool_call", None)
        second = over(person, first["next_generation_id"])
        assert second["finish_reason"] == "stop"
        assert answer_in(person, turn) == "The weight of bread is 417."
        assert second["usage"]["cached"] > 0, "the call was repeated as it was written"


def test_a_typed_result_leads_to_the_right_answer(served: ServedApp) -> None:
    with served.person() as person:
        turn = start(person, text="What is the age of Clara?", settings={"functions": [AGE]})
        [call] = over(person, turn["generation"]["id"])["waiting_calls"]
        page = person.get(f"/api/conversations/{turn['conversation']['id']}").json()
        assert json.loads(page["messages"][-1]["content"]) == {"person": "Clara"}
        typed = [{"message_id": call, "content": '{"age": 52}'}]
        going = start(person, conversation_id=turn["conversation"]["id"], results=typed)
        assert over(person, going["generation"]["id"])["finish_reason"] == "stop"
        assert answer_in(person, turn) == "The age of Clara is 52."


def test_an_answer_keeps_to_a_schema_that_the_model_was_never_taught(served: ServedApp) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["sum", "word"]}},
        "required": ["ok", "kind"],
        "additionalProperties": False,
    }
    wanted = {"name": "judgement", "schema": schema}
    with served.person() as person:
        turn = start(person, text="What is 12 + 30?", response_schema=wanted)
        finish = over(person, turn["generation"]["id"])
        assert finish["schema"] == {"valid": True, "reason": None}
        assert json.loads(answer_in(person, turn)).keys() == {"ok", "kind"}
