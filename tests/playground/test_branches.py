"""Branches by HTTP: edited questions, other replies, and the way that each place remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.playground.scripted import Script
from tests.playground.world import World, running, settled


def answering(world: World, text: str) -> None:
    """Let the model think and answer this from now on."""
    world.engine.script = Script([("analysis", f"thinking of {text}"), ("final", text)])


async def turn(browser: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """Start a turn and wait for its end."""
    answer = await browser.post("/api/turns", json=fields)
    assert answer.status_code == 202, answer.text
    begun: dict[str, Any] = answer.json()
    await settled(browser, begun["generation"]["id"])
    return begun


async def read(browser: httpx.AsyncClient, conversation: str) -> dict[str, Any]:
    page: dict[str, Any] = (await browser.get(f"/api/conversations/{conversation}")).json()
    return page


def spoken(page: dict[str, Any]) -> list[str]:
    """Questions and answers of the shown path."""
    return [each["content"] for each in page["messages"] if each["channel"] != "analysis"]


async def test_an_edited_question_is_a_sibling_and_both_branches_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        answering(world, "A1")
        first = await turn(browser, text="Q1")
        conversation, question = first["conversation"]["id"], first["user_message"]["id"]
        answering(world, "A2")
        await turn(browser, text="Q2", conversation_id=conversation)
        before = await read(browser, conversation)

        answering(world, "B1")
        edited = await turn(browser, text="Q1, edited", conversation_id=conversation, edit_of=question)
        message = edited["user_message"]
        assert message["parent_id"] is None
        assert message["siblings"] == [question, message["id"]]
        assert message["replies"] == [edited["generation"]["id"]]
        page = await read(browser, conversation)
        assert spoken(page) == ["Q1, edited", "B1"]
        assert page["messages"][0]["siblings"] == [question, message["id"]]
        prompt = world.engine.codec.decode(world.engine.requests[-1].prompt_ids)
        assert "Q1, edited" in prompt
        assert "A1" not in prompt

        address = f"/api/conversations/{conversation}/select"
        back = (await browser.post(address, json={"message_id": question})).json()
        assert spoken(back) == ["Q1", "A1", "Q2", "A2"], "the branch is as it was left"
        assert back["messages"] == [
            {**each, **({"siblings": [question, message["id"]]} if each["id"] == question else {})}
            for each in before["messages"]
        ]
        assert await read(browser, conversation) == back
        again = (await browser.post(address, json={"message_id": message["id"]})).json()
        assert spoken(again) == ["Q1, edited", "B1"]


async def test_a_question_can_have_several_replies(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        answering(world, "A1")
        first = await turn(browser, text="Q1", effort="low")
        conversation, question = first["conversation"]["id"], first["user_message"]["id"]
        answering(world, "A2")
        await turn(browser, text="Q2", conversation_id=conversation)
        answering(world, "Another A1")
        again = await turn(
            browser, conversation_id=conversation, regenerate=question, effort="high", temperature=0.5
        )
        assert again["user_message"]["id"] == question
        assert (again["generation"]["effort"], again["generation"]["temperature"]) == ("high", 0.5)
        replies = [first["generation"]["id"], again["generation"]["id"]]
        assert again["user_message"]["replies"] == replies
        page = await read(browser, conversation)
        assert spoken(page) == ["Q1", "Another A1"]
        assert page["messages"][0]["replies"] == replies
        assert page["messages"][0]["reply"] == again["generation"]["id"]
        assert [each["id"] for each in page["generations"]] == [again["generation"]["id"]]
        prompt = world.engine.codec.decode(world.engine.requests[-1].prompt_ids)
        assert prompt.count("Q1") == 1
        assert "Reasoning: high" in prompt

        address = f"/api/conversations/{conversation}/select"
        back = (await browser.post(address, json={"generation_id": replies[0]})).json()
        assert spoken(back) == ["Q1", "A1", "Q2", "A2"]
        last = back["messages"][-1]["id"]
        answering(world, "A3")
        await turn(browser, text="Q3", conversation_id=conversation)
        assert spoken(await read(browser, conversation)) == ["Q1", "A1", "Q2", "A2", "Q3", "A3"]
        inside = (await browser.post(address, json={"message_id": last})).json()
        assert spoken(inside) == ["Q1", "A1", "Q2", "A2", "Q3", "A3"], "its continuation stays"


async def test_a_reply_without_a_message_can_be_made_again_and_chosen_again(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        world.engine.script = Script(refuse_full=True)
        first = await turn(browser, text="Q1")
        conversation, question = first["conversation"]["id"], first["user_message"]["id"]
        page = await read(browser, conversation)
        assert page["generations"][0]["status"] == "failed"
        assert page["messages"][0]["reply"] == first["generation"]["id"]
        answering(world, "A1")
        await turn(browser, conversation_id=conversation, regenerate=question)
        assert spoken(await read(browser, conversation)) == ["Q1", "A1"]
        address = f"/api/conversations/{conversation}/select"
        back = (await browser.post(address, json={"generation_id": first["generation"]["id"]})).json()
        assert spoken(back) == ["Q1"]
        assert [each["error_code"] for each in back["generations"]] == ["queue_full"]


async def test_only_questions_are_edited_and_regenerated(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        first = await turn(browser, text="Q1")
        conversation = first["conversation"]["id"]
        answer = (await read(browser, conversation))["messages"][-1]["id"]
        before = await read(browser, conversation)
        for body, param in (
            ({"regenerate": answer}, "regenerate"),
            ({"edit_of": answer, "text": "X"}, "edit_of"),
            ({"edit_of": first["user_message"]["id"]}, "edit_of"),
            ({"text": "X", "regenerate": first["user_message"]["id"]}, "regenerate"),
            ({"text": "X", "continue_of": first["generation"]["id"]}, "continue_of"),
            ({"text": "X", "edit_of": answer, "parent_id": answer}, "parent_id"),
            ({"regenerate": answer, "parent_id": answer}, "parent_id"),
            ({"text": "X", "mode": "continue"}, "mode"),
            ({"text": "X", "temporary": True}, "temporary"),
            ({"text": "X", "settings": {"seed": 1}}, "settings"),
            ({"text": "X", "settings": {"top_p": 0}}, "top_p"),
            ({}, "text"),
        ):
            refused = await browser.post("/api/turns", json={"conversation_id": conversation, **body})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["param"]) == (
                400,
                "invalid_parameter",
                param,
            ), body
        for body in ({}, {"message_id": answer, "generation_id": first["generation"]["id"]}):
            refused = await browser.post(f"/api/conversations/{conversation}/select", json=body)
            assert refused.status_code == 400
        assert await read(browser, conversation) == before
