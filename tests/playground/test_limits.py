"""How often, how many at once, how much a day: who is over a limit is told so, and nobody else notices."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from playground.errors import PlaygroundError
from playground.limits.allowance import Allowance, allowance_for, check_tokens, midnight_after
from playground.limits.words import try_again
from playground.settings_limits import LimitSettings
from storage.store import Store
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running, settled

WORDS = [("analysis", "one two three four"), ("final", "five six seven eight")]


def refusal(answer: httpx.Response) -> tuple[int, str, bool]:
    """Status and code; and whether both places say the same number of seconds, in words too."""
    error = answer.json()["error"]
    seconds = int(answer.headers["retry-after"])
    told = error["retry_after"] == seconds and error["message"].endswith(try_again(seconds))
    return answer.status_code, error["code"], told


def tokens_of(world: World) -> int:
    """What the first who asked has used today."""
    owner = world.engine.requests[0].user_key
    return world.store.usage_of(owner, datetime.now(UTC).date().isoformat()).tokens


def everything_in(folder: Path) -> bytes:
    """All bytes of the folder's files."""
    return b"".join(file.read_bytes() for file in folder.glob("*") if file.is_file())


def as_a_crash_leaves_it(folder: Path) -> Path:
    """A copy of the database while it is in use."""
    copy = folder / "copy"
    copy.mkdir()
    for file in folder.glob("playground.sqlite3*"):
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


# --- requests ---


async def test_one_person_who_asks_too_often_is_told_and_others_are_not(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_minute=5) as world,
        world.browser() as greedy,
        world.browser() as other,
    ):
        for _ in range(5):
            assert (await greedy.get("/api/preferences")).status_code == 200
        assert refusal(await greedy.get("/api/preferences")) == (429, "rate_limited", True)
        assert (await other.get("/api/preferences")).status_code == 200


async def test_an_address_is_counted_whoever_sits_there(tmp_path: Path) -> None:
    async with running(tmp_path, address_requests_per_minute=6) as world:
        for number in range(6):
            forged = {"x-forwarded-for": f"203.0.113.{number}"}
            async with world.browser() as browser:
                assert (await browser.get("/api/model", headers=forged)).status_code == 200
        async with world.browser() as browser:
            forged = {"x-forwarded-for": "203.0.113.9"}
            assert refusal(await browser.get("/api/model", headers=forged)) == (429, "rate_limited", True)
            assert (await browser.get("/healthz")).status_code == 200
            assert (await browser.get("/static/favicon.svg")).status_code == 200


async def test_who_does_not_listen_to_refusals_gets_further_ones_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.limits.middleware.HOLD_SECONDS", 3600.0)
    async with running(tmp_path, address_requests_per_minute=1) as world, world.browser() as browser:
        assert (await browser.get("/api/model")).status_code == 200
        for _ in range(20):
            assert refusal(await browser.get("/api/model")) == (429, "rate_limited", True)
        late = asyncio.create_task(browser.get("/api/model"))
        assert (await browser.get("/healthz")).status_code == 200
        assert not (await asyncio.wait({late}, timeout=0.2))[0]
        late.cancel()


async def test_bodies_that_are_too_large_are_refusals_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.limits.middleware.HOLD_SECONDS", 3600.0)
    async with running(tmp_path) as world, world.browser() as browser:
        for _ in range(20):
            assert (await browser.post("/api/turns", content=b"[" * 100_001)).status_code == 413
        late = asyncio.create_task(browser.post("/api/turns", content=b"[" * 100_001))
        assert (await browser.get("/api/model")).status_code == 200
        assert not (await asyncio.wait({late}, timeout=0.2))[0]
        late.cancel()


async def test_behind_a_proxy_its_askers_are_told_apart(tmp_path: Path) -> None:
    async with (
        running(tmp_path, behind_proxy=True, address_requests_per_minute=2) as world,
        world.browser() as browser,
    ):

        async def asked(forwarded: str) -> int:
            return (await browser.get("/api/model", headers={"x-forwarded-for": forwarded})).status_code

        assert [await asked(f"10.0.0.{n}, 198.51.100.2") for n in range(3)] == [200, 200, 429]
        assert await asked("198.51.100.2, 198.51.100.3") == 200


