"""Somebody asks the demonstration model: right answers, reasoning out of sight, follow-ups, honest limits."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch
from tests.e2e.actions import accessible_names, answered, ask, choose_theme, saved_text
from tests.e2e.conftest import Picture, Visit
from tests.e2e.served_app import ServedApp

pytestmark = pytest.mark.browser

LIMIT = 32_000


def test_a_sum_at_high_effort_is_right_and_its_reasoning_opens_by_a_click(
    page: Page, picture: Picture
) -> None:
    picture(page, "empty-light")
    ask(page, "What is 347 + 586?", effort="high")
    answered(page)
    expect(page.get_by_test_id("answer")).to_contain_text("933")
    expect(page.get_by_test_id("reply-footer")).to_contain_text(re.compile(r"high effort · \d+ tokens"))
    expect(page).to_have_url(re.compile(r"/c/[^/]+$"))

    [thought] = saved_text(page, "analysis")
    beginning = thought[:20]
    assert beginning
    names = accessible_names(page)
    assert "933" in names
    assert beginning not in names
    assert beginning not in page.content()
    picture(page, "answer-light")

    toggle = page.get_by_test_id("reasoning-toggle")
    expect(toggle).to_have_text(re.compile(r"Thought for .+ · \d+ tokens"))
    toggle.click()
    expect(page.get_by_test_id("reasoning-body")).to_have_text(thought)
    assert beginning in accessible_names(page)
    picture(page, "reasoning-open-light")


def test_show_reasoning_is_still_on_after_a_reload(page: Page) -> None:
    with page.expect_response(re.compile("/api/preferences")):
        page.get_by_test_id("show-reasoning").click()
    ask(page, "What is the capital of Japan?")
    answered(page)
    expect(page.get_by_test_id("reasoning-body")).to_have_text(saved_text(page, "analysis"))
    page.reload()
    expect(page.get_by_test_id("reasoning-body")).to_have_text(saved_text(page, "analysis"))
    expect(page.get_by_test_id("show-reasoning")).to_have_attribute("aria-checked", "true")


def test_a_follow_up_question_builds_on_the_turn_before(page: Page) -> None:
    ask(page, "What is 12 + 30?", effort="high")
    answered(page)
    ask(page, "Add 5 to that.")
    answered(page, replies=2)
    expect(page.get_by_test_id("answer").nth(0)).to_contain_text("42")
    expect(page.get_by_test_id("answer").nth(1)).to_contain_text("47")


def test_what_is_out_of_scope_gets_the_honest_answer(page: Page) -> None:
    ask(page, "Write a poem about the sea.")
    answered(page)
    expect(page.get_by_test_id("answer")).to_contain_text("I am only a small demonstration model")
    expect(page.get_by_test_id("demo-label")).to_contain_text("Demonstration model")


def test_what_is_suggested_can_be_answered(page: Page) -> None:
    page.get_by_test_id("effort-high").check()
    page.get_by_test_id("suggestion").filter(has_text="Sort 42, 7, 93, 15, 68, 21").click()
    answered(page)
    expect(page.get_by_test_id("answer")).to_have_text("7, 15, 21, 42, 68, 93")


def test_a_message_that_is_too_long_is_refused_and_kept(page: Page) -> None:
    text = "too long " * (LIMIT // 9 + 1)
    box = page.get_by_test_id("composer-input")
    box.fill(text)
    expect(page.get_by_test_id("composer-hint")).to_contain_text("too long")
    expect(page.get_by_test_id("send")).to_be_disabled()
    box.press("Enter")
    expect(box).to_have_value(text)
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    box.press("Control+End")
    for _ in range(len(text) - LIMIT):
        box.press("Backspace")
    expect(page.get_by_test_id("send")).to_be_enabled()


def test_a_message_beyond_the_models_context_is_refused_and_kept(page: Page, watch: Watch) -> None:
    watch.forgiven.append("status of 4")
    text = "1 2 3 4 5 " * 1000
    ask(page, text)
    expect(page.get_by_test_id("composer-hint")).not_to_be_empty()
    expect(page.get_by_test_id("composer-input")).to_have_value(text)
    expect(page.get_by_test_id("user-message")).to_have_count(0)


def test_enter_sends_and_shift_enter_breaks_the_line(page: Page) -> None:
    box = page.get_by_test_id("composer-input")
    box.press_sequentially("What is")
    box.press("Shift+Enter")
    box.press_sequentially("12 + 30?")
    expect(box).to_have_value("What is\n12 + 30?")
    expect(page.get_by_test_id("send")).to_be_enabled()
    box.press("Enter")
    expect(page.get_by_test_id("user-message")).to_have_text("What is\n12 + 30?", use_inner_text=True)
    expect(box).to_have_value("")
    answered(page)


def test_a_whole_visit_asks_no_other_host(app: ServedApp, visit: Visit, watch: Watch) -> None:
    page = visit(app)
    ask(page, "How many r's are in strawberry?", effort="high")
    answered(page)
    page.get_by_test_id("reasoning-toggle").click()
    choose_theme(page, "dark")
    page.get_by_test_id("new-conversation").click()
    page.get_by_test_id("conversation-item").first.click()
    answered(page)
    page.reload()
    answered(page)
    assert watch.requests > 50
    assert watch.faults() == []
