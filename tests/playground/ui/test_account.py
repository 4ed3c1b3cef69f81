"""The account's sheet in a real browser: who one is, sessions, keys, the way out, and what a limit says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import Watch, first_of
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.members import kind_of, open_sheet, signed_in, visitor
from tests.playground.ui.served import Served, serving
from tests.playground.ui.shelf import Person, conversation
from tests.playground.ui.test_axe import audit
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An application of its own for each test, where nobody else has an account."""
    with serving(tmp_path) as running:
        yield running


def tab(page: Page, name: str) -> None:
    page.get_by_test_id(f"tab-{name}").click()


def status_with(served: Served, secret: str) -> int:
    """What a program gets that uses this key for the conversations."""
    answer = httpx.get(f"{served.url}/api/conversations", headers={"Authorization": f"Bearer {secret}"})
    return answer.status_code


def test_a_guest_makes_a_key_sees_it_once_and_takes_it_back(served: Served, page: Page) -> None:
    page.get_by_test_id("me").click()
    expect(page.get_by_test_id("guest-note")).to_have_text("Only this browser can see these conversations.")
    expect(page.get_by_test_id("usage-note")).to_have_text("There is no limit by the day here.")
    for absent in ("tab-sessions", "profile-sign-in"):
        expect(page.get_by_test_id(absent)).to_have_count(0)
    page.get_by_test_id("tab-profile").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_test_id("tab-keys")).to_be_focused()
    expect(page.get_by_test_id("keys-note")).to_have_text("There is no key yet.")
    page.get_by_test_id("key-create").click()
    expect(page.get_by_test_id("key-problem")).to_have_text("Give the key a name first.")
    expect(page.get_by_test_id("key-name")).to_be_focused()
    page.get_by_test_id("key-name").fill("<b>notebook</b>")
    page.get_by_test_id("scope-inference").uncheck()
    page.keyboard.press("Enter")
    page.get_by_test_id("key-create").click()
    expect(page.get_by_test_id("key-problem")).to_have_text("Choose what the key may do.")
    page.get_by_test_id("scope-conversations").check()
    page.get_by_test_id("key-create").click()
    secret = page.get_by_test_id("key-secret").input_value()
    expect(page.get_by_test_id("key-secret")).to_be_focused()
    assert re.fullmatch(r"gop_[A-Za-z0-9_-]{43}", secret)
    assert status_with(served, secret) == 200
    page.get_by_test_id("key-done").click()
    row = page.get_by_test_id("key")
    expect(row).to_contain_text("<b>notebook</b>")
    expect(row).to_contain_text(f"gop_…{secret[-4:]}")
    assert secret not in page.content()
    tab(page, "profile")
    tab(page, "keys")
    expect(row).to_contain_text("last used just now")
    page.get_by_test_id("key-revoke").click()
    page.keyboard.press("Escape")
    expect(row).to_have_count(1)
    page.get_by_test_id("key-revoke").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(row).to_have_count(0)
    expect(page.get_by_test_id("key-name")).to_be_focused()
    assert status_with(served, secret) == 401
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("account-dialog")).to_have_count(0)
    expect(page.get_by_test_id("me")).to_be_focused()


def test_a_new_key_stays_until_it_is_done_with_and_is_not_lost_unread(new_page: NewPage) -> None:
    page = new_page(**PHONE)
    open_sheet(page)
    tab(page, "keys")
    for name in ("old", "new"):
        page.get_by_test_id("key-name").fill(name)
        page.get_by_test_id("key-create").tap()
        expect(page.get_by_test_id("key").first).to_contain_text(name)
    boxes = page.get_by_test_id("key-made")
    expect(boxes).to_have_count(2)  # the first one was not read yet, so it stays
    secret = page.get_by_label("The new key: new").input_value()
    page.get_by_role("button", name="Revoke old").tap()
    page.get_by_test_id("dialog-confirm").tap()
    expect(page.get_by_test_id("key")).to_have_count(1)
    tab(page, "profile")
    tab(page, "keys")
    expect(boxes).to_have_count(1)  # what opens nothing any more is not kept
    expect(page.get_by_test_id("key-secret")).to_have_value(secret)
    assert audit(page) == []
    question = page.get_by_test_id("dialog")
    for _ in range(3):  # as often as somebody tries
        page.keyboard.press("Escape")
        expect(question).to_contain_text("Close without copying the key?")
        page.keyboard.press("Escape")
        expect(question).to_have_count(0)
    expect(page.get_by_test_id("key-secret")).to_have_value(secret)
    page.get_by_test_id("dialog-close").tap()
    question.get_by_role("button", name="Cancel").tap()
    page.get_by_test_id("key-secret").focus()
    page.keyboard.press("Control+c")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("account-dialog")).to_have_count(0)


