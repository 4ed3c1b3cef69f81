"""The receipt of a reply: closed until it is asked for, and true."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import SUM, ask

pytestmark = pytest.mark.browser


def figure(page: Page, name: str) -> Locator:
    return page.get_by_test_id("receipt").last.locator(f"dt:text-is('{name}') + dd")


def test_a_receipt_tells_how_the_reply_was_made(served: Served, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    served.play(SUM)
    page.get_by_test_id("effort-high").check()
    ask(page)
    details = page.get_by_test_id("details")
    expect(details).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".pg-receipt dt")).to_have_count(0)
    details.press("Enter")
    expect(details).to_have_attribute("aria-expanded", "true")
    expect(figure(page, "Model").last).to_have_text("scripted")
    expect(figure(page, "Revision")).to_have_text("r1")
    expect(figure(page, "Effort")).to_have_text("high")
    expect(figure(page, "Temperature")).to_have_text("1")
    expect(figure(page, "Top p")).to_have_text("1")
    expect(figure(page, "Ended")).to_have_text("The model ended the reply")
    expect(figure(page, "Left out of the prompt")).to_have_text("nothing")

    saved = page.request.get(page.url.replace("/c/", "/api/conversations/")).json()["generations"][0]
    usage = saved["usage"]
    assert usage["reasoning"] > 0
    expect(figure(page, "Seed")).to_have_text(str(saved["seed"]))
    expect(figure(page, "Prompt")).to_have_text(str(usage["prompt"]))
    expect(figure(page, "Reasoning")).to_have_text(str(usage["reasoning"]))
    expect(figure(page, "Answer")).to_have_text(str(usage["final"]))
    markers = usage["completion"] - usage["reasoning"] - usage["commentary"] - usage["final"]
    expect(figure(page, "Markers")).to_have_text(str(markers))
    expect(figure(page, "Written in all")).to_have_text(str(usage["completion"]))

    page.get_by_label("Copy as JSON").click()
    expect(page.get_by_label("Copy as JSON")).to_have_text("Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["id"] == saved["id"]
    assert copied["usage"] == usage
    details.click()
    expect(page.locator(".pg-receipt dt")).to_have_count(0)

    # The second receipt names the reasoning that was left out.
    ask(page, "And again?")
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    page.get_by_test_id("details").last.click()
    expect(figure(page, "Left out of the prompt")).to_have_text("the reasoning of 1 earlier message")


def test_a_stopped_and_a_failed_reply_have_receipts_too(served: Served, page: Page) -> None:
    served.held(8, ("final", "one two three four five six seven eight nine"))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("one")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    expect(page.get_by_test_id("answer")).to_contain_text("one")
    expect(page.get_by_test_id("send")).to_be_visible()
    page.get_by_test_id("details").click()
    expect(figure(page, "Ended")).to_have_text("Stopped by you")
    served.play(Script(SUM.messages, fail_at=3))
    ask(page, "Second")
    expect(page.get_by_test_id("reply-note")).to_have_count(2)
    page.get_by_test_id("details").last.click()
    expect(figure(page, "Ended")).to_have_text("A fault ended it")
    expect(figure(page, "Fault")).to_have_text("The model stopped in the middle.")
