"""The list of conversations in a real browser: groups, thousands of rows, keys, menu, undo, archive."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser import first_of
from tests.conftest import Scale
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.shelf import Person, conversation
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
MOST_ROWS = 60
LARGEST_PAGE = 100
TO_THE_END = "list => list.scrollTop = list.scrollHeight"


@pytest.fixture
def person(served: Served) -> Person:
    return Person.of(served)


def items(page: Page) -> Locator:
    return page.get_by_test_id("conversation-item")


def item(page: Page, title: str) -> Locator:
    return items(page).filter(has_text=re.compile(f"^{re.escape(title)}$"))


def choose(page: Page, title: str, *entry: str) -> None:
    """Open a conversation's menu and choose these, one after the other."""
    row = page.locator(".pg-item").filter(has=item(page, title))
    row.hover()
    row.get_by_test_id("conversation-menu").click()
    for each in entry:
        page.get_by_test_id(each).click()


def test_conversations_are_grouped_by_date(person: Person, new_page: NewPage) -> None:
    old = datetime.now(UTC) - timedelta(days=800)
    person.keep(
        conversation("Kept on top", ago=timedelta(days=90), pinned=True),
        conversation("Now"),
        conversation("A day ago", ago=timedelta(days=1)),
        conversation("Four days ago", ago=timedelta(days=4)),
        conversation("Three weeks ago", ago=timedelta(days=21)),
        conversation("Long ago", ago=timedelta(days=800)),
        conversation("Put away", archived=True),
    )
    page = new_page(**person.browser())
    groups = page.get_by_test_id("conversation-list").get_by_role("list")
    names = ["Pinned", "Today", "Yesterday", "Previous 7 days", "Previous 30 days", f"{old:%B} {old.year}"]
    expect(groups).to_have_count(len(names))
    assert [group.get_attribute("aria-label") for group in groups.all()] == names
    expect(items(page)).to_have_text(
        ["Kept on top", "Now", "A day ago", "Four days ago", "Three weeks ago", "Long ago"]
    )
    heights = page.locator(".pg-item, .pg-list-group").evaluate_all(
        "rows => rows.map((row) => row.offsetHeight)"
    )
    assert len(set(heights)) == 1


def test_ten_thousand_conversations_are_scrolled_through_with_a_few_rows(
    person: Person, new_page: NewPage, scale: Scale
) -> None:
    many = scale(2000, 10_000)
    person.keep(*[conversation(f"Number {n}", ago=timedelta(minutes=7 * n)) for n in range(many)])
    page = new_page(**person.browser())
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/api/conversations" in request.url else None
    )
    expect(items(page).first).to_have_text("Number 0")
    box = page.get_by_test_id("conversation-list")
    most = 0
    while item(page, f"Number {many - 1}").count() == 0:
        before = box.evaluate("list => list.scrollHeight")
        box.evaluate(TO_THE_END)
        most = max(most, items(page).count())
        page.wait_for_function(
            """before => document.getElementById("pg-list").scrollHeight > before
                || !document.querySelector(".pg-list-more:not([hidden])")""",
            arg=before,
        )
    assert most <= MOST_ROWS
    assert len([url for url in asked if "/api/conversations" in url]) <= many / LARGEST_PAGE + 1
    last = page.locator(".pg-item").filter(has=item(page, f"Number {many - 1}"))
    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize") != "-1"
    box.evaluate("list => list.scrollTop = list.scrollHeight / 2")
    expect(item(page, f"Number {many - 1}")).to_have_count(0)
    assert 0 < items(page).count() <= MOST_ROWS
    box.evaluate("list => list.scrollTop = 0")
    expect(items(page).first).to_have_text("Number 0")


