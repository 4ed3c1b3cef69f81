"""Asking and reading in a real browser: streaming, reasoning, stop, reload, errors."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import first_of
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served

pytestmark = pytest.mark.browser

THOUGHT = "Tens are 40 and ones are 2."
SUM = Script([("analysis", THOUGHT), ("final", "12 + 30 = **42**")])
WORDS = [f"word{number}" for number in range(60)]


def ask(page: Page, text: str = "What is 12 + 30?") -> None:
    page.get_by_test_id("composer-input").fill(text)
    expect(page.get_by_test_id("send")).to_be_enabled()
    page.get_by_test_id("composer-input").press("Enter")


def test_an_answer_is_shown_with_its_reasoning_hidden(served: Served, page: Page) -> None:
    served.play(SUM)
    page.get_by_test_id("effort-high").check()
    ask(page)
    expect(page.get_by_test_id("answer")).to_have_text("12 + 30 = 42")
    expect(page.get_by_test_id("answer").locator("strong")).to_have_text("42")
    expect(page.get_by_test_id("reply-footer")).to_contain_text("high effort")
    expect(page).to_have_url(re.compile(r"/c/[^/]+$"))
    assert THOUGHT not in page.content()

    toggle = page.get_by_test_id("reasoning-toggle")
    expect(toggle).to_contain_text(re.compile(r"Thought for .* · \d+ tokens"))
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_test_id("reasoning-body")).to_have_text(THOUGHT)
    toggle.click()
    assert THOUGHT not in page.content()


def test_show_reasoning_opens_every_reply_and_stays_as_it_was_left(served: Served, page: Page) -> None:
    served.play(SUM)
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)
    ask(page, "And again?")
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    with page.expect_response(re.compile("/api/preferences")):
        page.get_by_test_id("show-reasoning").click()
    expect(page.get_by_test_id("reasoning-body")).to_have_text([THOUGHT, THOUGHT])
    page.reload()
    expect(page.get_by_test_id("reasoning-body")).to_have_text([THOUGHT, THOUGHT])
    expect(page.get_by_test_id("show-reasoning")).to_have_attribute("aria-checked", "true")


def test_reasoning_can_be_read_while_it_is_written(served: Served, page: Page) -> None:
    script = served.held(12, ("analysis", "first part. " + THOUGHT), ("final", "Done."))
    ask(page)
    toggle = page.get_by_test_id("reasoning-toggle")
    expect(toggle).to_contain_text(re.compile(r"Thinking… \d+ s"))
    toggle.click()
    expect(page.get_by_test_id("reasoning-body")).to_contain_text("first part.")
    served.let_go(script)
    expect(page.get_by_test_id("reasoning-body")).to_have_text("first part. " + THOUGHT)


def test_a_reload_in_the_middle_loses_nothing(served: Served, page: Page) -> None:
    script = served.held(70, ("analysis", "hm"), ("final", " ".join(WORDS)))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    page.reload()
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    expect(page.get_by_test_id("stop")).to_be_visible()
    served.let_go(script)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(page.get_by_test_id("answer")).to_have_text(" ".join(WORDS))


def test_stop_keeps_the_text(served: Served, page: Page) -> None:
    served.held(70, ("final", " ".join(WORDS)))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    expect(page.get_by_test_id("send")).to_be_visible()


def test_a_failed_reply_says_why_and_can_be_tried_again(served: Served, page: Page) -> None:
    served.play(SUM)
    ask(page, "First")
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)
    served.play(Script(SUM.messages, fail_at=3))
    ask(page, "Second")
    expect(page.get_by_test_id("reply-note")).to_have_text("The model stopped in the middle.")
    served.play(SUM)
    page.get_by_test_id("retry").click()
    expect(page.get_by_test_id("answer")).to_have_count(2)
    expect(page.get_by_test_id("reply-note")).to_have_count(0)
    page.reload()
    expect(page.get_by_test_id("user-message")).to_have_text(["First", "Second"])
    expect(page.get_by_test_id("answer")).to_have_count(2)


def test_a_budget_spent_on_reasoning_is_explained(served: Served, page: Page) -> None:
    served.engine.context_length = 400
    served.play(Script([("analysis", " ".join(WORDS * 20)), ("final", "never")]))
    ask(page)
    expect(page.get_by_test_id("reply-note")).to_contain_text("token budget ran out during the reasoning")


def test_tool_calls_and_preambles_stand_in_order(served: Served, page: Page) -> None:
    call = '{"city": "Paris", "days": 3}'
    served.play(
        Script(
            [
                ("analysis", "A tool is needed."),
                ("commentary", "Let me look."),
                ("commentary to=functions.get_weather", call),
            ]
        )
    )
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(page.get_by_test_id("preamble")).to_have_text("Let me look.")
    expect(page.get_by_test_id("tool-call")).to_contain_text("Call of get_weather")
    expect(page.get_by_test_id("call-arguments").locator("li")).to_have_text(['city: "Paris"', "days: 3"])
    order = page.locator(".pg-parts > *").evaluate_all("nodes => nodes.map((node) => node.className)")
    assert order == ["pg-reasoning", "pg-part", "pg-tool", "pg-foot"]


def test_a_refusal_keeps_the_text(served: Served, page: Page) -> None:
    served.engine.context_length = 40
    ask(page, "This prompt does not fit into the model's context.")
    expect(page.get_by_test_id("composer-hint")).not_to_be_empty()
    expect(page.get_by_test_id("composer-input")).to_have_value(
        "This prompt does not fit into the model's context."
    )
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    expect(page.get_by_test_id("suggestion").first).to_be_visible()


def test_what_is_sent_too_early_goes_out_when_the_model_is_ready(served: Served, new_page: NewPage) -> None:
    served.engine.ready = False
    page = new_page()
    box, hint = page.get_by_test_id("composer-input"), page.get_by_test_id("composer-hint")
    box.fill("Waiting for you")
    expect(hint).to_contain_text("loading… you can already type")
    box.press("Enter")
    expect(hint).to_contain_text("goes out as soon as the model is ready")
    box.press_sequentially(" all")  # typing on holds it back
    expect(hint).to_contain_text("you can already type")
    page.get_by_test_id("send").click()
    expect(hint).to_contain_text("goes out as soon as the model is ready")
    expect(box).to_have_value("Waiting for you all")
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    served.engine.ready = True
    expect(page.get_by_test_id("user-message")).to_have_text("Waiting for you all")
    expect(box).to_have_value("")


def test_what_is_sent_before_the_server_answers_goes_out_when_it_does(served: Served, page: Page) -> None:
    served.play(SUM)
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/bootstrap", hold)
    served.play(SUM)
    page.reload()
    box, hint = page.get_by_test_id("composer-input"), page.get_by_test_id("composer-hint")
    expect(hint).to_contain_text("Connecting…")
    box.fill("And once more?")
    box.press("Enter")
    expect(hint).to_contain_text("goes out as soon as the model is ready")
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    first_of(page, held).continue_()
    expect(page.get_by_test_id("user-message")).to_have_text(["What is 12 + 30?", "And once more?"])
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    expect(box).to_have_value("")


def test_shift_enter_breaks_a_composition_does_not_send_and_enter_does(page: Page) -> None:
    box = page.get_by_test_id("composer-input")
    box.fill("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    expect(box).to_have_value("one\ntwo")
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    expect(box).to_have_value("one\ntwo")
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    box.press("Enter")
    expect(page.get_by_test_id("user-message")).to_have_text("one\ntwo", use_inner_text=True)
    expect(box).to_have_value("")
