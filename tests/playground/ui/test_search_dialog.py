"""The search dialog in a real browser: what it finds, its keys, and what opening a hit shows."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.shelf import Person, conversation

pytestmark = pytest.mark.browser

FILLER = "\n\n".join(f"Paragraph {n} fills the page." for n in range(80))


@pytest.fixture
def person(served: Served) -> Person:
    person = Person.of(served)
    person.keep(
        conversation(
            "Ships at night",
            ago=timedelta(days=2),
            question="Where is the lighthouse?",
            reasoning="The keeper lit the lantern at dusk.",
            answer=f"{FILLER}\n\nThe lighthouse stands on granite.",
        ),
        conversation(
            "Baking",
            ago=timedelta(days=40),
            question="How is bread made?",
            answer="With yeast <b>and</b> flour.",
        ),
        conversation("A lighthouse of paper", ago=timedelta(days=1)),
    )
    return person


def results(page: Page) -> Locator:
    return page.get_by_test_id("search-result")


def search(page: Page, text: str) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("search-input")).to_be_focused()
    expect(page.get_by_test_id("search-status")).not_to_be_empty()
    page.get_by_test_id("search-input").fill(text)
    expect(page.get_by_test_id("search-status")).not_to_have_text("Recent conversations")


def test_titles_questions_and_answers_are_found_with_their_hits_marked_and_markup_as_text(
    person: Person, new_page: NewPage
) -> None:
    hostile = "<img src=x onerror='window.broken=1'>"
    person.keep(conversation(f"{hostile} title", question=f"{hostile} question NEAR(a"))
    page = new_page(**person.browser())
    search(page, "lighthouse")
    expect(results(page)).to_have_count(3)
    expect(page.get_by_test_id("search-status")).to_have_text("3 results")
    expect(results(page).locator("mark")).to_have_text([re.compile("^lighthouse$", re.IGNORECASE)] * 3)
    assert sorted(each.get_attribute("data-kind") or "" for each in results(page).all()) == [
        "answer",
        "question",
        "title",
    ]
    page.get_by_test_id("search-input").fill("yeast")
    expect(results(page)).to_have_count(1)
    expect(results(page)).to_contain_text("With yeast <b>and</b> flour.")
    expect(results(page)).to_contain_text("Baking")

    page.get_by_test_id("search-input").fill('"img src" OR NEAR( *')
    expect(results(page)).not_to_have_count(1)
    expect(page.get_by_test_id("search-status")).not_to_have_text("Recent conversations")
    page.get_by_test_id("search-input").fill("onerror")
    expect(results(page)).to_have_count(2)
    expect(results(page).first).to_contain_text("<img src=x")
    assert page.evaluate("window.broken") is None


def test_enter_opens_the_chosen_one_at_the_message(person: Person, new_page: NewPage) -> None:
    page = new_page(**person.browser())
    search(page, "granite")
    expect(results(page)).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("search-dialog")).to_have_count(0)
    expect(page.get_by_test_id("title")).to_have_text("Ships at night")
    expect(page.get_by_test_id("answer")).to_contain_text("stands on granite")
    search(page, "lighthouse")
    expect(results(page)).to_have_count(3)
    expect(results(page).nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(results(page).nth(2)).to_have_attribute("aria-selected", "true")
    chosen = results(page).nth(2).get_attribute("id")
    expect(page.get_by_test_id("search-input")).to_have_attribute("aria-activedescendant", chosen or "")
    page.keyboard.press("ArrowUp")
    expect(results(page).nth(1)).to_have_attribute("aria-selected", "true")
    results(page).filter(has_text="Question").click()
    expect(page.get_by_test_id("user-message")).to_contain_text("Where is the lighthouse?")
    expect(page.get_by_test_id("user-message")).to_be_in_viewport()


def test_reasoning_is_searched_only_when_asked_and_opened_where_the_hit_is(
    person: Person, new_page: NewPage
) -> None:
    page = new_page(**person.browser())
    search(page, "lantern")
    expect(page.get_by_test_id("search-status")).to_have_text("Nothing was found for “lantern”.")
    page.get_by_test_id("search-deeper").click()
    expect(results(page)).to_have_count(1)
    expect(results(page)).to_contain_text("Reasoning")
    page.get_by_test_id("search-reasoning").click()
    expect(results(page)).to_have_count(0)
    page.get_by_test_id("search-reasoning").click()
    expect(results(page)).to_have_count(1)
    page.reload()
    page.wait_for_selector("html[data-pg-ready]")
    search(page, "lantern")
    expect(page.get_by_test_id("search-reasoning")).to_have_attribute("aria-pressed", "true")
    results(page).click()
    expect(page.get_by_test_id("reasoning-body")).to_contain_text("lit the lantern at dusk")
    expect(page.get_by_test_id("reasoning-body")).to_be_in_viewport()


def test_more_results_come_as_one_goes_on(person: Person, new_page: NewPage) -> None:
    person.keep(*[conversation(f"Violin {n}", ago=timedelta(hours=n)) for n in range(47)])
    page = new_page(**person.browser())
    search(page, "violin")
    expect(page.get_by_test_id("search-status")).to_have_text("20+ results")
    page.mouse.move(640, 400)
    while page.get_by_test_id("search-status").text_content() != "47 results":
        before = results(page).count()
        results(page).last.scroll_into_view_if_needed()
        expect(results(page)).not_to_have_count(before)
    expect(results(page)).to_have_count(47)
    assert len(set(results(page).evaluate_all("nodes => nodes.map((node) => node.href)"))) == 47


def test_an_empty_search_shows_the_recent_ones_escape_leads_back_and_a_failed_one_can_be_repeated(
    person: Person, new_page: NewPage
) -> None:
    page = new_page(**person.browser())
    expect(page.get_by_test_id("conversation-item")).to_have_count(3)
    page.get_by_test_id("search-open").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("search-status")).to_have_text("Recent conversations")
    expect(results(page)).to_have_count(3)
    expect(results(page).first).to_contain_text("A lighthouse of paper")
    page.keyboard.press("Control+k")  # it is open already
    expect(page.get_by_test_id("search-dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("search-dialog")).to_have_count(0)
    expect(page.get_by_test_id("search-open")).to_be_focused()

    page.route(
        "**/api/search*",
        lambda route: route.fulfill(
            status=429, body='{"error": {"code": "busy", "message": "Try again soon."}}'
        ),
    )
    search(page, "bread")
    expect(page.get_by_test_id("search-status")).to_have_text("Try again soon.")
    page.unroute("**/api/search*")
    page.get_by_test_id("search-again").click()
    expect(results(page)).to_have_count(1)


def test_a_phone_has_the_search_on_the_whole_screen(person: Person, new_page: NewPage) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = new_page(**person.browser(), **phone)
    page.get_by_test_id("sidebar-toggle").tap()
    page.get_by_test_id("search-open").tap()
    page.get_by_test_id("search-input").fill("bread")
    expect(results(page)).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    results(page).tap()
    expect(page.get_by_test_id("user-message")).to_contain_text("How is bread made?")