def test_everything_is_deleted_when_the_word_was_typed(served: Served, new_page: NewPage) -> None:
    guest = Person.of(served)
    guest.keep(conversation("Mine", question="Is this mine?", answer="Yes."))
    page = new_page(**guest.browser(), **PHONE)
    open_sheet(page)
    tab(page, "yours")
    expect(page.get_by_test_id("delete-lead")).to_contain_text("Backups of this server that were made before")
    page.get_by_test_id("delete-account").tap()
    dialog = page.get_by_test_id("delete-dialog")
    expect(dialog).to_contain_text("all conversations, with every branch and all reasoning")
    with page.expect_download() as saved:
        page.get_by_test_id("delete-export").tap()
    assert "Is this mine?" in Path(saved.value.path()).read_text(encoding="utf-8")
    go = page.get_by_test_id("delete-confirm")
    expect(go).to_be_disabled()
    page.get_by_test_id("delete-word").fill("deleted")
    expect(go).to_be_disabled()
    page.get_by_test_id("delete-word").fill("Delete ")
    go.tap()
    expect(dialog).to_have_count(0)
    expect(page.get_by_test_id("toast")).to_have_text("Everything that this browser had here was deleted.")
    page.get_by_test_id("sidebar-toggle").tap()
    expect(page.get_by_test_id("list-message")).to_have_text("Your conversations will be listed here.")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert kind_of(guest) == "identity_changed"
    assert served.store.list_conversations(guest.owner_id) == ([], None)


def test_sessions_end_one_by_one_and_all_at_once(served: Served, new_page: NewPage) -> None:
    phone = signed_in(served, "ada", name="Ada <i>L</i>", client="Safari on iPhone")
    here = signed_in(served, "ada", name="Ada <i>L</i>", client="Firefox on Linux")
    page = new_page(**here.browser())
    expect(page.get_by_test_id("me")).to_contain_text("Ada <i>L</i>")
    page.get_by_test_id("me").press("Enter")
    expect(page.get_by_test_id("admin-open")).to_have_count(0)
    page.keyboard.press("Enter")  # the first entry has the focus
    expect(page.get_by_test_id("profile-name")).to_have_text("Ada <i>L</i>")
    expect(page.get_by_test_id("profile")).to_contain_text("ada · ada@example.org")
    tab(page, "sessions")
    rows = page.get_by_test_id("session")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="This browser")).to_contain_text("Firefox on Linux")
    rows.filter(has_text="Safari on iPhone").get_by_test_id("session-end").click()
    expect(rows).to_have_count(1)
    assert (kind_of(phone), kind_of(here)) == ("guest", "account")
    page.get_by_test_id("sign-out-everywhere").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(page.get_by_test_id("account-dialog")).to_have_count(0)
    expect(page.get_by_test_id("toast")).to_have_text("You are signed out everywhere.")
    expect(page.get_by_test_id("me")).to_have_text("Account")
    assert kind_of(here) == "identity_changed"


