"""Prompts that are far too long: refused for little work, and nobody waits for those who send them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from inference.harmony import HarmonyCodec
from inference.types import Prompt, RenderedPrompt
from tests.playground.world import TIMEOUT, World, ask, running, settled

WORDS = "one word and another " * 47_000
"""A megabyte, and 188,000 tokens at the least."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path, max_message_chars=1_000_000) as world:
        world.engine.context_length = 131_072
        yield world


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each text that is encoded."""
    lengths: list[int] = []
    encode = HarmonyCodec._encode

    def counted(codec: HarmonyCodec, text: str) -> list[int]:
        lengths.append(len(text))
        return encode(codec, text)

    monkeypatch.setattr(HarmonyCodec, "_encode", counted)
    return lengths


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/turns", {"text": WORDS}),
        ("/api/turns", {"text": WORDS, "settings": {"when_full": "drop_oldest"}}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": WORDS}]}),
        ("/v1/responses", {"input": WORDS}),
        ("/v1/responses", {"input": WORDS, "truncation": "auto"}),
        ("/v1/responses", {"input": "x", "instructions": WORDS}),
    ],
    ids=["turn", "dropping", "chat", "response", "truncated", "instructions"],
)
async def test_what_is_far_too_long_is_refused_without_being_encoded(
    world: World, encoded: list[int], path: str, body: dict[str, object]
) -> None:
    async with world.browser() as browser:
        refused = await browser.post(path, json=body)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "at least 188,00" in error["message"]
    assert error.get("param") == ("text" if path == "/api/turns" else None)
    assert sum(encoded) < 1000


async def test_what_may_fit_is_encoded_as_far_as_it_can(world: World, encoded: list[int]) -> None:
    world.engine.context_length = 4096
    async with httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT) as program:
        body = {"messages": [{"role": "user", "content": "?!" * 200_000}]}
        refused = await program.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert sum(encoded) < 50_000


async def test_prompts_that_take_long_hold_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are threads that all requests share, and each takes as long as it likes."""
    go, running_now = threading.Event(), []
    render = HarmonyCodec.render_within

    def slow(codec: HarmonyCodec, prompt: Prompt, *rest: int | None) -> RenderedPrompt:
        if prompt.messages[0].content == "slow":
            running_now.append(1)
            go.wait(TIMEOUT)
        return render(codec, prompt, *rest)

    monkeypatch.setattr(HarmonyCodec, "render_within", slow)
    body = {"messages": [{"role": "user", "content": "slow"}], "max_tokens": 5}
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT, limits=httpx.Limits()) as stranger,
        httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT, transport=elsewhere) as honest,
        world.browser() as neighbour,
    ):
        asked = [
            asyncio.create_task(stranger.post(path, json=each))
            for _ in range(25)
            for path, each in (("/v1/chat/completions", body), ("/v1/responses", {"input": "slow"}))
        ]
        try:
            async with asyncio.timeout(20):
                while not running_now:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert (await neighbour.get("/api/bootstrap")).status_code == 200
                turn = await ask(honest)
                assert (await settled(honest, turn["generation"]["id"]))["generation"]["status"] == "finished"
        finally:
            go.set()
            answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} <= {200, 429}
