"""What is declared: functions, the operator's file, and schemas of answers; and what is refused, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from playground.settings import SettingsError, load_settings
from tests.playground.calling import PRICE, THING, Endpoint, functions_file, page_of, plays
from tests.playground.scripted import Script
from tests.playground.world import ask, running, settled

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def one(**fields: Any) -> dict[str, Any]:
    return {"functions": [PRICE | fields]}


def schema(wanted: Any, **fields: Any) -> dict[str, Any]:
    return {"response_schema": {"name": "answer", "description": "", "schema": wanted, **fields}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (one(name="get price"), "functions", "1 to 64 letters"),
    (one(name="x" * 65), "functions", "1 to 64 letters"),
    ({"functions": [PRICE, PRICE]}, "functions", "same name"),
    ({"functions": [PRICE | {"name": f"f{n}"} for n in range(33)]}, "functions", "At most 32"),
    (one(description="x" * 2_001), "functions", "get_price is longer than 2,000"),
    (one(description="a\x00b"), "functions", "broken character"),
    (one(parameters={"type": "string"}), "functions", '"type": "object"'),
    (one(parameters={"type": "object", "not": {}}, strict=True), "functions", "'not'"),
    (one(parameters=THING | {"description": "x " * 16_001}), "functions", "32,000"),
    (one(parameters=[1]), "functions", "functions[0].parameters is not valid"),
    (one(url="http://elsewhere"), "functions", "functions[0].url is not a parameter"),
    ({"operator_functions": ["no name"]}, "operator_functions", "1 to 64 letters"),
    ({"operator_functions": "get_price"}, "operator_functions", "not valid"),
    (schema({"type": "object", "not": {}}), "response_schema", "'not'"),
    (schema({"type": "object", "description": "x" * 16_001}), "response_schema", "16,000"),
    (schema(NUMBER, name="my answer"), "response_schema", "1 to 64 letters"),
    (schema("object"), "response_schema", "not valid"),
    (schema({"enum": []}), "response_schema", "cannot be kept"),
    ({"response_schema": "json"}, "response_schema", "response_schema is not valid"),
    ({"response_schema": {"nam": "x"}}, "response_schema", "response_schema.nam is not a parameter"),
]


async def test_what_cannot_be_kept_is_refused_where_it_is_saved(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        for settings, param, words in REFUSED:
            answer = await browser.patch("/api/preferences", json={"settings": settings})
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, param), error
            assert words in error["message"], error
            turn = await browser.post("/api/turns", json={"text": "x", **settings})
            assert (turn.status_code, turn.json()["error"]["param"]) == (400, param)
        assert not world.engine.requests
        saved = (await browser.get("/api/preferences")).json()["settings"]
        assert saved["functions"] is None


async def test_declarations_are_kept_at_every_level_and_the_nearest_counts(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        mine = {"functions": [PRICE], "operator_functions": ["a", "a", "b"], **schema(None)}
        saved = (await browser.patch("/api/preferences", json={"settings": mine})).json()["settings"]
        assert saved["functions"] == [PRICE]
        assert saved["operator_functions"] == ["a", "b"]
        assert saved["response_schema"] == {"name": "answer", "description": "", "schema": None}
        preset = await browser.post("/api/presets", json={"name": "p", "settings": mine})
        assert preset.json()["preset"]["settings"]["functions"] == [PRICE]
        turn = await ask(browser, settings={"functions": []})
        await settled(browser, turn["generation"]["id"])
        prompt = world.engine.codec.decode(world.engine.requests[0].prompt_ids)
        assert "get_price" not in prompt
        assert "# Response Formats" in prompt
        address = f"/api/conversations/{turn['conversation']['id']}"
        changed = await browser.patch(address, json={"settings": {"functions": None}})
        assert changed.json()["conversation"]["settings"]["functions"] is None
        again = await ask(browser, "x", conversation_id=turn["conversation"]["id"])
        await settled(browser, again["generation"]["id"])
        assert "get_price" in world.engine.codec.decode(world.engine.requests[1].prompt_ids)


async def test_a_conversation_answers_as_text_whatever_its_persons_defaults_say(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        await browser.patch("/api/preferences", json={"settings": schema(NUMBER)})
        turn = await ask(browser, settings={"response_schema": "text"})
        over = await settled(browser, turn["generation"]["id"])
        assert over["generation"]["schema"] is None
        assert world.engine.requests[0].constraint is None
        assert "# Response Formats" not in world.engine.codec.decode(world.engine.requests[0].prompt_ids)
        address = f"/api/conversations/{turn['conversation']['id']}"
        file = (await browser.get(f"{address}/export", params={"format": "json"})).content
        taken = (await browser.post("/api/import", content=file)).json()["conversations"][0]["id"]
        copy = (await browser.get(f"/api/conversations/{taken}")).json()["conversation"]
        assert copy["settings"]["response_schema"] == "text"
        await browser.patch(address, json={"settings": {"response_schema": None}})
        again = await ask(browser, "And now?", conversation_id=turn["conversation"]["id"])
        over = await settled(browser, again["generation"]["id"])
        assert over["generation"]["schema"] == {"valid": False, "reason": "The answer is not valid JSON."}
        assert world.engine.requests[1].constraint is not None


async def test_an_answer_is_held_to_its_schema_and_checked(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        valid = Script([("analysis", "One."), ("final", '{"n": 1}')])
        wrong = Script([("analysis", "One."), ("final", '{"n": "one"}')])
        plays(world, valid, wrong, valid, valid)
        found = []
        for settings in (schema(NUMBER), schema(NUMBER), schema(None), {}):
            turn = await ask(browser, **settings)
            over = await settled(browser, turn["generation"]["id"])
            page = await page_of(browser, turn)
            assert page["generations"][0]["schema"] == over["generation"]["schema"]
            found.append(over["generation"]["schema"])
        reason = "The answer does not match its schema at /n: type does not hold."
        fits = {"valid": True, "reason": None}
        assert found == [fits, {"valid": False, "reason": reason}, fits, None]
        constraints = [request.constraint for request in world.engine.requests]
        assert [each is not None for each in constraints] == [True, True, True, False]
        assert constraints[0] is not None
        assert [rule.grammar is None for rule in constraints[0].rules] == [True, False, False]
        cut = await ask(browser, **schema(NUMBER), max_tokens=13)
        over = await settled(browser, cut["generation"]["id"])
        assert over["generation"]["schema"] == {"valid": False, "reason": "The answer is not valid JSON."}


async def test_strict_functions_hold_their_arguments(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser, **one(strict=True))
        await settled(browser, turn["generation"]["id"])
        constraint = world.engine.requests[0].constraint
        assert constraint is not None
        assert any(rule.grammar is not None for rule in constraint.rules)


GOOD = Endpoint(port=9).declared("get_price")[0]
WRONG: list[tuple[Any, str]] = [
    ("{", "the file is not a JSON list of functions"),
    ({"name": "x"}, "the file is not a JSON list of functions"),
    ([1], "function 1: it is not a JSON object"),
    ([{"name": "get_price"}], "function 1 (get_price): url is missing"),
    ([GOOD | {"uri": "x"}], "function 1 (get_price): 'uri' is not a field of a function"),
    ([GOOD, GOOD], "function 2 (get_price): this name comes twice"),
    ([GOOD | {"name": "a b"}], "function 1: A function's name has 1 to 64 letters, digits, _ and -"),
    ([GOOD | {"url": "ftp://x/y"}], "function 1 (get_price): url must look like"),
    ([GOOD | {"url": "http://me:hidden@x/y"}], "function 1 (get_price): url must not hold a password"),
    ([GOOD | {"url": "http://x:999999/"}], "function 1 (get_price): url"),
    ([GOOD | {"headers": {"a b": "c"}}], "function 1 (get_price): headers must be names and values"),
    ([GOOD | {"headers": {"a": "c\r\nd: e"}}], "function 1 (get_price): headers must be names and values"),
    ([GOOD | {"headers": {"Host": "c"}}], "function 1 (get_price): headers cannot set Host"),
    ([GOOD | {"timeout_seconds": 0}], "function 1 (get_price): timeout_seconds"),
    ([GOOD | {"parameters": {"type": "array"}}], "function 1 (get_price): The schema of the function"),
    ([GOOD | {"name": f"f{n}"} for n in range(33)], "at most 32 functions"),
]


@pytest.mark.parametrize(("entries", "mistake"), WRONG)
def test_a_mistake_in_the_operators_file_is_told_at_the_start(
    tmp_path: Path, entries: Any, mistake: str
) -> None:
    file = functions_file(tmp_path, entries)
    if isinstance(entries, str):
        file.write_text(entries)
    with pytest.raises(SettingsError) as caught:
        load_settings(functions_file=file, data_dir=tmp_path)
    assert str(caught.value).startswith(f"FUNCTIONS_FILE: {mistake}")
    assert "hidden" not in str(caught.value)


def test_every_mistake_has_a_line(tmp_path: Path) -> None:
    file = functions_file(tmp_path, [{"name": "a"}, {"name": "b", "url": 3}])
    with pytest.raises(SettingsError) as caught:
        load_settings(functions_file=file, data_dir=tmp_path)
    assert str(caught.value).splitlines() == [
        "FUNCTIONS_FILE: function 1 (a): url is missing.",
        "FUNCTIONS_FILE: function 2 (b): url input should be a valid string.",
    ]
    missing = tmp_path / "none.json"
    with pytest.raises(SettingsError, match="FUNCTIONS_FILE: the file cannot be read: No such file"):
        load_settings(functions_file=missing, data_dir=tmp_path)


def test_the_operators_secrets_are_not_shown_by_accident(tmp_path: Path) -> None:
    settings = load_settings(functions_file=functions_file(tmp_path, [GOOD]), data_dir=tmp_path)
    [function] = settings.operator_functions
    assert function.spec.name == "get_price"
    assert "operators-own" not in repr(function)
    assert "operators-own" not in repr(settings)
    assert json.dumps(function.spec.parameters) == json.dumps(THING)
