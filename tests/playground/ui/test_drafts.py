"""What somebody typed goes out when it was sent, only then, and where it was written."""

from __future__ import annotations

import dataclasses
import re

import pytest
from playwright.sync_api import Page, Route, expect

from inference.types import ModelStage
from tests.browser import first_of
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask
from tests.playground.ui.test_frame import two_conversations
from tests.playground.ui.test_model_status import DEMO, Health

pytestmark = pytest.mark.browser


def test_enter_before_the_model_is_there_sends_no_draft_of_another_conversation(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_conversations(page)
    health = Health(None, dataclasses.replace(DEMO, stage=ModelStage.LOADING))
    monkeypatch.setattr(served.engine, "health", health)
    page.reload()
    box = page.get_by_test_id("composer-input")
    rows = page.get_by_test_id("conversation-item")
    rows.filter(has_text="Pears").click()
    expect(page.get_by_test_id("user-message")).to_have_text("Pears")
    box.fill("not ready to be sent")
    rows.filter(has_text="Apples").click()
    expect(page.get_by_test_id("user-message")).to_have_text("Apples")
    box.fill("to be sent")
    box.press("Enter")
    expect(page.get_by_test_id("composer-hint")).to_contain_text("as soon as the model is ready")
    rows.filter(has_text="Pears").click()
    expect(page.get_by_test_id("user-message")).to_have_text("Pears")
    health.active = health.target = DEMO
    expect(page.get_by_test_id("send")).to_be_enabled()
    expect(page.get_by_test_id("composer-hint")).to_have_text("")
    expect(box).to_have_value("not ready to be sent")
    expect(page.get_by_test_id("user-message")).to_have_text("Pears")


def test_enter_before_a_running_reply_is_known_does_not_break_into_it(served: Served, page: Page) -> None:
    served.held(5, ("final", "one two three four"))
    ask(page, "Apples")
    expect(page.get_by_test_id("stop")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/c/[^/]+$"))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("/api/conversations/[^/]+$"), hold)
    page.reload()
    box, hint = page.get_by_test_id("composer-input"), page.get_by_test_id("composer-hint")
    box.fill("And pears?")
    box.press("Enter")
    expect(hint).to_contain_text("as soon as the conversation is here")
    first_of(page, held).continue_()
    expect(page.get_by_test_id("stop")).to_be_visible()
    expect(page.get_by_test_id("user-message")).to_have_text(["Apples"])
    expect(box).to_have_value("And pears?")


def test_what_is_typed_while_a_message_is_on_its_way_stays_a_draft(page: Page) -> None:
    ask(page, "Apples")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/turns", hold)
    box = page.get_by_test_id("composer-input")
    box.fill("And pears?")
    box.press("Enter")
    expect(box).to_have_value("")
    box.fill("a thought for later")
    first_of(page, held).continue_()
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    page.get_by_test_id("new-conversation").click()
    expect(box).to_have_value("")
    page.get_by_test_id("conversation-item").click()
    expect(box).to_have_value("a thought for later")


def test_an_undo_that_was_taken_by_key_leaves_the_others_alone(new_page: NewPage) -> None:
    page = new_page(once=True)
    page.clock.install()
    offer = """async (name) => {
        window.undone ??= [];
        window.toasts = await import("/static/js/toast.js");
        window.toasts.undoably(async (offer) => offer(name, () => window.undone.push(name)));
    }"""
    page.evaluate(offer, "one")
    page.get_by_test_id("toast-action").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("toast")).to_have_count(0)
    page.clock.fast_forward(5000)
    page.evaluate(offer, "two")
    page.clock.fast_forward(4000)
    assert page.evaluate("window.toasts.undoLatest()")
    assert page.evaluate("window.undone") == ["one", "two"]
