"""The context meter and the composer: how full the context is, what then, the keyboard, offline."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def answered(page: Page, text: str = "What is 12 + 30?") -> None:
    before = page.get_by_test_id("reply-footer").count()
    ask(page, text)
    expect(page.get_by_test_id("reply-footer")).to_have_count(before + 1)


def words(number: int) -> str:
    return " ".join(["word"] * number)


def test_the_meter_tells_what_the_conversation_has_used(page: Page) -> None:
    expect(page.get_by_test_id("context-open")).to_be_hidden()
    answered(page)
    page.get_by_test_id("context-open").click()
    saved = page.request.get(page.url.replace("/c/", "/api/conversations/")).json()
    totals = page.get_by_test_id("context-totals")
    expect(totals).to_contain_text(f"Tokens read{saved['totals']['prompt_tokens']}")
    expect(totals).to_contain_text(f"Tokens written{saved['totals']['completion_tokens']}")
    page.reload()
    page.get_by_test_id("context-open").click()
    used, limit = saved["context"]["used"], saved["context"]["limit"]
    line = f"{used:,} of {limit:,} tokens · {100 * used // limit} %"
    expect(page.get_by_test_id("context-line")).to_have_text(line)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("context-panel")).to_be_hidden()
    expect(page.get_by_test_id("context-open")).to_be_focused()


def test_it_warns_before_it_is_full(served: Served, page: Page) -> None:
    served.engine.context_length = 1000
    served.play(Script([("final", "Yes.")]))
    answered(page, words(780))
    meter = page.get_by_test_id("context-open")
    expect(meter).to_have_attribute("data-level", "high")
    expect(page.get_by_test_id("composer-hint")).to_have_text(re.compile(r"The context is 8\d % full\."))
    answered(page, words(110))
    expect(meter).to_have_attribute("data-level", "full")
    expect(page.get_by_test_id("composer-hint")).to_contain_text("The next message may not fit.")


def test_a_full_context_is_a_choice_and_never_a_silent_cut(served: Served, page: Page) -> None:
    served.engine.context_length = 1000
    served.play(Script([("final", "Yes.")]))
    answered(page, words(700))
    ask(page, words(300) + " end")
    page.get_by_test_id("room-fresh").click()
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    expect(page.get_by_test_id("composer-input")).to_have_value(re.compile("end$"))
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)
    expect(page.get_by_test_id("conversation-item")).to_have_count(2)

    page.get_by_test_id("conversation-item").last.click()
    expect(page.get_by_test_id("user-message")).to_have_text(words(700))
    ask(page, words(300) + " end")
    ways = page.get_by_test_id("composer-ways")
    expect(ways).to_be_visible()
    expect(page.get_by_test_id("composer-input")).to_have_value(re.compile("end$"))
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)
    page.get_by_test_id("room-drop").click()
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    expect(ways).to_be_hidden()
    page.get_by_test_id("context-open").click()
    expect(page.get_by_test_id("when-full-drop_oldest")).to_be_checked()
    generation = page.request.get(page.url.replace("/c/", "/api/conversations/")).json()["generations"][-1]
    assert generation["dropped"]["turns"] == 1


def test_the_composer_stays_above_a_phones_keyboard_and_grows_to_two_fifths(new_page: NewPage) -> None:
    page = new_page(**PHONE)
    assert "resizes-content" in (page.locator("meta[name=viewport]").get_attribute("content") or "")
    box = page.get_by_test_id("composer-input")
    box.fill("line\n" * 60)
    for height in (844, 430):
        page.set_viewport_size({"width": 390, "height": height})
        expect(box).to_be_in_viewport(ratio=1)
        expect(page.get_by_test_id("send")).to_be_in_viewport(ratio=1)
        tall = box.evaluate("node => node.getBoundingClientRect().height")
        assert tall <= 0.4 * height + 1
    assert page.evaluate("document.documentElement.scrollHeight - innerHeight") == 0
