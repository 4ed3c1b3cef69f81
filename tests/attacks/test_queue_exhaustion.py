"""A19: one user with 500 requests. The others are answered as if he were not there, or nearly."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.errors import QueueFull
from inference.streams import OpenRequests
from inference.transport import Life
from inference.types import GenerationRequest, ModelStage, ModelStatus, SamplingParams
from inference.worker.messages import Command, State
from inference.worker.pages import KvPages
from inference.worker.scheduling import Scheduler
from inference.worker.sequence import Sequence
from tests.attacks.limits import UNLIMITED
from tests.attacks.world import WITH_SIGN_IN
from tests.conftest import Scale
from tests.inference.paper_device import PaperDevice, sequence_of
from tests.playground.scripted import Script
from tests.playground.world import World, ask, running, settled

FLOOD = 500
HONEST = "vwxyz"
PLACES = 8
SLOTS = 8


# --- at the door ---


async def flood(clients: list[httpx.AsyncClient], count: int) -> Counter[int]:
    """So many questions, fifty at once, spread over these clients; how they were answered."""

    async def one(number: int) -> int:
        client = clients[number % len(clients)]
        answer = await client.post("/api/turns", json={"text": f"Question {number}"})
        if answer.status_code == 429:
            error = answer.json()["error"]
            assert error["code"] in {"too_many_replies", "rate_limited"}
            assert int(answer.headers["retry-after"]) == error["retry_after"] > 0
            assert " Try again in " in error["message"]
        return answer.status_code

    answers: Counter[int] = Counter()
    for first in range(0, count, 50):
        numbers = range(first, min(first + 50, count))
        answers.update(await asyncio.gather(*map(one, numbers)))
    return answers


async def test_five_hundred_questions_take_eight_places_and_others_are_answered(
    tmp_path: Path, scale: Scale
) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    async with running(tmp_path, script, replies_at_once=PLACES) as world, world.browser() as abuser:
        await abuser.get("/api/bootstrap")
        count = scale(60, FLOOD)
        assert await flood([abuser], count) == {202: PLACES, 429: count - PLACES}
        assert world.app.state.turns.open_count == PLACES
        world.engine.choose = lambda request: (
            script if request.user_key == world.engine.requests[0].user_key else Script()
        )
        for _ in HONEST:
            async with world.browser() as honest:
                turn = await ask(honest)
                end = await settled(honest, turn["generation"]["id"])
                assert end["generation"]["status"] == "finished"
        script.hold.set()


@pytest.mark.long
async def test_several_keys_of_one_person_are_one_person(tmp_path: Path, scale: Scale) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    async with running(tmp_path, script, replies_at_once=PLACES) as world, world.browser() as abuser:
        clients = [abuser]
        for number in range(4):
            body = {"name": f"key {number}", "scopes": ["conversations"]}
            secret = (await abuser.post("/api/account/keys", json=body)).json()["secret"]
            client = world.browser()
            client.headers["Authorization"] = f"Bearer {secret}"
            clients.append(client)
        count = scale(60, FLOOD)
        assert await flood(clients, count) == {202: PLACES, 429: count - PLACES}
        script.hold.set()
        for client in clients[1:]:
            await client.aclose()


async def test_without_the_limit_the_flood_is_taken(tmp_path: Path) -> None:
    """The planted hole."""
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    async with running(tmp_path, script, **UNLIMITED) as world, world.browser() as abuser:
        await abuser.get("/api/bootstrap")
        assert await flood([abuser], 3 * PLACES) == {202: 3 * PLACES}
        script.hold.set()


# --- with a new cookie for each question ---


async def dropping_cookies(world: World, visitors: int, **headers: str) -> Counter[int]:
    """So many strangers from one address, who ask as often as one guest may; how they were answered."""
    answers: Counter[int] = Counter()
    for _ in range(visitors):
        async with world.browser() as stranger:
            stranger.headers.update(headers)
            answers += await flood([stranger], 4)
    return answers


async def test_thirty_cookies_of_one_address_are_a_few_guests(tmp_path: Path, scale: Scale) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    async with running(tmp_path, script, behind_proxy=True, **WITH_SIGN_IN) as world:
        visitors = scale(8, 30)
        abuser = {"x-forwarded-for": "203.0.113.1"}
        assert await dropping_cookies(world, visitors, **abuser) == {202: 16, 429: 4 * visitors - 16}
        assert len({request.user_key for request in world.engine.requests}) == 1
        world.engine.script = Script()
        for number in range(len(HONEST)):
            honest = {"x-forwarded-for": f"198.51.100.{number}"}
            assert await dropping_cookies(world, 1, **honest) == {202: 4}
        script.hold.set()


async def test_counted_by_cookie_alone_they_take_all_places(tmp_path: Path) -> None:
    """The planted hole."""
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    settings = {**WITH_SIGN_IN, "guests_per_address": 0}
    async with running(tmp_path, script, behind_proxy=True, **settings) as world:
        assert await dropping_cookies(world, 8) == {202: 32}
        script.hold.set()


# --- at the engine's border ---


class Deaf(Life):
    """A worker that takes everything and answers nothing."""

    def __init__(self) -> None:
        self.sent: list[Command] = []

    def send(self, command: Command) -> None:
        self.sent.append(command)


def open_requests(queue_limit: int, max_running: int) -> OpenRequests:
    target = ModelStatus(name="model", stage=ModelStage.READY)
    requests = OpenRequests(queue_limit, target)
    life = Deaf()  # type: ignore[abstract]
    requests.begin(life)
    requests.hear(life, State(requests.health(), max_running=max_running))
    return requests


def taken(requests: OpenRequests, user: str, count: int) -> int:
    """How many of so many requests of this user are taken."""
    number = 0
    for number in range(count):
        name = f"{user} {number}"
        request = GenerationRequest(name, (1,), SamplingParams(max_tokens=5), user_key=user)
        try:
            requests.open(request, "model")
        except QueueFull:
            return number
    return number + 1


def test_nobody_gets_all_places_of_the_queue() -> None:
    requests = open_requests(32, 32)
    assert taken(requests, "ada", FLOOD) == 48
    assert [taken(requests, user, 2) for user in HONEST] == [2] * len(HONEST)


def test_places_come_back() -> None:
    requests = open_requests(2, 1)
    assert taken(requests, "ada", FLOOD) == 3
    requests.end(requests.health(), None)
    requests.begin(Deaf())  # type: ignore[abstract]
    assert taken(requests, "ada", FLOOD) in {2, 3}


def test_without_shares_the_others_find_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted hole."""
    monkeypatch.setattr("inference.streams.SHARE", 10**9)
    requests = open_requests(32, 32)
    assert taken(requests, "ada", FLOOD) == 64
    assert [taken(requests, user, 2) for user in HONEST] == [0] * len(HONEST)


