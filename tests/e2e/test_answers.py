"""Somebody asks the demonstration model: right answers, reasoning out of sight, follow-ups, honest limits."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch
from tests.e2e.actions import accessible_names, answered, ask, saved_text
from tests.e2e.conftest import Picture

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


def test_what_is_suggested_can_be_answered_and_the_rest_gets_an_honest_answer(page: Page) -> None:
    page.get_by_test_id("effort-high").check()
    page.get_by_test_id("suggestion").filter(has_text="Sort 42, 7, 93, 15, 68, 21").click()
    answered(page)
    expect(page.get_by_test_id("answer")).to_have_text("7, 15, 21, 42, 68, 93")
    ask(page, "Write a poem about the sea.")
    answered(page, replies=2)
    expect(page.get_by_test_id("answer").last).to_contain_text("I am only a small demonstration model")
    expect(page.get_by_test_id("demo-label")).to_contain_text("Demonstration model")


def test_a_message_that_is_too_long_is_refused_and_kept(page: Page, watch: Watch) -> None:
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

    # The box takes this one, and the model's context does not.
    watch.forgiven.append("status of 4")
    text = "1 2 3 4 5 " * 1000
    ask(page, text)
    expect(page.get_by_test_id("composer-hint")).not_to_be_empty()
    expect(box).to_have_value(text)
    expect(page.get_by_test_id("user-message")).to_have_count(0)
