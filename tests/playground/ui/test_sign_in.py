"""Signing in and out in a real browser: against a real provider, in a frame, and where it is demanded."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Response, Route, expect

from tests.browser import Watch
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.members import open_sheet, provider, signed_in, visitor
from tests.playground.ui.served import Served, serving
from tests.playground.ui.shelf import conversation
from tests.playground.ui.test_axe import SIZES, audit
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

NOWHERE = "http://127.0.0.1:9"
"""A provider that never answers."""


def test_a_guest_signs_in_goes_on_and_signs_out(chromium: Browser, tmp_path: Path) -> None:
    with provider(sub="ada", name="Ada <b>Lovelace</b>") as issuer:
        client: dict[str, Any] = {
            "oauth_client_id": "playground",
            "oauth_client_secret": "any",
            "openid_provider_url": issuer,
        }
        with serving(tmp_path, **client) as served:
            served.play(Script([("final", "Yes.")]))
            # The provider's own pages would fetch their styles from elsewhere, and what a tab asks while the
            # other one signs in is a conflict.
            statuses = ["status of 404", "status of 409"]
            watch = Watch(served.url, forgiven=[issuer, "jsdelivr", "net::ERR_FAILED", *statuses])
            page = visitor(chromium, served, watch=watch)
            page.context.route("**://cdn.jsdelivr.net/**", lambda route: route.abort())
            ask(page, "Is this mine?")
            expect(page.get_by_test_id("reply-footer")).to_be_visible()
            address = page.url
            other = page.context.new_page()
            watch.over(other)
            conflicts: list[Response] = []
            other.on("response", lambda answer: conflicts.append(answer) if answer.status == 409 else None)
            other.goto(served.url)
            expect(other.get_by_test_id("sign-in")).to_have_text("Sign in with 127.0.0.1")
            other.get_by_test_id("composer-input").fill("half a thought")

            page.get_by_test_id("sign-in").click()
            page.get_by_role("button", name="ada").click()
            expect(page.get_by_test_id("me")).to_contain_text("Ada <b>Lovelace</b>")
            assert page.url == address
            expect(page.get_by_test_id("user-message")).to_have_text("Is this mine?")
            expect(page.get_by_test_id("sign-in")).to_be_hidden()
            # The tab that was open all the time knows it, too.
            expect(other.get_by_test_id("me")).to_contain_text("Ada <b>Lovelace</b>")
            expect(other.get_by_test_id("conversation-item")).to_have_count(1)
            assert all(each.json()["error"]["code"] == "identity_changed" for each in conflicts)

            open_sheet(page, "sign-out")
            expect(page.get_by_test_id("toast")).to_have_text("You are signed out.")
            expect(page.get_by_test_id("sign-in")).to_be_visible()
            expect(page.get_by_test_id("conversation-item")).to_have_count(0)
            bar = other.get_by_test_id("signed-out")
            expect(bar).to_contain_text("You are signed out. What you typed is kept.")
            expect(other.get_by_test_id("send")).to_be_disabled()
            expect(other.get_by_test_id("composer-input")).to_have_value("half a thought")
            # Whoever signs in next is not taken for the one who left.
            other.get_by_test_id("away-sign-in").click()
            other.wait_for_url(re.compile(r"[?&]prompt=select_account"))
            other.get_by_role("button", name="ada").first.click()
            expect(other.get_by_test_id("me")).to_contain_text("Ada <b>Lovelace</b>")
            expect(other.get_by_test_id("composer-input")).to_have_value("half a thought")
            assert other.evaluate("localStorage.getItem('pg-signed-out')") is None
            page.context.close()
            assert watch.faults() == []


def test_who_is_not_let_in_is_named_and_may_come_as_somebody_else(chromium: Browser, tmp_path: Path) -> None:
    with provider(sub="eve <b>x</b>", name="Eve") as issuer:
        client: dict[str, Any] = {"oauth_client_id": "playground", "openid_provider_url": issuer}
        with serving(tmp_path, oauth_client_secret="any", allowed_users="ada", **client) as served:
            watch = Watch(served.url, forgiven=[issuer, "jsdelivr", "net::ERR_FAILED"])
            page = visitor(chromium, served, watch=watch, color_scheme="dark", **SIZES["phone"])
            page.context.route("**://cdn.jsdelivr.net/**", lambda route: route.abort())
            page.get_by_test_id("welcome-sign-in").tap()
            page.get_by_role("button", name="eve").tap()
            notice = page.get_by_test_id("sign-in-error")
            expect(notice).to_contain_text(
                "The account “eve <b>x</b>” is not among those that may use this playground."
            )
            assert page.evaluate("document.cookie") == ""
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
            assert audit(page) == []
            notice.get_by_test_id("sign-in-another").tap()
            page.wait_for_url(re.compile(rf"^{issuer}/.*[?&]prompt=select_account"))
            page.context.close()
            # Whoever has a session from before the list was made is not stuck either.
            watch.forgiven.append("status of 403")
            page = visitor(chromium, served, watch=watch, **signed_in(served, "max").browser())
            link = page.get_by_test_id("welcome-sign-in")
            expect(link).to_have_text("Use another account")
            expect(link).to_have_attribute("href", "/oauth/login?next=%2F&account=another")
            page.context.close()
            assert watch.faults() == []


@pytest.mark.parametrize(("size", "scheme"), [("wide", "dark"), ("phone", "light")])
def test_where_sign_in_is_demanded_there_is_one_button(
    chromium: Browser, tmp_path: Path, size: str, scheme: str
) -> None:
    settings: dict[str, Any] = {"oauth_client_id": "playground", "openid_provider_url": NOWHERE}
    with serving(tmp_path, sign_in="required", sign_ins_per_minute=1, **settings) as served:
        watch = Watch(served.url)
        page = visitor(
            chromium, served, "/c/0123456789abcdef", watch=watch, color_scheme=scheme, **SIZES[size]
        )
        link = page.get_by_test_id("welcome-sign-in")
        expect(link).to_have_text("Sign in with 127.0.0.1")
        expect(link).to_have_attribute("href", "/oauth/login?next=%2Fc%2F0123456789abcdef")
        expect(page.get_by_test_id("welcome-note")).to_have_text("Sign in to use this playground.")
        for hidden in ("composer-input", "new-conversation", "settings-top"):
            expect(page.get_by_test_id(hidden)).to_be_hidden()
        page.keyboard.press("Control+k")
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_have_count(0)
        assert audit(page) == []
        # Nobody answers there; the page says so, and the address is clean again.
        link.click()
        expect(page.get_by_test_id("sign-in-error")).to_contain_text("The sign-in service cannot be reached.")
        assert page.url == served.url + "/"
        assert audit(page) == []
        page.get_by_test_id("notice-dismiss").click()
        expect(page.get_by_test_id("sign-in-error")).to_have_count(0)
        link.click()  # once more than the limit
        expect(page.get_by_test_id("sign-in-error")).to_have_text(
            "Too many people are signing in from your network. Try again in a minute."
        )
        page.context.close()
        assert watch.faults() == []


def test_an_old_address_offers_the_sign_in_to_a_guest(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, oauth_client_id="playground", openid_provider_url=NOWHERE) as served:
        watch = Watch(served.url, forgiven=["status of 404"])
        page = visitor(chromium, served, "/c/0123456789abcdef", watch=watch, **SIZES["phone"])
        missing = page.get_by_test_id("page-error")
        expect(missing).to_contain_text("This conversation does not exist or is not yours.")
        expect(missing.get_by_role("button")).to_have_text("New conversation")
        link = missing.get_by_test_id("missing-sign-in")
        expect(link).to_have_text("Sign in with 127.0.0.1")
        expect(link).to_have_attribute("href", "/oauth/login?next=%2Fc%2F0123456789abcdef")
        assert audit(page) == []
        page.context.close()
        assert watch.faults() == []


def test_a_code_that_nobody_knows_is_a_plain_sentence(new_page: NewPage) -> None:
    page = new_page("/?sign_in_error=%3Cimg%20src=x%20onerror=alert(1)%3E&kept=1")
    error = page.get_by_test_id("sign-in-error")
    expect(error).to_have_text("The sign-in did not work. Please try again.")
    assert page.url.endswith("/?kept=1")
    error.get_by_role("button", name="Dismiss").click()
    expect(error).to_have_count(0)
    expect(page.get_by_test_id("composer-input")).to_be_focused()


def test_in_a_frame_the_sign_in_opens_a_tab(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, oauth_client_id="playground", openid_provider_url=NOWHERE) as served:
        watch = Watch(served.url)
        page = visitor(chromium, served, watch=watch)
        context = page.context

        def around(route: Route) -> None:
            frame = '<!doctype html><title>Outside</title><iframe src="/" width="1200" height="700"></iframe>'
            route.fulfill(content_type="text/html", body=frame)

        page.route(f"{served.url}/outside", around)
        page.goto(f"{served.url}/outside")
        inside = page.frame_locator("iframe")
        link = inside.get_by_test_id("sign-in")
        expect(link).to_have_attribute("target", "_blank")
        with context.expect_page() as opened:
            link.click()
        tab = opened.value
        expect(tab.get_by_test_id("sign-in-error")).to_contain_text("cannot be reached")
        expect(tab.get_by_test_id("sign-in")).not_to_have_attribute("target", "_blank")
        dialog = inside.get_by_test_id("framed-dialog")
        expect(dialog).to_contain_text(
            "Browsers keep sign-in out of pages that are shown inside another page."
        )
        inside.get_by_test_id("framed-reload").click()
        expect(dialog).to_have_count(0)
        expect(link).to_be_visible()
        context.close()
        assert watch.faults() == []


def test_who_was_signed_out_elsewhere_is_told_and_loses_no_word(served: Served, new_page: NewPage) -> None:
    ada = signed_in(served, "ada")
    (kept,) = ada.keep(conversation("Mine", question="Is this mine?", answer="Yes."))
    page = new_page(f"/c/{kept.id}", **ada.browser())
    expect(page.get_by_test_id("user-message")).to_have_text("Is this mine?")
    served.store.end_sessions(ada.owner_id, except_id=None)
    page.get_by_test_id("composer-input").fill("And this?")
    page.keyboard.press("Enter")
    bar = page.get_by_test_id("signed-out")
    expect(bar).to_contain_text("You are signed out. What you typed is kept.")
    expect(page.get_by_test_id("composer-input")).to_have_value("And this?")
    expect(bar.get_by_test_id("away-sign-in")).to_have_count(0)  # nobody could sign in here
    assert audit(page) == []
    bar.get_by_test_id("away-reload").click()
    expect(page.get_by_test_id("list-message")).to_have_text("Your conversations will be listed here.")
    expect(page.get_by_test_id("me")).to_have_text("Account")


def test_who_is_banned_is_told_so_where_the_page_is_open(served: Served, new_page: NewPage) -> None:
    eve = signed_in(served, "eve")
    page = new_page(**eve.browser())
    expect(page.get_by_test_id("me")).to_contain_text("Eve")
    page.get_by_test_id("composer-input").fill("Can you hear me?")
    served.store.set_ban(eve.owner_id, datetime.now(UTC))
    page.keyboard.press("Enter")
    bar = page.get_by_test_id("signed-out")
    expect(bar).to_contain_text("This account has been banned from this playground. What you typed is kept.")
    expect(page.get_by_test_id("composer-input")).to_have_value("Can you hear me?")
    expect(page.get_by_test_id("send")).to_be_disabled()
    assert audit(page) == []
    bar.get_by_role("button", name="Go on as a guest").click()
    expect(page.get_by_test_id("me")).to_have_text("Account")
    expect(page.get_by_test_id("signed-out")).to_have_count(0)
