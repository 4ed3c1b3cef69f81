"""The commands against a server: the real application on the scripted engine, and other servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from inference.types import (
    Channel,
    FinishReason,
    Message,
    MessageFinished,
    Prompt,
    ReasoningEffort,
    Role,
    TokensStarted,
    ToolSpec,
)
from playground.cli.backend import BackendError, Question
from playground.cli.remote import base_of
from playground.cli.remote_chunks import ChunkReader
from playground.cli.remote_messages import CallIds, body_of
from playground.generation import Outcome, Portion
from tests.playground.cli.scripted_cli import Terminal
from tests.playground.cli.test_chat import CALL, TOOLS
from tests.playground.scripted import Script
from tests.playground.world import World, running

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A playground on the scripted engine."""
    async with running(tmp_path_factory.mktemp("world"), requests_per_minute=0) as world:
        yield world


@pytest.mark.asyncio(loop_scope="module")
async def test_the_playground_itself_answers_infer_chat_and_models(
    world: World, terminal: Terminal, tmp_path: Path
) -> None:
    result = await asyncio.to_thread(
        terminal.run, "infer", "Hi", "--url", world.url, "--effort", "high", "--system", "Be brief."
    )
    assert json.loads(result.stdout) == {
        "response": "The answer is 42.",
        "analysis": "12 + 30 = 42.",
        "commentary": "",
        "reasoning_level": "high",
    }, result.stderr
    request = world.engine.requests[-1]
    assert (request.sampling.max_tokens, request.sampling.temperature) == (256, 0.7)
    prompt = world.engine.codec.decode(request.prompt_ids)
    assert "Reasoning: high" in prompt
    assert "Be brief." in prompt
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(TOOLS))
    scripts = iter([CALL, Script()])
    world.engine.choose = lambda _request: next(scripts)
    result = await asyncio.to_thread(
        terminal.run, "chat", "--url", world.url, "--tools", str(file), stdin="Rain?\n3 mm\n/model\n"
    )
    assert '→ functions.get_rain({"city": "Oslo"})' in result.stdout
    assert "The answer is 42." in result.stdout
    assert "Model: scripted" in result.stdout
    first, second = (request.prompt_ids for request in world.engine.requests[-2:])
    written = world.engine.token_ids(CALL)
    assert list(second[: len(first) + len(written)]) == [*first, *written], "as the model wrote it"
    assert "<|message|>3 mm<|end|>" in world.engine.codec.decode(second)
    assert not terminal.data_dir.exists()
    assert terminal.engines == []
    world.engine.choose = lambda _request: Script(fail_at=1)
    result = await asyncio.to_thread(terminal.run, "infer", "Hi", "--url", world.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The model stopped in the middle." in result.stderr
    result = await asyncio.to_thread(terminal.run, "models", "--json", "--url", world.url)
    assert "scripted" in json.loads(result.stdout)
    world.engine.choose = lambda _request: Script()
    words = ["--task", "sum", "--samples", "1", "--effort", "low", "--json", "--min", "0.5"]
    result = await asyncio.to_thread(terminal.run, "eval", "--url", world.url, *words)
    assert (result.exit_code, json.loads(result.stdout)["mean"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("localhost:7860", "http://localhost:7860/v1"),
        ("http://localhost:7860/", "http://localhost:7860/v1"),
        ("https://example.org/v1", "https://example.org/v1"),
        ("https://example.org/api/v1/", "https://example.org/api/v1"),
        ("https://example.org/api", "https://example.org/api/v1"),
    ],
)
def test_an_address_is_completed(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize("url", ["", "ftp://example.org", "http://", "http://[::1", "http://a:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BackendError, match="no address"):
        base_of(url)


class _Other(BaseHTTPRequestHandler):
    """Another server; ``answers`` are the status and the body of each request, the last one again."""

    answers: ClassVar[list[tuple[int, str]]] = []
    keys: ClassVar[list[str | None]] = []
    bodies: ClassVar[list[Json]] = []

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer()

    def _answer(self) -> None:
        self.keys.append(self.headers.get("Authorization"))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header(
            "Content-Type", "text/event-stream" if body.startswith("data") else "application/json"
        )
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def other() -> Iterator[str]:
    """The address of another server."""
    _Other.answers, _Other.keys, _Other.bodies = [], [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _sse(*chunks: Json) -> str:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def _delta(reason: str | None = None, **delta: object) -> Json:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def test_any_server_with_the_api_answers_and_gets_the_key(
    other: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    stream = _sse(
        _delta(role="assistant", content=""),
        _delta(reasoning_content="Hm."),
        _delta(content="Hi!"),
        _delta("stop"),
    )
    _Other.answers = [(200, json.dumps({"data": [{"id": "small"}, {"id": "large"}]})), (200, stream)]
    result = terminal.run("infer", "Hello", "--url", other, "--seed", "3")
    assert json.loads(result.stdout)["response"] == "Hi!"
    assert json.loads(result.stdout)["analysis"] == "Hm."
    assert _Other.keys == ["Bearer sk-of-the-environment"] * 2
    (body,) = _Other.bodies
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert (body["model"], body["stream"], body["seed"], body["max_tokens"]) == ("small", True, 3, 256)
    _Other.answers = [(200, stream)]
    terminal.run("infer", "Hello", "--url", other, "--api-key", "sk-mine", "-m", "large")
    assert (_Other.keys[-1], _Other.bodies[-1]["model"]) == ("Bearer sk-mine", "large")


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, '{"error": {"message": "No key."}}', "No key. Give a key with --api-key"),
        (404, "nothing", "no OpenAI-compatible API"),
        (429, '{"error": {"message": "Slowly!"}}', "Slowly!"),
        (500, "<html>", "status 500"),
        (200, "data: {\n\n", "is not OpenAI's Chat Completions"),
        (200, _sse({"error": {"message": "Out of memory."}}), "Out of memory."),
        (200, _sse(_delta(content="Hal")), "ended in the middle"),
    ],
)
def test_what_a_server_refuses_is_said(
    other: str, terminal: Terminal, status: int, body: str, sentence: str
) -> None:
    _Other.answers = [(status, body)]
    result = terminal.run("infer", "Hi", "--url", other, "--model", "any")
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr


def test_nobody_at_the_address_is_said(terminal: Terminal) -> None:
    result = terminal.run("chat", "--url", "http://127.0.0.1:9", stdin="Hi\n")
    assert (result.exit_code, "Nothing answers at http://127.0.0.1:9/v1." in result.stderr) == (1, True)


def test_calls_come_in_pieces_and_keep_their_ids() -> None:
    ids = CallIds()
    reader = ChunkReader(ids, seed=None)
    calls = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "id": "c2", "function": {"name": "f", "arguments": '{"a": 1}'}},
    ]
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}
    chunks = [_delta(reasoning="Call."), *(_delta(tool_calls=[call]) for call in calls), _delta("stop")]
    events = [event for chunk in [*chunks, {"choices": [], "usage": usage}] for event in reader.take(chunk)]
    events += reader.end()
    assert isinstance(events[0], TokensStarted)
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.finish_reason, outcome.usage.completion) == (FinishReason.TOOL_CALL, 9)
    done = [
        each.message
        for event in events
        if isinstance(event, Portion)
        for each in event.events
        if isinstance(each, MessageFinished)
    ]
    assert [(each.channel, each.recipient, each.content) for each in done] == [
        (Channel.ANALYSIS, None, "Call."),
        (Channel.COMMENTARY, "functions.f", '{"a": 1}'),
        (Channel.COMMENTARY, "functions.f", '{"a": 1}'),
    ]
    results = [Message(Role.TOOL, text, name="functions.f") for text in ("one", "two")]
    prompt = Prompt(
        [Message(Role.USER, "Q"), *done, *results],
        ReasoningEffort.LOW,
        "Be brief.",
        [ToolSpec("f", "F.", {"type": "object"}, strict=True)],
    )
    body = body_of("m", Question(prompt), ids)
    system, user, assistant, *tools = body["messages"]
    assert (system["role"], user["content"], assistant["reasoning"]) == ("system", "Q", "Call.")
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert [(tool["tool_call_id"], tool["content"]) for tool in tools] == [("c1", "one"), ("c2", "two")]
    assert body["tools"][0]["function"]["strict"]
    answered = Message(Role.ASSISTANT, "A", Channel.FINAL)
    later = Prompt([*prompt.messages, answered, Message(Role.USER, "Q2")])
    assert "reasoning" not in body_of("m", Question(later), ids)["messages"][1]
