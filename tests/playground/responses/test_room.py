"""Programs without a key share one guest: whoever stores much there loses his own, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import httpx

from playground.responses.room import PART, AddressRoom
from storage.responses import ResponseRoom
from tests.playground.world import World, running

HERE, ELSEWHERE = "203.0.113.1", "203.0.113.2"


async def store(program: httpx.AsyncClient, where: str, previous: str | None = None) -> str:
    """A response that is stored for a program at this address."""
    body = {"input": "x" * 100, **({"previous_response_id": previous} if previous else {})}
    answer = await program.post("/v1/responses", json=body, headers={"x-forwarded-for": where})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def kept(program: httpx.AsyncClient, *ids: str) -> list[bool]:
    """Which of them are still found."""
    return [(await program.get(f"/v1/responses/{each}")).status_code == 200 for each in ids]


def give_room(world: World, room: ResponseRoom) -> None:
    """Let the shared guest have so much, and each address its part."""
    world.store.room = room
    world.app.state.responses.room = AddressRoom(room)


async def test_a_stranger_pushes_out_his_own_responses_only(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as program:
        give_room(world, ResponseRoom(count=3 * PART))
        honest = await store(program, ELSEWHERE)
        greedy = [await store(program, HERE) for _ in range(3 * PART + 2)]
        assert await kept(program, honest) == [True]
        assert await kept(program, *greedy[-4:]) == [False, True, True, True]


async def test_bytes_count_too_and_what_is_gone_on_from_is_used(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as program:
        give_room(world, ResponseRoom(count=3 * PART))
        first = await store(program, HERE)
        other = await store(program, HERE)
        later = await store(program, HERE, previous=first)
        newest = await store(program, HERE)
        assert await kept(program, first, other, later, newest) == [True, False, True, True]
        assert (await program.delete(f"/v1/responses/{first}")).status_code == 200
        await store(program, HERE)
        assert await kept(program, later, newest) == [True, True]
        give_room(world, ResponseRoom(bytes=PART))
        large = [await store(program, HERE) for _ in range(2)]
        assert await kept(program, *large) == [False, True]


async def test_on_a_machine_of_ones_own_there_is_room_for_all(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as program:
        give_room(world, ResponseRoom(count=PART))
        made = [await store(program, HERE) for _ in range(4)]
        assert await kept(program, *made) == [True] * 4


def test_what_is_remembered_is_bounded() -> None:
    room = AddressRoom(ResponseRoom(count=5 * PART))
    for number in range(20 * PART):
        assert room.take(f"address {number}", f"resp {number}", 1, None) == []
    assert len(room._addresses) == 5 * PART
    assert room.take("one", "resp", 1, "unknown") == []
    assert room.take("one", "resp", 2, "unknown") == [], "the same one, larger"


async def test_whose_response_it_is_not_cannot_take_it_out_of_the_count(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as program:
        give_room(world, ResponseRoom(count=2 * PART))
        first = await store(program, HERE)
        async with world.browser() as guest:
            await guest.get("/api/bootstrap")
            assert (await guest.delete(f"/v1/responses/{first}")).status_code == 404
        made = [await store(program, HERE) for _ in range(2)]
        assert await kept(program, first, *made) == [False, True, True]