async def test_shared_conversations_cannot_be_guessed_at_will(tmp_path: Path) -> None:
    async with running(tmp_path, share_reads_per_minute=4) as world, world.browser() as browser:
        for path in ("/s/a", "/api/shared/b", "/s/c", "/api/shared/d"):
            assert (await browser.get(path)).status_code == 404
        assert refusal(await browser.get("/s/e")) == (429, "rate_limited", True)
        assert refusal(await browser.post("/api/shared/f/import")) == (429, "rate_limited", True)
        assert (await browser.get("/api/preferences")).status_code == 200


async def test_strangers_do_not_fill_the_database(tmp_path: Path) -> None:
    async with running(tmp_path, visitors_per_hour=3) as world, world.browser() as known:
        assert (await known.get("/api/preferences")).status_code == 200
        statuses = []
        for _ in range(6):
            async with world.browser() as stranger:
                await stranger.get("/")  # a page gives a cookie, and makes nobody
                statuses.append((await stranger.get("/api/preferences")).status_code)
        assert statuses == [200, 200, 429, 429, 429, 429]
        assert (await known.get("/api/preferences")).status_code == 200
        assert world.store.totals(datetime.now(UTC)).users == 3


async def test_files_are_imported_so_often_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path, imports_per_hour=2) as world, world.browser() as browser:
        for _ in range(2):
            assert (await browser.post("/api/import", content=b"nothing")).status_code == 400
        assert refusal(await browser.post("/api/import", content=b"nothing")) == (429, "rate_limited", True)


# --- replies ---


async def test_replies_at_once_are_counted_until_they_end(tmp_path: Path) -> None:
    script = Script(WORDS, hold=asyncio.Event(), hold_at=3)
    assert script.hold is not None
    async with (
        running(tmp_path, script, replies_at_once=2) as world,
        world.browser() as greedy,
        world.browser() as other,
    ):
        first = await ask(greedy, client_id="one")
        await ask(greedy, client_id="two", temporary=True)
        full = await greedy.post("/api/turns", json={"text": "A third one"})
        assert refusal(full) == (429, "too_many_replies", True)
        assert "2 of your replies" in full.json()["error"]["message"]
        again = await ask(greedy, client_id="one")  # the same one takes no second place
        assert again["generation"]["id"] == first["generation"]["id"]
        await ask(other)
        script.hold.set()
        await settled(greedy, first["generation"]["id"])
        places = world.app.state.turns.places
        async with asyncio.timeout(TIMEOUT):
            while places.taken(world.engine.requests[0].user_key):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await ask(greedy)


async def test_a_refused_turn_gives_its_place_back(tmp_path: Path) -> None:
    async with running(tmp_path, replies_at_once=1) as world, world.browser() as browser:
        for _ in range(3):
            answer = await browser.post("/api/turns", json={"text": "x", "conversation_id": "0" * 32})
            assert answer.status_code == 404
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])


# --- tokens ---


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        (Script(WORDS), {}),
        (Script(WORDS), {"max_tokens": 5}),
        (Script(WORDS, fail_at=6), {}),
        (Script(WORDS, crash_at=6), {}),
        (Script(WORDS), {"temporary": True}),
    ],
    ids=["to its end", "cut by its limit", "failed", "crashed", "temporary"],
)
async def test_every_token_of_a_reply_counts_once(
    tmp_path: Path, script: Script, fields: dict[str, Any]
) -> None:
    async with running(tmp_path, script) as world, world.browser() as browser:
        expected = 0
        for _ in range(2):
            turn = await ask(browser, **fields)
            await settled(browser, turn["generation"]["id"])
            stop = script.fail_at or script.crash_at or fields.get("max_tokens")
            expected += stop or len(world.engine.token_ids(script))
        async with asyncio.timeout(TIMEOUT):
            while tokens_of(world) < expected:  # noqa: ASYNC110 - a temporary chat's count follows its end
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert tokens_of(world) == expected


