"""Sharing in a real browser: making a link, what readers see and do not, revoking, a copy."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_continue import limited
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

THOUGHT = "Secret tens and secret ones."
SCRIPT = Script([("analysis", THOUGHT), ("final", "It is **42**, since $x^2$ is.\n\n```python\nx = 1\n```")])


def make_link(page: Page, choice: str) -> str:
    """Open the dialog, make a link, and give its path."""
    page.get_by_test_id("share-open").click()
    page.get_by_test_id(f"share-{choice}").check()
    with page.expect_response(re.compile("/api/shares$")) as answer:
        page.get_by_test_id("share-create").click()
    path: str = answer.value.json()["share"]["path"]
    expect(page.get_by_test_id("share-link")).to_have_value(re.compile(re.escape(path) + "$"))
    expect(page.get_by_test_id("share-link")).to_be_focused()
    return path


@pytest.fixture
def owner(served: Served, page: Page) -> Page:
    served.play(SCRIPT)
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    return page


def test_without_reasoning_a_reader_gets_the_answer_and_nothing_of_the_thought_or_of_what_comes_later(
    served: Served, owner: Page, new_page: NewPage
) -> None:
    path = make_link(owner, "without")
    reader = new_page(path)
    expect(reader.get_by_test_id("shared-title")).to_have_text("What is 12 + 30?")
    expect(reader.get_by_test_id("shared-facts")).to_contain_text("without reasoning")
    expect(reader.get_by_test_id("user-message")).to_have_text("What is 12 + 30?")
    expect(reader.get_by_test_id("answer").locator("strong")).to_have_text("42")
    expect(reader.get_by_test_id("answer").locator(".katex")).to_be_attached()
    expect(reader.get_by_test_id("answer").locator(".hljs-number")).to_have_text("1")
    expect(reader.get_by_test_id("reasoning-toggle")).to_have_count(0)
    assert THOUGHT not in httpx.get(served.url + path.replace("/s/", "/api/shared/")).text

    owner.keyboard.press("Escape")
    ask(owner, "And a later question?")
    expect(owner.get_by_test_id("reply-footer")).to_have_count(2)
    reader.reload()
    expect(reader.get_by_test_id("user-message")).to_have_text(["What is 12 + 30?"])

    # The link stands in the settings.
    owner.keyboard.press("Control+Shift+E")
    owner.get_by_test_id("tab-data").click()
    expect(owner.get_by_test_id("share-item")).to_have_count(1)
    expect(owner.get_by_test_id("share-item")).to_contain_text("without reasoning · 2 messages")


def test_with_reasoning_it_is_closed_until_it_is_opened_and_a_revoked_link_is_dead_at_once(
    owner: Page, new_page: NewPage
) -> None:
    path = make_link(owner, "with")
    reader = new_page(path)
    expect(reader.get_by_test_id("shared-facts")).to_contain_text("with reasoning")
    assert THOUGHT not in reader.content()
    reader.get_by_test_id("reasoning-toggle").press("Enter")
    expect(reader.get_by_test_id("reasoning-body")).to_have_text(THOUGHT)

    kept = make_link_again(owner)
    expect(owner.get_by_test_id("share-item")).to_have_count(2)
    row = owner.get_by_test_id("share-item").filter(has=owner.locator(f"a[href='{path}']"))
    row.get_by_test_id("share-revoke").click()
    owner.get_by_test_id("dialog-confirm").click()
    expect(owner.get_by_test_id("share-item")).to_have_count(1)
    expect(owner.get_by_test_id("share-link")).to_have_value(re.compile(re.escape(kept) + "$"))
    reader.reload()
    expect(reader.get_by_test_id("shared-problem")).to_contain_text("There is nothing under this link")
    expect(reader.get_by_test_id("shared-import")).to_be_hidden()
    reader.goto(reader.url.removesuffix(path) + kept)
    expect(reader.get_by_test_id("answer")).to_have_count(1)
    owner.get_by_test_id("share-revoke").click()
    owner.get_by_test_id("dialog-confirm").click()
    expect(owner.get_by_test_id("share-item")).to_have_count(0)
    expect(owner.get_by_test_id("share-link")).to_be_hidden()


def make_link_again(page: Page) -> str:
    page.get_by_test_id("share-without").check()
    with page.expect_response(re.compile("/api/shares$")) as answer:
        page.get_by_test_id("share-create").click()
    path: str = answer.value.json()["share"]["path"]
    return path


def test_a_reader_takes_a_copy_and_goes_on_with_it(served: Served, owner: Page, new_page: NewPage) -> None:
    reader = new_page(make_link(owner, "without"))
    reader.get_by_test_id("shared-import").click()
    expect(reader).to_have_url(re.compile(r"/c/[^/]+$"))
    reader.wait_for_selector("html[data-pg-ready]")
    expect(reader.get_by_test_id("answer")).to_contain_text("It is 42")
    ask(reader, "Why?")
    expect(reader.get_by_test_id("reply-footer")).to_have_count(2)
    prompt = served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    assert "It is **42**" in prompt
    assert THOUGHT not in prompt
    expect(owner.get_by_test_id("user-message")).to_have_count(1)


def test_a_copy_of_a_reply_that_was_cut_is_asked_for_anew(
    served: Served, owner: Page, new_page: NewPage
) -> None:
    limited(owner, 20)
    served.play(Script([("analysis", "Thinking and thinking. " * 20), ("final", "Never reached.")]))
    ask(owner, "And now?")
    expect(owner.get_by_test_id("continue")).to_be_visible()
    reader = new_page(make_link(owner, "with"))
    reader.get_by_test_id("shared-import").click()
    expect(reader).to_have_url(re.compile(r"/c/[^/]+$"))
    expect(reader.get_by_test_id("reply-note")).to_contain_text("token budget ran out during the reasoning")
    expect(reader.get_by_test_id("offers").locator("button")).to_have_text(["Retry"])
    served.play(Script([("final", "At last.")]))
    reader.get_by_test_id("retry").click()
    expect(reader.get_by_test_id("answer").last).to_have_text("At last.")


def test_a_hostile_title_and_answer_stay_text_for_readers(
    served: Served, page: Page, new_page: NewPage
) -> None:
    served.play(Script([("final", "<img src=x onerror='window.broken=1'> [a](javascript:window.broken=1)")]))
    ask(page, "<script>window.broken=1</script>")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    reader = new_page(make_link(page, "with"))
    expect(reader.get_by_test_id("shared-title")).to_contain_text("<script>")
    expect(reader.get_by_test_id("answer")).to_contain_text("<img")
    assert reader.locator(".pg-shared-messages a, .pg-shared-messages img").count() == 0
    assert reader.evaluate("window.broken") is None


def test_a_phone_reads_it_without_sideways_scrolling(served: Served, page: Page, new_page: NewPage) -> None:
    wide = "| " + " | ".join(f"column{n}" for n in range(12)) + " |\n|" + "---|" * 12
    served.play(Script([("final", f"{wide}\n\n```\n{'long line ' * 40}\n```\n\n{'unbroken' * 60}")]))
    ask(page, "A table, please")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    reader = new_page(make_link(page, "with"), viewport={"width": 390, "height": 844}, is_mobile=True)
    expect(reader.get_by_test_id("answer").locator("table")).to_be_attached()
    assert reader.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