def test_the_list_is_one_stop_for_tab_and_walked_with_arrows(person: Person, new_page: NewPage) -> None:
    person.keep(*[conversation(f"Number {n}", ago=timedelta(days=n)) for n in range(200)])
    page = new_page(**person.browser())
    expect(items(page).first).to_have_text("Number 0")
    page.get_by_test_id("search-open").focus()
    page.keyboard.press("Tab")
    expect(item(page, "Number 0")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(item(page, "Number 1")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("PageDown")
    focused = page.evaluate("document.activeElement.textContent")
    assert int(focused.removeprefix("Number ")) > 20
    expect(item(page, focused)).to_be_in_viewport(ratio=1)
    # A row with the focus stays in the document, however far the list is scrolled away from it.
    page.get_by_test_id("conversation-list").evaluate("list => list.scrollTop = 0")
    expect(item(page, "Number 0")).to_be_in_viewport()
    expect(item(page, focused)).to_be_focused()
    page.keyboard.press("Home")
    expect(item(page, "Number 0")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("settings-open")).to_be_focused()


def test_a_title_is_changed_where_it_stands(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("Old name", question="Hello?"), conversation("Other", ago=timedelta(hours=1)))
    page = new_page(**person.browser())
    item(page, "Old name").click()
    expect(page.get_by_test_id("title")).to_have_text("Old name")
    choose(page, "Old name", "rename")
    field = page.get_by_test_id("rename-input")
    expect(field).to_be_focused()
    field.fill("Forgotten")
    field.press("Escape")
    expect(item(page, "Old name")).to_be_focused()
    page.keyboard.press("F2")
    field.fill("  New ${name} <b>bold</b> ")
    with page.expect_response(re.compile("/api/conversations/")) as answered:
        field.press("Enter")
    assert answered.value.status == 200
    expect(item(page, "New ${name} <b>bold</b>")).to_be_focused()
    expect(page.get_by_test_id("title")).to_have_text("New ${name} <b>bold</b>")
    page.reload()
    expect(items(page)).to_have_text(["New ${name} <b>bold</b>", "Other"])


def test_pinned_ones_come_first_and_stay_there(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("First"), conversation("Second", ago=timedelta(days=3)))
    page = new_page(**person.browser())
    expect(items(page)).to_have_text(["First", "Second"])
    choose(page, "Second", "pin")
    expect(items(page)).to_have_text(["Second", "First"])
    expect(page.get_by_role("list", name="Pinned").get_by_test_id("conversation-item")).to_have_text("Second")
    page.reload()
    expect(items(page)).to_have_text(["Second", "First"])
    choose(page, "Second", "pin")
    expect(items(page)).to_have_text(["First", "Second"])


def test_a_delete_is_done_at_once_and_can_be_taken_back(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("Keep", ago=timedelta(hours=1)), conversation("Lose", question="What was lost?"))
    page = new_page(**person.browser())
    item(page, "Lose").click()
    expect(page.get_by_test_id("user-message")).to_contain_text("What was lost?")
    address = page.url
    for how in ("button", "key"):
        choose(page, "Lose", "delete")
        expect(items(page)).to_have_text(["Keep"])
        expect(page.get_by_test_id("toast")).to_contain_text("Deleted “Lose”.")
        expect(page.get_by_test_id("user-message")).to_have_count(0)
        assert page.url.endswith("/")
        if how == "button":
            page.get_by_test_id("toast-action").click()
        else:
            page.keyboard.press("Control+z")
        expect(items(page)).to_have_text(["Lose", "Keep"])
        expect(page.get_by_test_id("user-message")).to_contain_text("What was lost?")
        expect(page.get_by_test_id("toast")).to_have_count(0)
        assert page.url == address


def test_deleting_by_key_leads_to_the_next_one(person: Person, new_page: NewPage) -> None:
    person.keep(*[conversation(f"Number {n}", ago=timedelta(minutes=n)) for n in range(3)])
    page = new_page(**person.browser())
    item(page, "Number 1").focus()
    page.keyboard.press("Delete")
    expect(items(page)).to_have_text(["Number 0", "Number 2"])
    expect(item(page, "Number 2")).to_be_focused()
    page.keyboard.press("Delete")
    expect(items(page)).to_have_text(["Number 0"])
    expect(item(page, "Number 0")).to_be_focused()
    expect(page.get_by_test_id("toast")).to_have_count(2)
    page.keyboard.press("Control+z")
    expect(items(page)).to_have_text(["Number 0", "Number 2"])
    page.keyboard.press("Control+z")
    expect(items(page)).to_have_text(["Number 0", "Number 1", "Number 2"])


def test_undo_goes_by_what_was_asked_for_and_not_by_the_answers(person: Person, new_page: NewPage) -> None:
    person.keep(*[conversation(f"Number {n}", ago=timedelta(minutes=n)) for n in range(3)])
    page = new_page(**person.browser())
    held: list[Route] = []
    page.route("**/api/conversations/*", lambda route: held.append(route) if not held else route.continue_())
    item(page, "Number 1").focus()
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    expect(items(page)).to_have_text(["Number 0"])
    expect(page.get_by_test_id("toast")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(items(page)).to_have_text(["Number 0", "Number 2"])
    page.keyboard.press("Control+z")  # the first delete has not been answered yet
    first_of(page, held).continue_()
    expect(items(page)).to_have_text(["Number 0", "Number 1", "Number 2"])
    expect(page.get_by_test_id("toast")).to_have_count(0)


def test_a_delete_that_the_server_refuses_is_told_and_undone(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("Stays"))
    page = new_page(**person.browser())
    refusal = '{"error": {"code": "storage_busy", "message": "Try again in a moment.", "param": null}}'
    page.route("**/api/conversations/*", lambda route: route.fulfill(status=429, body=refusal))
    choose(page, "Stays", "delete")
    expect(page.get_by_test_id("toast")).to_have_text("Try again in a moment.")
    expect(items(page)).to_have_text(["Stays"])


def test_archived_ones_are_out_of_the_way_and_found_again(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("Done with", question="Finished?"), conversation("Going on"))
    page = new_page(**person.browser())
    choose(page, "Done with", "archive")
    expect(items(page)).to_have_text(["Going on"])
    page.get_by_test_id("toast-action").click()
    expect(items(page)).to_have_text(["Going on", "Done with"])
    choose(page, "Done with", "archive")
    expect(items(page)).to_have_text(["Going on"])
    page.get_by_test_id("archive-open").click()
    expect(items(page)).to_have_text(["Done with"])
    items(page).click()
    expect(page.get_by_test_id("user-message")).to_contain_text("Finished?")
    choose(page, "Done with", "archive")
    expect(page.get_by_test_id("list-message")).to_have_text("Nothing is archived.")
    page.get_by_test_id("archive-back").click()
    expect(items(page)).to_have_text(["Going on", "Done with"])


def test_a_temporary_chat_looks_like_one_and_is_kept_nowhere(served: Served, page: Page) -> None:
    served.play(Script([("final", "A secret answer.")]))
    frame = "() => getComputedStyle(document.getElementById('pg-composer')).borderTopStyle"
    assert page.evaluate(frame) == "solid"
    page.get_by_test_id("temporary-chat").click()
    expect(page.get_by_test_id("temporary-chat")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("temporary-note")).to_contain_text("lost once you leave it")
    assert page.evaluate(frame) == "dashed"
    expect(page).to_have_title(re.compile("^Temporary chat"))
    ask(page, "A secret question")
    expect(page.get_by_test_id("answer")).to_have_text("A secret answer.")
    expect(page.get_by_test_id("temporary-label")).to_be_visible()
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(page.get_by_test_id("share-open")).to_be_hidden()
    expect(items(page)).to_have_count(0)
    assert re.search(r"/c/t[^/]+$", page.url)
    page.get_by_test_id("new-conversation").click()
    expect(page.get_by_test_id("temporary-label")).to_be_hidden()
    expect(page.get_by_test_id("toast")).to_contain_text("You left the temporary chat.")
    page.get_by_test_id("toast-action").click()
    expect(page.get_by_test_id("user-message")).to_contain_text("A secret question")
    page.get_by_test_id("new-conversation").click()
    ask(page, "An ordinary question")
    expect(items(page)).to_have_count(1)
    assert not re.search(r"/c/t[^/]+$", page.url)


def test_on_a_phone_the_undo_is_over_the_open_drawer(person: Person, new_page: NewPage) -> None:
    person.keep(conversation("One"), conversation("Two", ago=timedelta(hours=1)))
    page = new_page(**person.browser(), **PHONE)
    page.get_by_test_id("sidebar-toggle").tap()
    page.locator(".pg-item").filter(has=item(page, "Two")).get_by_test_id("conversation-menu").tap()
    page.get_by_test_id("delete").tap()
    expect(items(page)).to_have_text(["One"])
    expect(page.get_by_test_id("toast-action")).to_be_in_viewport(ratio=1)
    page.get_by_test_id("toast-action").tap()
    expect(items(page)).to_have_text(["One", "Two"])


def test_alt_and_arrows_go_from_conversation_to_conversation(person: Person, new_page: NewPage) -> None:
    person.keep(
        *[
            conversation(f"Number {n}", ago=timedelta(hours=30 * n), question=f"Question {n}?")
            for n in range(3)
        ]
    )
    page = new_page(**person.browser())
    expect(items(page)).to_have_count(3)
    page.keyboard.press("Alt+ArrowDown")
    expect(page.get_by_test_id("user-message")).to_contain_text("Question 0?")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.get_by_test_id("user-message")).to_contain_text("Question 1?")
    expect(item(page, "Number 1")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.get_by_test_id("user-message")).to_contain_text("Question 0?")
