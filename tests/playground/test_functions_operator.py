"""The operator's functions: the server answers calls by itself, whatever the endpoint does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from playground.functions import MOST_ROUNDS
from tests.playground.calling import (
    ANSWER,
    APPLE,
    CALL,
    SECRET,
    STOCK,
    THING,
    Endpoint,
    Json,
    calling,
    endpoint,
    functions_file,
    page_of,
    plays,
    results,
    said,
    text,
    waits,
)
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running, settled

ON: Json = {"settings": {"operator_functions": ["get_price", "nobody_has_it"], "functions": [STOCK]}}
NO_ANSWER = "Error: the function get_price gave no answer: "


async def last_of(browser: httpx.AsyncClient, turn: Json) -> Json:
    """The last generation of the turn, once all that follows by itself is over."""
    name = turn["generation"]["id"]
    async with asyncio.timeout(TIMEOUT):
        while True:
            over: Json = (await events(browser, name))[-1].data
            if over["next_generation_id"] is None:
                return over
            name = over["next_generation_id"]


async def test_the_server_answers_and_goes_on_by_itself(tmp_path: Path) -> None:
    async with endpoint() as operator:
        operator.replies["get_price"] = text('{"price": 3}')
        file = functions_file(tmp_path, operator.declared("get_price", "get_weather"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            listed = (await browser.get("/api/functions")).json()
            assert listed["items"][0] == {
                "name": "get_price",
                "description": "The get_price.",
                "parameters": THING,
            }
            assert [each["name"] for each in listed["items"]] == ["get_price", "get_weather"]
            plays(world, CALL, ANSWER)
            turn = await ask(browser, **ON)
            seen = await events(browser, turn["generation"]["id"])
            names = [each.name for each in seen]
            assert names[-2:] == ["calling", "finish"]
            ends = [each.data["id"] for each in seen if each.name == "message_end"]
            assert seen[-2].data == {"calls": ends[-1:]}
            first = seen[-1].data
            assert (first["status"], first["waiting_calls"]) == ("finished", [])
            over = await last_of(browser, turn)
            assert (over["id"], over["answers"]) == (first["next_generation_id"], first["id"])
            page = await page_of(browser, turn)
            assert said(page)[2:] == [
                ("functions.get_price", APPLE),
                ("functions.get_price", '{"price": 3}'),
                ("analysis", "It is 3."),
                ("final", "An apple costs 3."),
            ]
            assert page["generations"][0] == first
            prompt = world.engine.codec.decode(world.engine.requests[0].prompt_ids)
            assert "type get_price" in prompt
            assert "get_weather" not in prompt, "it is not switched on"
            everything = [listed, page, [each.data for each in seen]]
            assert "hidden" not in str(everything), "nobody learns where it is"
            assert SECRET not in str(everything)
            assert not world.app.state.turns.places._taken, "the turn's one place is free again"
        [request] = operator.requests
        assert request["line"] == "POST /get_price?key=hidden HTTP/1.1"
        assert request["headers"]["authorization"] == SECRET.lower()
        assert request["body"] == {
            "name": "get_price",
            "arguments": {"thing": "apple"},
            "conversation_id": turn["conversation"]["id"],
        }


FAULTS = {
    "a failure": (text("boom", "500 No"), "it failed with status 500"),
    "a redirect": (
        text("", "302 Found", "Location: http://127.0.0.1:9/elsewhere"),
        "it points elsewhere, which is not followed",
    ),
    "too much": (text("x" * 5_000), "its answer has more than 1,000 characters"),
    "a little too much": (text("x" * 1_001), "its answer has more than 1,000 characters"),
    "no text": (text(b"\xff\xfe"), "its answer is not valid text"),
    "a zero": (text("a\x00b"), "its answer is not valid text"),
    "packed": (text("x", "200 OK", "Content-Encoding: gzip"), "its answer is packed"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


async def test_whatever_goes_wrong_is_told_to_the_model(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def endless(writer: asyncio.StreamWriter, _: Json) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await writer.drain()
        await operator.over.wait()

    async def torn(writer: asyncio.StreamWriter, _: Json) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async with endpoint() as operator:
        declared = operator.declared("get_price")
        declared += operator.declared("slow", timeout_seconds=0.1)
        declared += operator.declared("dead", url="http://127.0.0.1:9/dead")
        file = functions_file(folder, declared)
        settings = {"operator_functions": ["get_price", "slow", "dead"]}
        async with (
            running(folder, functions_file=file, max_message_chars=1_000) as world,
            world.browser() as browser,
        ):

            async def result(script: Script) -> str:
                plays(world, script, ANSWER)
                turn = await ask(browser, settings=settings)
                over = await last_of(browser, turn)
                assert over["finish_reason"] == "stop", "the turn has its answer all the same"
                return str(said(await page_of(browser, turn))[3][1])

            for reply, reason in FAULTS.values():
                operator.replies["get_price"] = reply
                assert await result(CALL) == f"{NO_ANSWER}{reason}."
            operator.replies["get_price"] = torn
            assert await result(CALL) == f"{NO_ANSWER}it cannot be reached."
            operator.replies["slow"] = endless
            slow = "Error: the function slow gave no answer: it took too long."
            assert await result(calling(("slow", APPLE))) == slow
            dead = "Error: the function dead gave no answer: it cannot be reached."
            assert await result(calling(("dead", APPLE))) == dead
            operator.replies["get_price"] = text("x" * 1_000)
            assert await result(CALL) == "x" * 1_000
            asked = len(operator.requests)
            for arguments in ("{thing: apple}", "[1]", '{"n": NaN}'):
                assert (await result(calling(("get_price", arguments)))).startswith(NO_ANSWER)
            assert len(operator.requests) == asked, "what is no JSON object is not sent"
            operator.replies["get_price"] = text("fine")
            assert await result(calling(("get_price", ""))) == "fine"
            assert operator.requests[-1]["body"]["arguments"] == {}
    logged = caplog.text
    assert "get_price gave no answer" in logged
    for secret in (SECRET, "hidden", "apple", "127.0.0.1:9"):
        assert secret not in logged


async def test_two_calls_are_answered_together_and_in_order(tmp_path: Path) -> None:
    both_asked = asyncio.Barrier(2)

    async def together(writer: asyncio.StreamWriter, body: Json) -> None:
        await both_asked.wait()
        await text(body["arguments"]["thing"])(writer, body)

    async with endpoint() as operator:
        operator.replies = {"get_price": together}
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            plays(world, calling(("get_price", APPLE), ("get_price", '{"thing": "pear"}')), ANSWER)
            turn = await ask(browser, **ON)
            await last_of(browser, turn)
            page = await page_of(browser, turn)
            assert [each["content"] for each in page["messages"] if each["role"] == "tool"] == [
                "apple",
                "pear",
            ]


async def test_calls_of_both_kinds_are_answered_by_both(tmp_path: Path) -> None:
    async with endpoint() as operator:
        operator.replies["get_price"] = text("3")
        file = functions_file(tmp_path, operator.declared("get_price", "get_stock"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            plays(world, calling(("get_stock", APPLE), ("get_price", APPLE)), ANSWER)
            settings = {"operator_functions": ["get_price", "get_stock"], "functions": [STOCK]}
            turn = await ask(browser, settings=settings)
            [stock] = await waits(browser, turn)
            page = await page_of(browser, turn)
            assert said(page)[-1] == ("functions.get_price", "3"), "what the server has is kept"
            assert page["messages"][-3]["id"] == stock, "the person's own function hides the operator's"
            going = (await results(browser, turn, (stock, "8 left"))).json()
            await settled(browser, going["generation"]["id"])
            assert said(await page_of(browser, turn))[-4:] == [
                ("functions.get_price", "3"),
                ("functions.get_stock", "8 left"),
                ("analysis", "It is 3."),
                ("final", "An apple costs 3."),
            ]
        assert [each["body"]["name"] for each in operator.requests] == ["get_price"]


async def test_rounds_end_and_a_person_lets_them_go_on(tmp_path: Path) -> None:
    async with endpoint() as operator:
        operator.replies["get_price"] = text("3")
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            plays(world, CALL)
            turn = await ask(browser, **ON)
            over = await last_of(browser, turn)
            assert len(operator.requests) == MOST_ROUNDS
            assert (over["status"], over["error_code"]) == ("finished", "too_many_rounds")
            [call] = over["waiting_calls"]
            plays(world, CALL, ANSWER)
            going = (await results(browser, turn, (call, "4"))).json()
            assert (await last_of(browser, going))["finish_reason"] == "stop"
            assert len(operator.requests) == MOST_ROUNDS + 1


class Held:
    """A world whose function has been asked and does not answer."""

    def __init__(self, world: World, browser: httpx.AsyncClient, turn: Json) -> None:
        self.world, self.browser, self.turn = world, browser, turn
        self.id = turn["generation"]["id"]


async def holding(operator: Endpoint, world: World, browser: httpx.AsyncClient) -> Held:
    operator.replies["get_price"] = operator.hold
    plays(world, CALL, ANSWER)
    turn = await ask(browser, **ON)
    async with asyncio.timeout(TIMEOUT):
        await operator.asked.wait()
    return Held(world, browser, turn)


async def test_a_function_that_runs_is_cancelled_and_its_call_waits(tmp_path: Path) -> None:
    async with endpoint() as operator:
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            held = await holding(operator, world, browser)
            now = (await browser.get(f"/api/generations/{held.id}")).json()["generation"]
            assert (now["status"], now["finish_reason"], now["waiting_calls"]) == ("running", "tool_call", [])
            page = await page_of(browser, held.turn)
            assert page["conversation"]["running_generation_id"] == held.id
            call = page["messages"][-1]["id"]
            assert (await results(browser, held.turn, (call, "3"))).status_code == 409
            question = {"conversation_id": held.turn["conversation"]["id"], "text": "And?"}
            assert (await browser.post("/api/turns", json=question)).status_code == 409
            assert (await browser.post(f"/api/generations/{held.id}/cancel")).status_code == 202
            assert await waits(browser, held.turn) == [call]
            going = (await results(browser, held.turn, (call, "3"))).json()
            await settled(browser, going["generation"]["id"])
            assert said(await page_of(browser, held.turn))[-1] == ("final", "An apple costs 3.")
            assert world.app.state.turns.open_count == 0


async def test_a_conversation_is_deleted_while_its_function_runs(tmp_path: Path) -> None:
    async with endpoint() as operator:
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            held = await holding(operator, world, browser)
            address = f"/api/conversations/{held.turn['conversation']['id']}"
            assert (await browser.delete(address)).status_code == 204
            assert world.app.state.turns.open_count == 0
            assert len(world.engine.requests) == 1
            assert (await browser.post(f"{address}/restore")).status_code == 200
            assert len(await waits(browser, held.turn)) == 1


@pytest.mark.parametrize("killed", [False, True])
async def test_a_function_that_ran_at_the_end_waits_again(tmp_path: Path, killed: bool) -> None:
    async with endpoint() as operator:
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            held = await holding(operator, world, browser)
            cookies = browser.cookies
            if killed:  # nothing of what comes now is saved any more
                copied = tmp_path / "killed"
                await asyncio.to_thread(copy_database, tmp_path, copied)
        folder = copied if killed else tmp_path
        async with running(folder, functions_file=file) as world, world.browser() as browser:
            browser.cookies = cookies
            [call] = await waits(browser, held.turn)
            plays(world, ANSWER)
            going = (await results(browser, held.turn, (call, "3"))).json()
            await settled(browser, going["generation"]["id"])
            assert said(await page_of(browser, held.turn))[-1] == ("final", "An apple costs 3.")


def copy_database(source: Path, target: Path) -> None:
    target.mkdir()
    for each in source.glob("playground.sqlite3*"):
        (target / each.name).write_bytes(each.read_bytes())


async def test_where_the_next_reply_cannot_begin_the_call_waits_and_says_why(tmp_path: Path) -> None:
    async with endpoint() as operator:
        operator.replies["get_price"] = text("word " * 3_000)
        file = functions_file(tmp_path, operator.declared("get_price"))
        async with running(tmp_path, functions_file=file) as world, world.browser() as browser:
            world.engine.context_length = 1_000
            plays(world, CALL, ANSWER)
            turn = await ask(browser, **ON)
            over = await last_of(browser, turn)
            assert (over["status"], over["error_code"]) == ("finished", "context_length_exceeded")
            [call] = over["waiting_calls"]
            going = (await results(browser, turn, (call, "3"))).json()
            await settled(browser, going["generation"]["id"])
