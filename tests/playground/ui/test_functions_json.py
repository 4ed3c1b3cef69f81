"""Answers as JSON: the schema in the settings, the tree, whether it matches; and how the page reads JSON."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.calling import play, prefer
from tests.playground.ui.served import Served
from tests.playground.ui.test_axe import audit
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
MISTAKES = {
    "": "Line 1, column 1: the text ends here, but a value is missing.",
    '{"a": 1,}': "Line 1, column 8: there must be no comma before }.",
    '{\n "a" 1}': "Line 2, column 6: a colon is missing after the name.",
    "[1, 2": "Line 1, column 6: the text ends here, but a comma or ] is missing.",
    "{'a': 1}": "Line 1, column 2: names and texts stand in double quotes, not in single ones.",
    '{"a": True}': "Line 1, column 7: True is no value: texts stand in double quotes, and true, false and "
    "null are written small.",
    '"a\nb"': "Line 1, column 3: a line break in a text is written \\n.",
    '{"é😀": 01}': "Line 1, column 8: this is not a number as JSON writes it.",
    "{} x": "Line 1, column 4: there is something after the end of the JSON.",
    "[" * 300: "Line 1, column 202: this is nested too deeply.",
}
SAME = ["0", "-1.5e+3", '"\\u00e9\\n"', "[]", '{"a": [1, {"b": null}], "a": 12345678901234567890}']


def test_json_is_read_to_the_digit_and_a_mistake_has_its_place(page: Page) -> None:
    found = page.evaluate(
        """async (texts) => {
            const { parseJson } = await import("/static/js/json.js");
            const mistake = (text) => {
                try { return parseJson(text) && ""; } catch (error) { return error.message; }
            };
            return Object.fromEntries(texts.map((text) => [text, mistake(text)]));
        }""",
        list(MISTAKES),
    )
    assert found == MISTAKES
    again = page.evaluate(
        """async (texts) => {
            const { parseJson, pretty } = await import("/static/js/json.js");
            return texts.map((text) => pretty(parseJson(text)).replace(/\\s+/g, " "));
        }""",
        SAME,
    )
    assert again == [
        "0",
        "-1.5e+3",
        '"é\\n"',
        "[]",
        '{ "a": [ 1, { "b": null } ], "a": 12345678901234567890 }',
    ]


def test_an_answer_that_was_asked_for_as_json_is_a_tree(served: Served, page: Page) -> None:
    page.get_by_test_id("settings-top").click()
    box = page.get_by_test_id("set-schema")
    box.fill('{"type": ')
    expect(page.get_by_test_id("set-schema-check")).to_contain_text("Line 1, column 10")
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-schema")).to_have_count(1)
    expect(page.get_by_test_id("chip-schema")).to_be_hidden()
    page.get_by_test_id("settings-top").click()
    expect(box).to_have_value('{"type": ')
    box.fill(SCHEMA)
    page.get_by_test_id("set-schema-tidy").click()
    page.get_by_test_id("set-schema-name").fill("number")
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-schema")).to_have_text("JSON")

    held = Script([("analysis", "Hm."), ("final", '{"n": 9007199254740993, "why": ["a", {"b": 1}]}')])
    play(served, held, Script([("final", '{"n": "nine"}')]), Script([("final", "no **JSON**")]))
    ask(page)
    badge = page.get_by_test_id("schema-badge")
    expect(badge).to_have_text("Matches the schema")
    answer = page.get_by_test_id("answer")
    expect(answer.locator(".pg-json-number").first).to_have_text("9007199254740993")
    expect(answer.locator("details")).to_have_count(2)
    assert audit(page) == []
    page.get_by_test_id("answer-raw").click()
    expect(answer).to_have_text('{"n": 9007199254740993, "why": ["a", {"b": 1}]}')
    page.reload()
    expect(badge).to_have_text("Matches the schema")
    expect(answer.locator("details")).to_have_count(2)
    ask(page, "And nine?")
    expect(badge).to_have_count(2)
    expect(badge.last).to_contain_text("does not match its schema at /n")
    ask(page, "And none?")
    expect(badge).to_have_count(3)
    expect(badge.last).to_have_attribute("data-valid", "false")
    expect(answer.last).to_have_text("no **JSON**")

    page.get_by_test_id("chip-schema").click()
    expect(box).to_be_focused()
    page.get_by_test_id("set-schema-clear").click()
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-schema")).to_be_hidden()


def test_a_conversation_can_answer_as_text_where_the_defaults_ask_for_json(
    served: Served, page: Page
) -> None:
    prefer(page, response_schema={"name": "number", "description": "", "schema": json.loads(SCHEMA)})
    chip, box, plain = (
        page.get_by_test_id(name) for name in ("chip-schema", "set-schema", "set-schema-plain")
    )
    chip.click()
    expect(box).to_be_visible()
    plain.check()
    expect(box).to_be_hidden()
    assert audit(page) == []
    page.get_by_test_id("dialog-close").click()
    expect(chip).to_be_hidden()
    play(served, Script([("final", "no **JSON**")]))
    ask(page)
    expect(page.get_by_test_id("answer").locator("strong")).to_have_text("JSON")
    page.reload()
    expect(page.get_by_test_id("answer")).to_be_visible()
    page.get_by_test_id("settings-top").click()
    expect(plain).to_be_checked()
    page.get_by_test_id("reset-response_schema").click()
    expect(box).to_be_visible()
    expect(plain).not_to_be_checked()
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("reset-all")).to_have_count(0)  # the sheet takes a moment to go
    chip.click()
    page.get_by_test_id("reset-all").click()
    expect(plain).to_be_checked()
    expect(box).to_be_hidden()