async def test_a_stopped_and_a_continued_reply_count_what_was_written(tmp_path: Path) -> None:
    script = Script(WORDS, hold=asyncio.Event(), hold_at=7)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        await events(browser, name, until=5)
        await browser.post(f"/api/generations/{name}/cancel")
        await settled(browser, name)
        assert tokens_of(world) == 7
        world.engine.script = Script([("final", "six")])
        wanted = {"conversation_id": turn["conversation"]["id"], "continue_of": name}
        more = (await browser.post("/api/turns", json=wanted)).json()
        await settled(browser, more["generation"]["id"])
        assert tokens_of(world) == 7 + len(world.engine.token_ids(world.engine.script))


async def test_what_a_killed_server_had_written_is_counted_at_the_next_start(tmp_path: Path) -> None:
    script = Script(WORDS, hold=asyncio.Event(), hold_at=7)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        await events(browser, turn["generation"]["id"], until=5)
        owner, generation = world.engine.requests[0].user_key, turn["generation"]["id"]
        async with asyncio.timeout(TIMEOUT):
            while len(world.store.generation_tokens(owner, generation).output_ids) < 7:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        copy = as_a_crash_leaves_it(tmp_path)
    for _ in range(2):
        store = Store.open(copy / "playground.sqlite3")
        assert store.usage_of(owner, datetime.now(UTC).date().isoformat()).tokens == 7
        store.close()


async def test_todays_tokens_end_at_midnight(tmp_path: Path) -> None:
    async with running(tmp_path, Script(WORDS), tokens_per_day=20) as world, world.browser() as browser:
        for _ in range(2):
            turn = await ask(browser)
            await settled(browser, turn["generation"]["id"])
        answer = await browser.post("/api/turns", json={"text": "And more"})
        assert refusal(answer) == (429, "quota_exceeded", True)
        assert "20 tokens" in answer.json()["error"]["message"]
        assert (await browser.get("/api/account")).json()["usage"]["tokens"] == tokens_of(world) > 20
        owner = world.engine.requests[0].user_key
        evening = datetime.now(UTC).replace(hour=23, minute=59, second=30, microsecond=0)
        with pytest.raises(PlaygroundError) as refused:
            check_tokens(world.store, owner, Allowance(tokens=20), lambda: evening)
        assert refused.value.retry_after == 30
        check_tokens(world.store, owner, Allowance(tokens=20), lambda: midnight_after(evening))


def test_guests_never_have_more_than_others() -> None:
    settings = LimitSettings(replies_at_once=8, guest_replies_at_once=0, tokens_per_day=0)
    assert allowance_for(settings, guest=True) == Allowance(8, 0)
    settings = LimitSettings(tokens_per_day=100, guest_tokens_per_day=500, guest_replies_at_once=1)
    assert allowance_for(settings, guest=True) == Allowance(1, 100)
    assert allowance_for(settings, guest=False) == Allowance(8, 100)


@pytest.mark.parametrize(
    ("guests", "others", "helps"), [(3, 0, True), (3, 100, True), (3, 3, False), (0, 3, False), (0, 0, False)]
)
async def test_guests_are_told_where_signing_in_gives_more(
    tmp_path: Path, guests: int, others: int, helps: bool
) -> None:
    values: dict[str, Any] = {
        "guest_tokens_per_day": guests,
        "tokens_per_day": others,
        "oauth_client_id": "x",
    }
    async with running(tmp_path, Script(WORDS), **values) as world, world.browser() as browser:
        assert (await browser.get("/api/bootstrap")).json()["sign_in"]["more_tokens"] is helps
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        answer = await browser.post("/api/turns", json={"text": "And more"})
        told = answer.json().get("error", {"message": ""})["message"]
        assert told.endswith(", or sign in to go on.") is helps
        assert answer.is_success is (guests == others == 0)


async def test_no_address_is_written_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    address = "203.0.113.77"
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as browser:
        headers = {"x-forwarded-for": address}
        for path in ("/api/bootstrap", "/api/nothing", "/s/nothing"):
            await browser.get(path, headers=headers)
        turn = (await browser.post("/api/turns", json={"text": "Hello"}, headers=headers)).json()
        await settled(browser, turn["generation"]["id"])
    assert address.encode() not in everything_in(tmp_path)
    assert address not in caplog.text
