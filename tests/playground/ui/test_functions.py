"""Functions: written down in the settings, called by a reply, answered by hand or by the server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.playground.scripted import Script
from tests.playground.ui.calling import ANSWER, CALL, PRICE, RATE, kinds, play, prefer, waits
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.operator import Operator
from tests.playground.ui.served import Served
from tests.playground.ui.test_axe import audit
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.ran=1">${window.ran=1}{{window.ran=1}}'
FOREIGN = '{"type": "object", "properties": {"a": {"$ref": "https://example.org/x"}}}'
ROUND = ["reasoning-toggle", "tool-call", "tool-result", "reasoning-toggle", "answer"]


def test_a_function_is_written_down_copied_deleted_and_taken_up_again(page: Page) -> None:
    page.get_by_test_id("settings-top").click()
    page.get_by_test_id("function-add").click()
    name, box = page.get_by_test_id("function-name"), page.get_by_test_id("function-parameters")
    name.fill("get price")
    box.fill('{\n  "type": "object",\n}')
    expect(page.get_by_test_id("function-parameters-check")).to_have_text(
        "Line 2, column 19: there must be no comma before }."
    )
    page.get_by_test_id("function-save").click()
    expect(page.get_by_test_id("function-name-problem")).to_contain_text("no spaces")
    name.fill("get_price")
    page.get_by_test_id("function-parameters-clear").click()
    page.get_by_test_id("function-parameters-example").click()
    expect(box).to_have_value(re.compile('"city"'))
    assert audit(page) == []
    page.get_by_test_id("function-save").click()
    expect(page.get_by_test_id("function-dialog")).to_have_count(0)
    rows = page.get_by_test_id("function")
    page.get_by_test_id("function-duplicate").click()
    expect(rows).to_have_count(2)
    page.get_by_test_id("function-delete").first.click()
    expect(rows).to_have_count(1)
    expect(page.get_by_test_id("function-undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows.locator(".pg-function-name")).to_have_text(["get_price", "get_price_2"])
    page.get_by_test_id("function-edit").last.click()
    box.fill(FOREIGN)
    page.get_by_test_id("function-cancel").click()
    page.get_by_test_id("function-resume").click()
    expect(box).to_have_value(re.compile("example.org"))
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("function-dialog")).to_have_count(0)
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-functions")).to_have_text("2 functions")


def test_a_call_is_answered_by_hand_and_an_error_keeps_the_text(served: Served, page: Page) -> None:
    prefer(page, functions=[PRICE])
    play(served, CALL, ANSWER)
    ask(page, "What is the tea?")
    waits(page)
    expect(page.get_by_test_id("call-arguments").locator("li")).to_have_text(['thing: "tea"', "size: 2"])
    page.get_by_test_id("call-arguments-raw").click()
    expect(page.get_by_test_id("call-arguments").locator("code")).to_have_text('{"thing": "tea", "size": 2}')

    def away(route: Route) -> None:
        route.fulfill(status=429, json={"error": {"code": "rate_limited", "message": "The disk is busy."}})

    result = page.get_by_test_id("result-input")
    result.fill('{"euros": 9')
    expect(page.get_by_test_id("result-kind")).to_contain_text("Line 1, column 12")
    result.fill('{"euros": 9}')
    expect(page.get_by_test_id("result-kind")).to_be_empty()
    page.route("**/api/turns", away)
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("result-problem")).to_have_text("The disk is busy.")
    page.unroute("**/api/turns")
    page.reload()
    expect(result).to_have_value('{"euros": 9}')
    result.press("Control+Enter")
    expect(page.get_by_test_id("answer").locator("strong")).to_have_text("9 euros")
    expect(page.get_by_test_id("tool-call").get_by_test_id("tool-result").locator("li")).to_have_text(
        "euros: 9"
    )
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)
    assert kinds(page) == ROUND
    assert '{"euros": 9}' in served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    page.get_by_test_id("chip-functions").click()
    page.get_by_test_id("function-edit").first.click()
    box = page.get_by_test_id("function-parameters")
    box.fill(FOREIGN)
    page.get_by_test_id("function-strict").check()
    page.get_by_test_id("function-save").click()
    expect(page.get_by_test_id("function-problem")).to_contain_text(re.compile("Not saved.*get_price.*ref"))
    expect(box).to_have_value(FOREIGN)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("problem-functions")).to_be_empty()
    page.get_by_test_id("function-edit").first.click()
    expect(box).to_have_value(re.compile('"thing"'))


def test_a_reply_of_two_steps_is_one_version(served: Served, page: Page) -> None:
    prefer(page, functions=[PRICE])
    play(served, CALL, ANSWER, ANSWER)
    ask(page)
    waits(page)
    page.get_by_test_id("result-input").fill("9")
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("answer")).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("reply-footer")).to_contain_text("tokens")
    assert kinds(page) == ROUND
    page.get_by_test_id("details").click()
    expect(page.locator(".pg-receipt-step")).to_have_text(["Step 1 of 2", "Step 2 of 2"])
    page.get_by_test_id("regenerate").click()
    page.get_by_test_id("again").click()
    expect(page.get_by_test_id("version")).to_have_text("2/2")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    assert kinds(page) == ["reasoning-toggle", "answer"]
    page.get_by_test_id("version-previous").click()
    expect(page.get_by_test_id("tool-result")).to_have_count(1)
    expect(page.get_by_test_id("version")).to_have_text("1/2")


def test_several_calls_are_answered_together_and_the_page_comes_back_in_the_middle(
    served: Served, new_page: NewPage
) -> None:
    page = new_page(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme="dark"
    )
    prefer(page, functions=[PRICE, RATE])
    both = Script(
        [
            ("commentary to=functions.get_price", '{"thing": "tea"}'),
            ("commentary to=functions.get_rate", "{}"),
        ]
    )
    play(served, both)
    ask(page)
    waits(page, 2)
    assert audit(page) == []
    boxes = page.get_by_test_id("result-input")
    boxes.first.fill("nine")
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("result-problem")).to_contain_text("Not every result is written yet")
    expect(boxes.last).to_be_focused()
    boxes.last.fill("[1.1, 2]")
    last = served.held(12, ("analysis", "Nine euros, that is a lot for tea."), ("final", "Nine."))
    play(served, last, ANSWER)
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("stop")).to_be_visible()
    expect(page.get_by_test_id("tool-result").first).to_contain_text("nine")
    page.reload()
    expect(page.get_by_test_id("tool-result")).to_have_count(2)
    expect(page.get_by_test_id("stop")).to_be_visible()
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    assert kinds(page)[:4] == ["tool-call", "tool-result", "tool-call", "tool-result"]
    wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert wide == 0
    page.get_by_test_id("retry").click()
    expect(page.get_by_test_id("answer").last).to_contain_text("9 euros")


def test_the_operators_function_is_answered_by_the_server(
    served: Served, operator: Operator, page: Page
) -> None:
    page.get_by_test_id("settings-top").click()
    page.get_by_test_id("tab-defaults").click()
    row = page.get_by_test_id("operator-function")
    expect(row).to_contain_text("How many of a thing are in stock.")
    with page.expect_response("**/api/preferences"):
        row.get_by_role("switch", name="get_stock").click()
    page.get_by_test_id("dialog-close").click()
    expect(page.get_by_test_id("chip-functions")).to_have_text("1 function")
    call = Script([("analysis", "How many?"), ("commentary to=functions.get_stock", '{"thing": "tea"}')])
    operator.may_answer.clear()
    operator.answer = "[" + ", ".join(f'{{"shelf": {number}, "left": null}}' for number in range(30)) + "]"
    play(served, call, ANSWER, call, ANSWER)
    ask(page)
    expect(page.get_by_test_id("call-state")).to_have_text("Running…")
    page.reload()
    expect(page.get_by_test_id("call-state")).to_have_text("Running…")
    expect(page.get_by_test_id("stop")).to_be_visible()
    operator.may_answer.set()
    expect(page.get_by_test_id("answer")).to_contain_text("9 euros")
    assert kinds(page) == ROUND
    assert operator.asked[0]["arguments"] == {"thing": "tea"}
    assert "operators-secret" not in page.content()
    unfold = page.get_by_test_id("result-text-unfold")
    expect(unfold).to_have_attribute("aria-expanded", "false")
    unfold.click()
    expect(unfold).to_have_text("Show less")
    page.reload()
    expect(page.get_by_test_id("answer")).to_contain_text("9 euros")
    assert kinds(page) == ROUND
    expect(page.get_by_test_id("reply-footer")).to_be_visible()

    operator.may_answer.clear()
    ask(page, "And now?")
    expect(page.get_by_test_id("call-state").last).to_have_text("Running…")
    page.get_by_test_id("stop").click()
    waits(page)
    page.get_by_test_id("result-input").fill("three")
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("answer")).to_have_count(2)
    assert kinds(page) == ROUND * 2


def test_nothing_that_a_model_or_a_person_wrote_is_run(served: Served, page: Page) -> None:
    prefer(page, functions=[{**PRICE, "description": HOSTILE}])
    arguments = f'{{"{HOSTILE.replace(chr(34), chr(39))}": ["<script>window.ran=1</script>"]}}'
    play(served, Script([("commentary to=functions.get_price", arguments)]), ANSWER)
    ask(page, HOSTILE)
    waits(page)
    expect(page.get_by_test_id("call-arguments")).to_contain_text("<script>window.ran=1</script>")
    page.get_by_test_id("result-input").fill(HOSTILE)
    page.get_by_test_id("result-send").click()
    expect(page.get_by_test_id("answer")).to_be_visible()
    expect(page.get_by_test_id("result-text")).to_have_text(HOSTILE)
    page.reload()
    expect(page.get_by_test_id("result-text")).to_have_text(HOSTILE)
    page.get_by_test_id("chip-functions").click()
    expect(page.get_by_test_id("function")).to_contain_text(HOSTILE)
    assert page.locator("#pg-messages :is(img, script), dialog :is(img, script)").count() == 0
    assert page.evaluate("window.ran === undefined")


def test_calls_and_their_results_by_keyboard_alone(served: Served, page: Page) -> None:
    prefer(page, functions=[PRICE])
    nested = '{"deep": {"list": [1, 2, {"inner": true}]}}'
    play(served, Script([("commentary to=functions.get_price", nested)]), ANSWER)
    page.keyboard.type("Go")
    page.keyboard.press("Enter")
    waits(page)

    def reach(testid: str) -> None:
        for _ in range(40):
            if page.evaluate("document.activeElement?.dataset?.testid ?? ''") == testid:
                return
            page.keyboard.press("Shift+Tab")
        raise AssertionError(testid)

    reach("result-input")
    page.keyboard.type("five")
    page.keyboard.press("Shift+Tab")
    inner = page.get_by_test_id("call-arguments").locator("details").last
    expect(inner.locator("summary")).to_be_focused()
    expect(inner).not_to_have_attribute("open", "")
    page.keyboard.press("Enter")
    expect(inner.locator("li")).to_have_text("inner: true")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("result-send")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer")).to_be_visible()
    expect(page.get_by_test_id("composer-input")).to_be_focused()