def test_a_sheet_that_gets_no_answer_says_so_and_asks_again(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/account", hold)
    page.get_by_test_id("me").click()
    expect(page.get_by_test_id("loading")).to_be_visible()
    first_of(page, held).abort()
    expect(page.get_by_test_id("sheet-problem")).to_contain_text("The server cannot be reached.")
    page.unroute("**/api/account")
    page.get_by_test_id("sheet-retry").click()
    expect(page.get_by_test_id("profile")).to_be_visible()


def test_a_message_goes_out_when_the_server_is_back(chromium: Browser, served: Served) -> None:
    served.play(Script([("final", "Yes.")]))
    watch = Watch(served.url, forgiven=["the server responded with a status of 503"])
    page = visitor(chromium, served, watch=watch)
    expect(page.get_by_test_id("model-status")).to_have_attribute("data-stage", "ready")
    gone: list[str] = []

    def away(route: Route) -> None:
        gone.append(route.request.url)
        route.fulfill(status=503, content_type="text/html", body="<h1>Your space is starting</h1>")

    for path in ("turns", "model", "changes?**"):
        page.route(f"**/api/{path}", away)
    ask(page, "Are you there?")
    hint = page.get_by_test_id("composer-hint")
    expect(hint).to_have_text(re.compile("is restarting. Your message goes out as soon as it is back."))
    expect(page.get_by_test_id("composer-input")).to_have_value("Are you there?")
    assert any(url.endswith("/api/turns") for url in gone)
    page.unroute_all()
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(page.get_by_test_id("user-message")).to_have_text("Are you there?")
    page.context.close()
    assert watch.faults() == []


def test_who_has_used_up_a_day_keeps_the_text_and_is_told_when(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, tokens_per_day=3) as served:
        served.play(Script([("final", "one two three four five six")]))
        watch = Watch(served.url, forgiven=["the server responded with a status of 429"])
        page = visitor(chromium, served, watch=watch)
        ask(page, "Once")
        expect(page.get_by_test_id("reply-footer")).to_be_visible()
        ask(page, "Twice")
        expect(page.get_by_test_id("countdown")).to_have_text(
            re.compile(r"^Try again in (.+ hours?|.+ minutes?|\d+ s)\.$")
        )
        expect(page.get_by_test_id("composer-input")).to_have_value("Twice")
        expect(page.get_by_test_id("user-message")).to_have_count(1)
        page.get_by_test_id("me").click()
        expect(page.get_by_test_id("usage-tokens")).to_contain_text("of 3")
        expect(page.get_by_role("meter", name="Tokens today")).to_have_attribute("aria-valuenow", "3")
        expect(page.get_by_test_id("usage-note")).to_have_text(re.compile("^Starts again in .+"))
        page.context.close()
        assert watch.faults() == []


def test_a_guest_who_has_used_up_a_day_can_go_on_by_signing_in(chromium: Browser, tmp_path: Path) -> None:
    nobody: dict[str, Any] = {"oauth_client_id": "playground", "openid_provider_url": "http://127.0.0.1:9"}
    with serving(tmp_path, guest_tokens_per_day=3, tokens_per_day=1000, **nobody) as served:
        served.play(Script([("final", "one two three four five six")]))
        watch = Watch(served.url, forgiven=["the server responded with a status of 429"])
        page = visitor(chromium, served, watch=watch, color_scheme="dark", **PHONE)
        ask(page, "Once")
        expect(page.get_by_test_id("reply-footer")).to_be_visible()
        page.get_by_test_id("regenerate").tap()
        page.get_by_test_id("again").tap()
        toast = page.get_by_test_id("toast")
        expect(toast).to_contain_text(", or sign in to go on.")
        expect(toast.get_by_test_id("toast-action")).to_have_text("Sign in")
        ask(page, "Twice")
        hint = page.get_by_test_id("composer-hint")
        expect(hint).to_contain_text("You have used your 3 tokens of today.")
        expect(hint).to_contain_text("Or sign in to go on.")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        assert audit(page) == []
        open_sheet(page)
        note = page.get_by_test_id("usage-note")
        expect(note).to_have_text(re.compile(r"^Starts again .+, or sign in to go on\.$"))
        path = page.evaluate("encodeURIComponent(location.pathname)")
        expect(note.get_by_role("link")).to_have_attribute("href", f"/oauth/login?next={path}")
        assert audit(page) == []
        page.get_by_test_id("dialog-close").tap()
        page.keyboard.press("Escape")
        hint.get_by_role("link", name="sign in").tap()
        expect(page.get_by_test_id("sign-in-error")).to_contain_text("The sign-in service cannot be reached.")
        page.context.close()
        assert watch.faults() == []
