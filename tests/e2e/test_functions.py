"""A function that the demonstration model has never seen: called, answered by hand, and an answer as JSON."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.actions import answered, ask, choose_theme
from tests.e2e.conftest import Picture

pytestmark = pytest.mark.browser

PARAMETERS = '{"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}'
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def test_a_function_is_called_answered_by_hand_and_an_answer_comes_as_json(
    page: Page, picture: Picture
) -> None:
    page.get_by_test_id("settings-top").click()
    page.get_by_test_id("function-add").click()
    page.get_by_test_id("function-name").fill("request_weight")
    page.get_by_test_id("function-description").fill("Get the weight.")
    page.get_by_test_id("function-parameters").fill(PARAMETERS)
    page.get_by_test_id("function-parameters-tidy").click()
    page.get_by_test_id("function-save").click()
    expect(page.get_by_test_id("function")).to_contain_text("request_weight")
    page.get_by_test_id("dialog-close").click()
    ask(page, "What is the weight of bread?")
    box = page.get_by_test_id("result-input")
    expect(page.get_by_test_id("call-arguments")).to_contain_text('item: "bread"')
    box.fill('{"weight": 417}')
    picture(page, "function-light")
    box.press("Control+Enter")
    expect(page.get_by_test_id("answer")).to_have_text("The weight of bread is 417.")

    answered(page)
    choose_theme(page, "dark")
    page.get_by_test_id("composer-input").focus()
    picture(page, "function-dark")
    page.get_by_test_id("settings-top").click()
    page.get_by_test_id("set-schema").fill(json.dumps(SCHEMA))
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-schema")).to_be_visible()
    ask(page, "What is 12 + 30?")
    answered(page, replies=2)
    expect(page.get_by_test_id("schema-badge")).to_have_text("Matches the schema")
    expect(page.get_by_test_id("answer").last.locator(".pg-json-key")).to_have_text("answer")
