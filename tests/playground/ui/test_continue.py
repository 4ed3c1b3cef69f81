"""Replies that fell short: why, in plain words, and the ways on."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_branches import answered, versions
from tests.playground.ui.test_conversation import SUM, WORDS, ask

pytestmark = pytest.mark.browser

LONG_THOUGHT = " ".join(WORDS)


def limited(page: Page, tokens: int) -> None:
    """The open conversation's replies end after so many tokens."""
    address = page.url.replace("/c/", "/api/conversations/")
    changed = page.request.patch(
        address, data={"settings": {"max_tokens": tokens}}, headers={"Origin": page.url.split("/c/")[0]}
    )
    assert changed.ok, changed.text()
    page.reload()
    expect(page.get_by_test_id("reply-footer").last).to_be_visible()


def cut_in_its_reasoning(served: Served, page: Page) -> None:
    served.play(SUM)
    ask(page)
    answered(page, "12 + 30 = 42")
    limited(page, 30)
    served.play(Script([("analysis", LONG_THOUGHT), ("final", "Never reached.")]))
    ask(page, "And now?")
    expect(page.get_by_test_id("reply-note")).to_contain_text("token budget ran out during the reasoning")


def test_a_reply_cut_in_its_reasoning_is_continued_or_answers_at_once_or_gets_a_higher_limit(
    served: Served, page: Page
) -> None:
    cut_in_its_reasoning(served, page)
    begun = page.get_by_test_id("reply").last
    going_on = Script(ids=served.engine.codec.encode_text(" and so on.") + tail(served, "At last."))
    served.play(going_on)
    page.get_by_test_id("continue").click()
    answered(page, "12 + 30 = 42", "At last.")
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 2 of 2")
    begun.get_by_test_id("reasoning-toggle").click()
    expect(begun.get_by_test_id("reasoning-body")).to_contain_text("word0 word1")
    expect(begun.get_by_test_id("reasoning-body")).to_contain_text("and so on.")
    page.get_by_test_id("details").last.click()
    expect(page.locator("dt:text-is('Continued from') + dd")).to_have_text("version 1 (continued)")
    expect(page.locator("dt:text-is('Taken over') + dd")).to_have_text("30")

    page.get_by_test_id("version-previous").click()
    expect(page.get_by_test_id("reply-note")).to_contain_text("token budget ran out during the reasoning")
    served.play(
        Script(ids=[*served.engine.codec.encode_text("Shortly: 42."), served.engine.token_ids(SUM)[-1]])
    )
    page.get_by_test_id("answer-now").click()
    answered(page, "12 + 30 = 42", "Shortly: 42.")
    expect(page.get_by_test_id("reply-note")).to_have_count(0)
    written = served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    assert written.endswith("<|channel|>final<|message|>")

    page.get_by_test_id("version-previous").click()
    answered(page, "12 + 30 = 42", "At last.")
    page.get_by_test_id("version-previous").click()
    served.play(going_on)
    page.get_by_test_id("raise").click()
    box = page.get_by_test_id("raise-input")
    expect(box).to_be_focused()
    expect(box).to_have_value("60")
    box.fill("500")
    page.get_by_test_id("raise-keep").check()
    page.get_by_test_id("raise-go").click()
    answered(page, "12 + 30 = 42", "At last.")
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 4 of 4")
    page.get_by_test_id("details").last.click()
    expect(page.locator("dt:text-is('Token limit') + dd")).to_have_text("500")
    saved = page.request.get(page.url.replace("/c/", "/api/conversations/")).json()["conversation"]
    assert saved["settings"]["max_tokens"] == 500


def test_an_answer_that_was_cut_goes_on_where_it_stopped(served: Served, page: Page) -> None:
    served.play(SUM)
    ask(page)
    answered(page, "12 + 30 = 42")
    limited(page, 40)
    served.play(Script([("final", LONG_THOUGHT)]))
    ask(page, "Many words")
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped at the token limit.")
    beginning = page.get_by_test_id("answer").last.inner_text()
    served.play(Script(ids=[*served.engine.codec.encode_text(" THE END"), served.engine.token_ids(SUM)[-1]]))
    page.get_by_test_id("continue").click()
    expect(page.get_by_test_id("answer").last).to_contain_text("THE END")
    expect(page.get_by_test_id("reply-note")).to_have_count(0)
    assert page.get_by_test_id("answer").last.inner_text().startswith(beginning)


def test_a_stopped_reply_and_one_with_a_fault_can_go_on(served: Served, page: Page) -> None:
    served.held(70, ("final", LONG_THOUGHT))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    served.play(Script(ids=[*served.engine.codec.encode_text(" and on"), served.engine.token_ids(SUM)[-1]]))
    page.get_by_test_id("continue").click()
    expect(page.get_by_test_id("answer")).to_contain_text("and on")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(page.get_by_test_id("reply-note")).to_have_count(0)
    served.play(Script([("final", LONG_THOUGHT)], fail_at=20))
    ask(page, "And more?")
    expect(page.get_by_test_id("reply-note")).to_have_text("The model stopped in the middle.")
    expect(page.get_by_test_id("offers").last.get_by_role("button")).to_have_text(["Continue", "Retry"])


def test_a_full_context_is_a_choice_and_never_a_silent_cut(served: Served, page: Page) -> None:
    served.play(SUM)
    for number in range(3):
        ask(page, f"Question {number}: {' '.join(WORDS)}")
        expect(page.get_by_test_id("reply-footer")).to_have_count(number + 1)
    served.engine.context_length = 450
    asked = len(served.engine.requests)
    page.get_by_test_id("regenerate").last.click()
    page.get_by_test_id("again").click()
    note = page.get_by_test_id("context-full")
    expect(note).to_contain_text("does not fit into the model's context")
    assert len(served.engine.requests) == asked
    page.get_by_test_id("full-drop").click()
    expect(note).to_have_count(0)
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 2 of 2")
    expect(page.get_by_test_id("reply-footer")).to_have_count(3)
    page.get_by_test_id("details").last.click()
    expect(page.locator("dt:text-is('Left out of the prompt') + dd")).to_contain_text("oldest turn")
    expect(page.get_by_test_id("user-message")).to_have_count(3)
    prompt = served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    assert "Question 0" not in prompt
    assert "Question 2" in prompt


def tail(served: Served, answer: str) -> list[int]:
    """What ends a reasoning and gives this answer."""
    whole = served.engine.token_ids(Script([("analysis", ""), ("final", answer)]))
    return whole[len(served.engine.token_ids(Script([("analysis", "")]))) - 1 :]
