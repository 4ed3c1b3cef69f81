"""Who leaves ends what was written for him; who asks for more than his places waits in line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from playground.limits.allowance import Allowance, Places
from tests.playground.openai.chats import Json, body_of, joined, post, streamed, until
from tests.playground.openai.conftest import client_of
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


def held(world: World, at: int = 3) -> Script:
    world.engine.script = Script(hold=asyncio.Event(), hold_at=at)
    return world.engine.script


def running_in(world: World) -> int:
    """How many requests the engine works on that nobody has cancelled."""
    return sum(not cancelled.is_set() for cancelled in world.engine._cancels.values())


def is_quiet(world: World) -> bool:
    """Nothing is left of any request: not in the engine, not in the service, no task that follows it."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return (
        running_in(world) == 0
        and world.app.state.completions.open_count == 0
        and not any(name.startswith(("Followers", "while_here", "_left")) for name in names)
        and not world.app.state.completions._places._taken
    )


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"n": 3}, {"n": 8, "stream": True}])
async def test_a_client_that_leaves_ends_its_replies(world: World, fields: Json) -> None:
    script = held(world)
    asking = asyncio.create_task(post(world.url, body_of(**fields)))
    await until(lambda: running_in(world) > 0)
    asking.cancel()
    await asyncio.wait({asking})
    await until(lambda: is_quiet(world))
    assert script.hold is not None
    assert not script.hold.is_set()


async def test_a_reader_that_closes_a_stream_ends_its_reply(world: World, client: openai.AsyncOpenAI) -> None:
    held(world, at=8)
    stream = await client.chat.completions.create(**body_of(), stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.model_extra:  # some of the reasoning
            break
    await stream.close()
    await until(lambda: is_quiet(world))


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", body_of()), ("/v1/responses", {"input": "x"})]
)
async def test_a_client_that_leaves_just_before_the_stream_ends_its_reply(
    world: World, path: str, body: Json
) -> None:
    script = held(world)
    begun = asyncio.Event()
    asked = iter([{"type": "http.request", "body": json.dumps({**body, "stream": True}).encode()}])

    async def receive() -> Json:
        if (message := next(asked, None)) is not None:
            return message
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()  # the connection takes nothing any more

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "asgi": {"spec_version": "2.3"},
    }
    async with asyncio.timeout(TIMEOUT):
        await world.app(scope, receive, send)
    await until(lambda: is_quiet(world))
    assert script.hold is not None
    assert not script.hold.is_set()


async def test_a_client_that_leaves_the_line_takes_no_place(world: World) -> None:
    script = held(world)
    places = world.app.state.completions._places
    first = [asyncio.create_task(post(world.url, body_of())) for _ in range(4)]
    await until(lambda: running_in(world) == 4)
    owner = world.engine.requests[-1].user_key
    waiting = [asyncio.create_task(post(world.url, body_of())) for _ in range(2)]
    await until(lambda: places.waiting(owner) == 2)
    waiting[0].cancel()
    await until(lambda: places.waiting(owner) == 1)
    assert running_in(world) == 4
    assert script.hold is not None
    script.hold.set()
    answers = await asyncio.gather(*first, waiting[1])
    assert [answer.status_code for answer in answers] == [200] * 5
    await until(lambda: is_quiet(world))


async def test_more_choices_than_places_are_written_one_after_the_other(world: World) -> None:
    script = held(world)
    asking = asyncio.create_task(streamed(world.url, body_of(n=8)))
    await until(lambda: running_in(world) == 4)
    assert world.app.state.completions.open_count == 8
    assert script.hold is not None
    script.hold.set()
    chunks, last = await asking
    assert last == "[DONE]"
    assert [joined(chunks, "content", index) for index in range(8)] == ["The answer is 42."] * 8
    await until(lambda: is_quiet(world))