# --- at the model ---


def steps_of(users: str, *, with_flood: bool, flood_user: str = "ada") -> dict[str, tuple[int, int]]:
    """For each honest user the steps until the first token and until the end of one request."""
    pages = KvPages(2000, 2000, 20)
    device = PaperDevice(Scheduler(pages, max_running=SLOTS, chunk_tokens=64, chunk_beside=64))
    if with_flood:
        for number in range(60):
            device.scheduler.add(sequence_of([number + 100] * 60, 100, flood_user))
        for _ in range(40):
            device.step()
    asked: dict[Any, Sequence] = {}
    for number, user in enumerate(users):
        name = user if flood_user == "ada" else flood_user
        asked[user] = sequence_of([number + 1000] * 60, 30, name)
        device.scheduler.add(asked[user])
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    step = 0
    while len(last) < len(users):
        step += 1
        device.step()
        for user, sequence in asked.items():
            if sequence.generated:
                first.setdefault(user, step)
            if sequence in device.finished:
                last.setdefault(user, step)
        assert step < 100_000
    return {user: (first[user], last[user]) for user in users}


def worst(alone: dict[str, tuple[int, int]], together: dict[str, tuple[int, int]]) -> tuple[float, float]:
    """How much longer the one who waited longest waited, for the first token and for the end."""
    begins = max(each[0] for each in together.values()) / max(each[0] for each in alone.values())
    ends = max(each[1] for each in together.values()) / max(each[1] for each in alone.values())
    return begins, ends


def test_five_others_wait_no_longer_than_twice_as_long() -> None:
    alone = steps_of(HONEST, with_flood=False)
    begins, ends = worst(alone, steps_of(HONEST, with_flood=True))
    assert begins <= 2
    assert ends <= 2


def test_in_one_line_they_would_wait_for_all_of_it() -> None:
    """The planted hole: everybody is the same user."""
    alone = steps_of(HONEST, with_flood=False, flood_user="all")
    begins, ends = worst(alone, steps_of(HONEST, with_flood=True, flood_user="all"))
    assert begins > 20
    assert ends > 10
