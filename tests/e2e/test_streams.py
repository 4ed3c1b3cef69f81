"""Replies in the middle: reload, restart, stop, a second tab, a power cut. Nothing that was shown is lost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch
from tests.e2e.actions import answered, ask, saved_text
from tests.e2e.conftest import Picture, Visit
from tests.e2e.served_app import LONG_QUESTION, ServedApp, company

pytestmark = pytest.mark.browser

SORTED = "7, 15, 21, 42, 68, 88, 93"
CONVERSATION = re.compile("/api/conversations/[^/?]+$")
WORDS = re.compile(r"(\w+\W+){8}")
SERVER_AWAY = "Failed to load resource: net::"


def show_reasoning(page: Page) -> None:
    with page.expect_response(re.compile("/api/preferences")):
        page.get_by_test_id("show-reasoning").click()


def test_a_reload_in_the_middle_shows_the_whole_reply(app: ServedApp, page: Page, picture: Picture) -> None:
    with company(app, people=6):
        ask(page, LONG_QUESTION, effort="high")
        expect(page.get_by_test_id("reasoning-toggle")).to_have_text(re.compile(r"Thinking… \d+ s"))
        picture(page, "thinking-light")
        with page.expect_response(CONVERSATION) as loaded:
            page.reload()
        assert loaded.value.json()["generations"][-1]["status"] == "running"
        expect(page.get_by_test_id("stop")).to_be_visible()
        expect(page.get_by_test_id("reasoning-toggle")).to_have_text(re.compile("Thinking…"))
        page.get_by_test_id("reasoning-toggle").click()
        expect(page.get_by_test_id("reasoning-body")).not_to_be_empty()
    answered(page)
    expect(page.get_by_test_id("answer")).to_have_text(SORTED)
    assert saved_text(page, "final") == [SORTED]
    expect(page.get_by_test_id("reasoning-body")).to_have_text(saved_text(page, "analysis"))


def test_a_stopped_reply_keeps_its_text(app: ServedApp, page: Page, picture: Picture) -> None:
    show_reasoning(page)
    with company(app):
        ask(page, LONG_QUESTION, effort="high")
        expect(page.get_by_test_id("reasoning-body")).to_contain_text(WORDS)
        page.get_by_test_id("stop").click()
        expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    expect(page.get_by_test_id("reply")).to_have_attribute("data-status", "cancelled")
    expect(page.get_by_test_id("send")).to_be_visible()
    expect(page.get_by_test_id("answer")).to_have_count(0)
    [thought] = saved_text(page, "analysis")
    assert len(thought.split()) > 3
    expect(page.get_by_test_id("reasoning-body")).to_have_text(thought.strip())
    picture(page, "stopped-light")
    page.reload()
    expect(page.get_by_test_id("reply-note")).to_have_text("Stopped.")
    expect(page.get_by_test_id("reasoning-body")).to_have_text(thought.strip())
    ask(page, "What is 12 + 30?")
    answered(page, replies=2)
    expect(page.get_by_test_id("answer")).to_contain_text("42")


def test_two_tabs_of_one_person_show_the_same_reply(app: ServedApp, page: Page, visit: Visit) -> None:
    with company(app):
        ask(page, LONG_QUESTION, effort="high")
        expect(page.get_by_test_id("reasoning-toggle")).to_be_visible()
        other = visit(app, page.url.removeprefix(app.url), context=page.context)
        expect(other.get_by_test_id("stop")).to_be_visible()
        expect(other.get_by_test_id("user-message")).to_have_text(LONG_QUESTION)
    for tab in (page, other):
        answered(tab)
        expect(tab.get_by_test_id("answer")).to_have_text(SORTED)
    ask(other, "What is 12 + 30?", effort="medium")
    answered(other, replies=2)
    expect(other.get_by_test_id("answer").last).to_contain_text("42")
    answered(page, replies=2)
    ask(page, "Add 5 to that.")
    answered(page, replies=3)
    expect(page.get_by_test_id("user-message")).to_have_text(
        [LONG_QUESTION, "What is 12 + 30?", "Add 5 to that."]
    )
    expect(page.get_by_test_id("answer").last).to_contain_text("47")


def test_a_double_click_on_send_does_not_stop_the_reply(page: Page) -> None:
    ask(page, "Hello!")
    answered(page)
    page.get_by_test_id("composer-input").fill("What is 347 + 586?")
    send = page.get_by_test_id("send").bounding_box()
    assert send is not None
    page.mouse.move(send["x"] + 20, send["y"] + 20)
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_test_id("stop")).to_be_visible()
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    answered(page, replies=2)
    expect(page.get_by_test_id("reply").last).to_have_attribute("data-status", "finished")


def test_a_server_that_was_killed_comes_back_with_the_conversation_and_the_text_so_far(
    app: ServedApp, page: Page, watch: Watch, picture: Picture
) -> None:
    watch.forgiven.append(SERVER_AWAY)
    show_reasoning(page)
    ask(page, "What is 347 + 586?", effort="high")
    answered(page)
    address, before = page.url, page.get_by_test_id("answer").inner_text()
    with company(app):
        ask(page, LONG_QUESTION)
        thought = page.get_by_test_id("reasoning-body").nth(1)
        expect(thought).to_contain_text(re.compile(r"(\w+\W+){20}"))
        shown = thought.inner_text()
        app.kill()
    expect(page.get_by_test_id("composer-hint")).to_have_text("Connection lost. Trying again…")
    app.start()
    answered(page, replies=2)
    expect(page.get_by_test_id("composer-hint")).to_be_empty()
    for visit_again in (False, True):
        if visit_again:
            page.reload()
        expect(page.get_by_test_id("answer").first).to_have_text(before)
        expect(page.get_by_test_id("reply-note")).to_have_text("Interrupted by a restart.")
        expect(thought).to_have_text(saved_text(page, "analysis")[1].strip())
        expect(page.get_by_test_id("conversation-item")).to_have_text(["What is 347 + 586?"])
    assert page.url == address
    kept = thought.inner_text()
    assert kept
    assert kept.startswith(shown) or shown.startswith(kept)  # saved a few times a second
    picture(page, "restart")
    page.get_by_test_id("retry").click()
    expect(page.get_by_test_id("answer").last).to_have_text(SORTED)
    answered(page, replies=2)
