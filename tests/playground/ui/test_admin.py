"""The administrators' sheet in a real browser: figures, people, bans and roles, and no conversation."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from storage.account_records import AccountRole
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.members import kind_of, open_sheet, signed_in
from tests.playground.ui.served import Served, serving
from tests.playground.ui.shelf import conversation
from tests.playground.ui.test_axe import SIZES, audit

pytestmark = pytest.mark.browser

SECRET = "a secret that no administrator reads"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An application of its own for each test, where nobody else has an account."""
    with serving(tmp_path) as running:
        yield running


def row(page: Page, name: str) -> Locator:
    return page.get_by_test_id("user").filter(has_text=name)


def test_an_administrator_sees_figures_and_names_and_no_conversation(
    served: Served, new_page: NewPage
) -> None:
    ada = signed_in(served, "ada", admin=True)
    bob = signed_in(served, "bob", name="Bob <b>Builder</b>")
    bob.keep(conversation(SECRET, question=SECRET, answer=SECRET))
    answers: list[str] = []
    page = new_page(**ada.browser())
    page.on("response", lambda each: answers.append(each.text()) if "/api/admin/" in each.url else None)
    open_sheet(page, "admin-open")
    expect(page.get_by_test_id("admin-privacy")).to_contain_text("They cannot read anybody's conversations.")
    for name, value in (
        ("People", "2 · 2 with an account"),
        ("Conversations", "1"),
        ("Tokens per day", "no limit"),
    ):
        expect(page.locator(f"dt:text-is('{name}') + dd")).to_have_text(value)
    page.get_by_test_id("tab-users").click()
    expect(row(page, "Ada")).to_contain_text("You")
    expect(row(page, "Ada").get_by_role("button")).to_have_count(0)
    expect(row(page, "Bob <b>Builder</b>")).to_contain_text("1 conversation · 2 messages")

    row(page, "Bob").get_by_test_id("user-ban").click()
    expect(page.get_by_test_id("dialog")).to_contain_text("they can still come back as a guest")
    page.keyboard.press("Escape")
    expect(row(page, "Bob")).not_to_contain_text("Banned")
    row(page, "Bob").get_by_test_id("user-ban").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(row(page, "Bob")).to_contain_text("Banned")
    expect(row(page, "Bob").get_by_test_id("user-unban")).to_be_focused()
    assert kind_of(bob) == "guest"
    page.keyboard.press("Enter")
    expect(row(page, "Bob")).not_to_contain_text("Banned")
    row(page, "Bob").get_by_test_id("user-admin").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(row(page, "Bob").get_by_test_id("user-member")).to_be_focused()
    account = served.store.account_of(bob.owner_id)
    assert account is not None
    assert account.role == "admin"
    assert answers
    assert not any(SECRET in answer for answer in answers)


def test_many_people_come_page_by_page_and_are_found_on_any(served: Served, new_page: NewPage) -> None:
    first = signed_in(served, "zoe", name="Zoe First")
    for number in range(60):
        signed_in(served, f"person{number}")
    for _ in range(3):
        served.store.user_for_identity(secrets.token_hex(32))
    ada = signed_in(served, "ada", admin=True)
    page = new_page(**ada.browser(), color_scheme="dark", **SIZES["phone"])
    open_sheet(page, "admin-open")
    page.get_by_test_id("tab-users").tap()
    people = page.get_by_test_id("user")
    expect(people).to_have_count(50)
    expect(row(page, "Guest")).to_have_count(0)
    expect(row(page, "Zoe First")).to_have_count(0)
    page.get_by_test_id("users-search").fill("zoe")
    expect(people).to_have_count(1)
    expect(row(page, "Zoe First")).to_be_visible()
    row(page, "Zoe First").get_by_test_id("user-ban").tap()
    page.get_by_test_id("dialog-confirm").tap()
    expect(page.get_by_role("group", name="Which users")).to_have_text(
        "Which usersAccounts 62Guests 3Banned 1"
    )
    page.get_by_test_id("users-search").fill("nobody at all")
    expect(page.get_by_test_id("users-note")).to_have_text("Nobody has such a name.")
    page.get_by_test_id("users-search").fill("")
    expect(people).to_have_count(62)
    expect(page.get_by_test_id("users-more")).to_be_hidden()

    page.get_by_test_id("users-accounts").focus()
    page.keyboard.press("ArrowRight")
    expect(people).to_have_count(3)
    expect(row(page, "Guest")).to_have_count(3)
    expect(page.get_by_test_id("users-search")).to_be_hidden()  # they have no names
    assert audit(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    page.keyboard.press("ArrowRight")
    expect(people).to_have_count(1)
    row(page, "Zoe First").get_by_test_id("user-unban").tap()
    expect(page.get_by_text("Banned 0")).to_be_visible()

    # A role that was taken away leaves nothing to look at.
    served.store.set_role(first.owner_id, AccountRole.ADMIN)
    served.store.set_role(ada.owner_id, AccountRole.MEMBER)
    page.get_by_test_id("tab-overview").click()
    expect(page.get_by_test_id("sheet-problem")).to_be_visible()
