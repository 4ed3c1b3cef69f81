"""The page around a conversation in a real browser: addresses, list, drafts, theme, phone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import first_of
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
CONTRAST = "() => getComputedStyle(document.getElementById('pg-app')).backgroundColor"


def two_conversations(page: Page) -> tuple[str, str]:
    addresses = []
    for text in ("Apples", "Pears"):
        ask(page, text)
        expect(page.get_by_test_id("reply-footer")).to_be_visible()
        addresses.append(page.url)
        page.keyboard.press("Control+Shift+O")
        expect(page.get_by_test_id("user-message")).to_have_count(0)
    return addresses[0], addresses[1]


def test_back_and_forward_walk_through_conversations_which_keep_their_drafts(page: Page) -> None:
    apples, pears = two_conversations(page)
    page.get_by_test_id("conversation-item").filter(has_text="Apples").click()
    expect(page.get_by_test_id("user-message")).to_have_text("Apples")
    assert page.url == apples
    expect(page.get_by_test_id("conversation-item").filter(has_text="Apples")).to_have_attribute(
        "aria-current", "page"
    )
    page.go_back()
    expect(page.get_by_test_id("user-message")).to_have_count(0)
    page.go_back()
    expect(page.get_by_test_id("user-message")).to_have_text("Pears")
    assert page.url == pears
    page.go_forward()
    page.go_forward()
    expect(page.get_by_test_id("user-message")).to_have_text("Apples")
    expect(page).to_have_title(re.compile("^Apples"))

    box = page.get_by_test_id("composer-input")
    page.get_by_test_id("new-conversation").click()
    box.fill("for later")
    page.get_by_test_id("conversation-item").first.click()
    expect(box).to_have_value("")
    page.get_by_test_id("new-conversation").click()
    expect(box).to_have_value("for later")
    page.reload()
    expect(box).to_have_value("for later")


def test_an_unknown_conversation_is_a_sentence_and_a_way_on(new_page: NewPage) -> None:
    page = new_page("/c/0123456789abcdef")
    error = page.get_by_test_id("page-error")
    expect(error).to_contain_text("This conversation does not exist or is not yours.")
    error.get_by_role("button").click()
    expect(error).to_have_count(0)
    assert page.url.endswith("/")


def test_an_answering_conversation_has_a_dot(served: Served, page: Page) -> None:
    script = served.held(3, ("final", "one two three four five six seven eight"))
    ask(page, "Long one")
    dot = page.locator(".pg-dot")
    expect(dot).to_be_visible()
    page.keyboard.press("Control+Shift+O")
    expect(dot).to_be_visible()
    served.let_go(script)
    expect(dot).to_be_hidden()


def test_the_theme_follows_the_system_until_it_is_chosen(new_page: NewPage) -> None:
    page = new_page(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "dark")
    dark = page.evaluate(CONTRAST)
    page.get_by_test_id("settings-open").click()
    page.get_by_test_id("tab-defaults").click()
    expect(page.get_by_test_id("set-theme-system")).to_be_checked()
    with page.expect_response(re.compile("/api/preferences")):
        page.get_by_test_id("set-theme-light").check()
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "light")
    assert page.evaluate(CONTRAST) != dark
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "light")


@pytest.mark.parametrize(("chosen", "shown"), [("system", "dark"), ("light", "light")])
def test_the_theme_is_there_before_the_server_has_answered(
    new_page: NewPage, chosen: str, shown: str
) -> None:
    page = new_page(color_scheme="dark")
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    page.evaluate("chosen => localStorage.setItem('pg-theme', chosen)", chosen)
    page.route("**/api/bootstrap", lambda _: None)  # the server never answers
    page.reload()
    expect(page.get_by_test_id("composer-hint")).to_contain_text("Connecting…")
    assert page.evaluate("document.documentElement.dataset.pgTheme") == shown
    assert page.evaluate("document.body.classList.contains('dark')") is (shown == "dark")
    page.route("**/js/main.js", lambda _: None)  # and nothing but what stands before the first paint runs
    page.reload(wait_until="commit")
    expect(page.locator("html")).to_have_attribute("data-pg-theme", shown)


def test_what_is_chosen_before_the_server_answers_stays_chosen(served: Served, page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/bootstrap", hold)
    page.reload()
    page.get_by_test_id("effort-low").check()
    page.get_by_test_id("show-reasoning").click()
    expect(page.get_by_test_id("composer-hint")).to_contain_text("Connecting…")
    with page.expect_response(re.compile("/api/preferences")):
        first_of(page, held).continue_()
    expect(page.get_by_test_id("model-status")).not_to_contain_text("Connecting")
    expect(page.get_by_test_id("effort-low")).to_be_checked()
    expect(page.get_by_test_id("show-reasoning")).to_have_attribute("aria-checked", "true")
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_contain_text("low effort")
    page.unroute("**/api/bootstrap")
    page.reload()
    expect(page.get_by_test_id("effort-low")).to_be_checked()


def test_what_was_refused_for_a_cookie_that_was_just_replaced_is_asked_once_more(page: Page) -> None:
    ask(page, "Mine")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    asked: list[str] = []
    error = {"message": "Please try again.", "code": "identity_changed"}

    def refuse(route: Route) -> None:
        asked.append(route.request.method)
        if len(asked) in {1, 3}:
            route.fulfill(status=409, json={"error": error})
        else:
            route.continue_()

    page.route(re.compile("/api/conversations/[^/?]+$"), refuse)
    page.reload()
    expect(page.get_by_test_id("user-message")).to_have_text("Mine")
    expect(page.get_by_test_id("page-error")).to_have_count(0)
    assert asked == ["GET", "GET"]
    page.route("**/api/turns", refuse)
    ask(page, "And yours?")
    expect(page.get_by_test_id("reply-footer")).to_have_count(2)
    expect(page.get_by_test_id("user-message")).to_have_text(["Mine", "And yours?"])
    assert asked[:4] == ["GET", "GET", "POST", "POST"]


@pytest.mark.parametrize("who", ["somebody else", "nobody knows"])
def test_what_was_refused_is_not_repeated_under_another_name(page: Page, who: str) -> None:
    error = {"error": {"message": "Please try again.", "code": "identity_changed"}}
    sent: list[Route] = []

    def refuse(route: Route) -> None:
        sent.append(route)
        route.fulfill(status=409, json=error)

    def bootstrap(route: Route) -> None:
        if who == "nobody knows":
            route.fulfill(status=409, json=error)
            return
        answer = route.fetch()
        found = answer.json()
        route.fulfill(response=answer, json={**found, "me": {**found["me"], "id": "another"}})

    expect(page.get_by_test_id("model-status")).to_have_attribute("data-stage", "ready")
    page.route("**/api/turns", refuse)
    page.route("**/api/bootstrap", bootstrap)
    with page.expect_response("**/api/bootstrap"):
        ask(page, "Mine")
    told = page.get_by_text("What you typed is kept." if who == "somebody else" else "Please try again.")
    expect(told.first).to_be_visible()
    expect(page.get_by_test_id("composer-input")).to_have_value("Mine")
    assert len(sent) == 1


def test_effort_is_chosen_by_arrow_keys_and_remembered(served: Served, page: Page) -> None:
    page.get_by_test_id("effort-medium").focus()
    with page.expect_response(re.compile("/api/preferences")):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("effort-high")).to_be_checked()
    page.reload()
    expect(page.get_by_test_id("effort-high")).to_be_checked()
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_contain_text("high effort")


def test_a_phone_shows_everything_without_sideways_scrolling_for_a_finger(
    served: Served, new_page: NewPage
) -> None:
    wide = "| " + " | ".join(f"column{n}" for n in range(12)) + " |\n|" + "---|" * 12 + "\n|" + " x |" * 12
    served.play(Script([("final", f"{wide}\n\n```\n{'long line ' * 40}\n```\n\n{'unbroken' * 60}")]))
    page = new_page(**PHONE)
    assert page.evaluate("document.documentElement.dataset.pgSidebar") == "closed"
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    overflow = """() => [document.documentElement, document.getElementById("pg-scroller")]
        .map((node) => node.scrollWidth - node.clientWidth)"""
    assert page.evaluate(overflow) == [0, 0]
    expect(page.get_by_test_id("composer-input")).to_be_in_viewport(ratio=1)
    page.get_by_test_id("sidebar-toggle").click()
    expect(page.get_by_test_id("conversation-item")).to_be_visible()
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input")].filter((node) => node.checkVisibility()
            && !node.closest(".pg-prose, #pg-app .pg-vh") && node.getBoundingClientRect().height < 40)
            .map((node) => node.outerHTML)"""
    )
    assert small == []
    page.get_by_test_id("conversation-item").click()
    expect(page.get_by_test_id("conversation-item")).to_be_hidden()


def test_a_reader_who_scrolled_up_is_left_alone(served: Served, page: Page) -> None:
    text = "\n\n".join(f"Paragraph {n}" for n in range(120))
    script = served.held(300, ("final", text))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("Paragraph 40")
    page.mouse.move(700, 300)
    page.mouse.wheel(0, -400)
    jump = page.get_by_test_id("jump-to-latest")
    expect(jump).to_be_visible()
    top = page.evaluate("document.getElementById('pg-scroller').scrollTop")
    served.let_go(script)
    expect(page.get_by_test_id("reply-footer")).to_be_attached()
    assert page.evaluate("document.getElementById('pg-scroller').scrollTop") == top
    jump.click()
    expect(page.get_by_test_id("reply-footer")).to_be_in_viewport()
    expect(jump).to_be_hidden()