async def test_a_line_that_is_full_refuses(tmp_path: Path) -> None:
    async with running(tmp_path, replies_at_once=1) as world, client_of(world.url) as client:
        script = held(world)
        limit = world.engine.health().queue_limit
        tasks = [asyncio.create_task(post(world.url, body_of())) for _ in range(limit + 1)]
        places = world.app.state.completions._places
        await until(lambda: sum(map(len, places._lines.values())) == limit)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(**body_of())
        assert refused.value.code == "too_many_replies"
        assert int(refused.value.response.headers["retry-after"]) > 0
        assert script.hold is not None
        script.hold.set()
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * (limit + 1)


async def test_those_who_wait_are_told_when_the_server_ends(tmp_path: Path) -> None:
    async with running(tmp_path, replies_at_once=1) as world:
        held(world)
        tasks = [asyncio.create_task(post(world.url, body_of())) for _ in range(3)]
        places = world.app.state.completions._places
        await until(lambda: sum(map(len, places._lines.values())) == 2)
        await world.app.state.completions.close()
        answers = await asyncio.gather(*tasks)
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"cancelled", "restarting"}
    assert all("retry-after" in answer.headers for answer in answers)


async def test_a_quiet_stream_says_that_it_lives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from playground.api.openai import streaming

    defaults = streaming.Followers.batches.__defaults__
    monkeypatch.setattr(streaming.Followers.batches, "__defaults__", (0.01,))
    script = held(world)
    body: dict[str, Any] = body_of(stream=True)
    seen = b""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as browser,
        browser.stream("POST", f"{world.url}/v1/chat/completions", json=body) as answer,
    ):
        async for piece in answer.aiter_bytes():
            seen += piece
            if seen.count(b": ping") == 2:
                assert script.hold is not None
                script.hold.set()
    assert seen.endswith(b"data: [DONE]\n\n")
    assert defaults == (streaming.QUIET_SECONDS,)


# --- the line itself ---


async def test_places_go_to_those_who_came_first_and_each_has_a_line_of_his_own() -> None:
    places, two = Places(), Allowance(replies=2)
    order: list[str] = []

    async def come(name: str, owner: str) -> None:
        await places.take(owner, two, 10)
        order.append(name)

    tasks = [asyncio.create_task(come(f"a{number}", "ada")) for number in range(5)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(come("b", "bob")))
    await asyncio.sleep(0)
    assert (order, places.waiting("ada"), places.waiting("bob")) == (["a0", "a1", "b"], 3, 0)
    assert not places.take_free("ada", two)
    tasks[2].cancel()
    await asyncio.sleep(0)
    places.give_back("ada")
    await asyncio.sleep(0)
    assert order[3:] == ["a3"]
    # A place that comes in the moment in which its taker gives up goes to the next one.
    places.give_back("ada")
    tasks[4].cancel()
    await asyncio.wait(tasks)
    assert (places.taken("ada"), places.waiting("ada")) == (1, 0)
    places.give_back("ada")
    places.give_back("bob")
    assert not places._taken
    assert not places._lines


async def test_strangers_of_several_addresses_do_not_take_each_others_places(tmp_path: Path) -> None:
    async with (
        running(tmp_path, replies_at_once=1, behind_proxy=True) as world,
        httpx.AsyncClient(base_url=world.url, trust_env=False, timeout=TIMEOUT) as browser,
    ):
        script = held(world)

        def ask(address: str) -> asyncio.Task[httpx.Response]:
            headers = {"x-forwarded-for": address}
            asking = browser.post("/v1/chat/completions", json=body_of(), headers=headers)
            return asyncio.create_task(asking)

        tasks = [ask("203.0.113.1"), ask("203.0.113.1"), ask("203.0.113.2")]
        await until(lambda: len(world.engine.requests) == 2)
        places = world.app.state.completions._places
        await until(lambda: sum(map(len, places._lines.values())) == 1)
        assert len({request.user_key for request in world.engine.requests}) == 2
        assert script.hold is not None
        script.hold.set()
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * 3
