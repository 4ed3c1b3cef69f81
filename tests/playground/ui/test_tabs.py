"""One conversation in two tabs: the same stream, two questions at once, a branch that the other tab made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_branches import answered, edit, say
from tests.playground.ui.test_conversation import WORDS, ask

pytestmark = pytest.mark.browser

OtherTab = Callable[[], Page]


@pytest.fixture
def other_tab(page: Page) -> OtherTab:
    def open_tab() -> Page:
        tab = page.context.new_page()
        tab.goto(page.url)
        tab.wait_for_selector("html[data-pg-ready]")
        expect(tab.get_by_test_id("user-message").first).to_be_visible()
        return tab

    return open_tab


def test_what_one_tab_asks_the_other_shows_while_it_is_written(
    served: Served, page: Page, other_tab: OtherTab
) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    tab = other_tab()
    answered(tab, "Red")
    tab.get_by_test_id("composer-input").fill("half a draft")
    script = served.held(70, ("final", " ".join(WORDS)))
    ask(page, "Tell me more")
    for each in (page, tab):
        expect(each.get_by_test_id("user-message")).to_have_text(["Apples?", "Tell me more"])
        expect(each.get_by_test_id("answer").last).to_contain_text("word3")
        expect(each.get_by_test_id("stop")).to_be_visible()
    served.let_go(script)
    for each in (page, tab):
        answered(each, "Red", " ".join(WORDS))
        expect(each.get_by_test_id("stop")).to_be_hidden()
    expect(tab.get_by_test_id("composer-input")).to_have_value("half a draft")


def test_two_questions_at_once_are_both_answered_one_after_the_other(
    served: Served, page: Page, other_tab: OtherTab
) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    tab = other_tab()
    answered(tab, "Red")
    # The second tab does not know yet that the first one asks.
    tab.route("**/api/changes*", lambda route: route.abort())
    script = served.held(5, ("final", " ".join(WORDS)))
    ask(page, "First?")
    expect(page.get_by_test_id("stop")).to_be_visible()
    ask(tab, "Second?")
    expect(tab.get_by_test_id("pending-note")).to_have_text("Waiting for the reply above")
    tab.unroute("**/api/changes*")
    served.let_go(script)
    whole = " ".join(WORDS)
    for each in (tab, page):
        expect(each.get_by_test_id("user-message")).to_have_text(["Apples?", "First?", "Second?"])
        answered(each, "Red", whole, whole)
    prompt = served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    assert prompt.index("First?") < prompt.index("word59") < prompt.index("Second?")


def test_an_edit_in_one_tab_moves_the_other_to_the_new_branch(
    served: Served, page: Page, other_tab: OtherTab
) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    tab = other_tab()
    answered(tab, "Red")
    say(served, "Yellow")
    edit(page, "Pears?")
    answered(page, "Yellow")
    expect(tab.get_by_test_id("user-message")).to_have_text("Pears?")
    answered(tab, "Yellow")
    expect(tab.get_by_test_id("version")).to_have_text("2/2")


def test_a_conversation_that_is_deleted_elsewhere_says_so_and_comes_back(
    served: Served, page: Page, other_tab: OtherTab
) -> None:
    served.play(Script([("final", "Red")]))
    ask(page, "Apples?")
    answered(page, "Red")
    tab = other_tab()
    answered(tab, "Red")
    page.get_by_test_id("conversation-menu").press("Enter")
    page.get_by_test_id("delete").click()
    expect(tab.get_by_test_id("page-error")).to_contain_text("This conversation was deleted.")
    page.get_by_test_id("toast-action").click()
    answered(tab, "Red")
