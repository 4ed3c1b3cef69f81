"""Who visits, and with what: two people apart, a phone, dark mode."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Watch
from tests.e2e.actions import answered, ask, choose_theme, sideways
from tests.e2e.conftest import PHONE, Picture, Visit
from tests.e2e.served_app import ServedApp

pytestmark = pytest.mark.browser

NOT_YOURS = "This conversation does not exist or is not yours."
NOT_FOUND = "Failed to load resource: the server responded with a status of 404"
BRIGHTNESS = """() => getComputedStyle(document.getElementById("pg-app")).backgroundColor
    .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3"""


def test_two_people_never_see_each_others_conversations(
    app: ServedApp, page: Page, visit: Visit, watch: Watch, picture: Picture
) -> None:
    watch.forgiven.append(NOT_FOUND)
    ask(page, "What is the capital of Japan?")
    answered(page)
    expect(page.get_by_test_id("conversation-item")).to_have_count(1)
    path = page.url.removeprefix(app.url)

    other = visit(app, path)
    expect(other.get_by_test_id("page-error")).to_contain_text(NOT_YOURS)
    expect(other.get_by_test_id("list-message")).to_contain_text("Your conversations will be listed here.")
    expect(other.get_by_test_id("conversation-item")).to_have_count(0)
    assert "Japan" not in other.content()
    response = other.request.delete(f"{app.url}/api{path.replace('/c/', '/conversations/')}")
    assert response.status == 404
    picture(other, "not-found")

    stranger = visit(app, f"/c/{'0' * 32}")
    expect(stranger.get_by_test_id("page-error")).to_contain_text(NOT_YOURS)
    page.reload()
    answered(page)


def test_a_phone_has_everything_within_reach(app: ServedApp, visit: Visit, picture: Picture) -> None:
    page = visit(app, **PHONE)
    expect(page.get_by_test_id("suggestion").first).to_be_visible()
    assert sideways(page) == [0, 0]
    expect(page.get_by_test_id("composer-input")).to_be_in_viewport(ratio=1)
    expect(page.get_by_test_id("conversation-item")).to_have_count(0)

    page.get_by_test_id("effort-high").locator("xpath=..").tap()
    expect(page.get_by_test_id("effort-high")).to_be_checked()
    page.get_by_test_id("composer-input").fill("Sort 42, 7, 93, 15, 68, 21")
    page.get_by_test_id("send").tap()
    answered(page)
    expect(page.get_by_test_id("answer")).to_have_text("7, 15, 21, 42, 68, 93")
    page.get_by_test_id("reasoning-toggle").tap()
    expect(page.get_by_test_id("reasoning-body")).to_be_visible()
    assert sideways(page) == [0, 0]
    expect(page.get_by_test_id("composer-input")).to_be_in_viewport(ratio=1)
    expect(page.get_by_test_id("send")).to_be_in_viewport(ratio=1)
    picture(page, "phone-light")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "dark")
    assert page.evaluate(BRIGHTNESS) < 60
    picture(page, "phone-dark")

    expect(page.get_by_test_id("new-conversation")).to_be_hidden()
    page.get_by_test_id("sidebar-toggle").tap()
    expect(page.get_by_test_id("new-conversation")).to_be_visible()
    expect(page.get_by_test_id("conversation-item")).to_have_text(["Sort 42, 7, 93, 15, 68, 21"])
    page.get_by_test_id("sidebar-close").tap()
    expect(page.get_by_test_id("new-conversation")).to_be_hidden()


def test_dark_mode_follows_the_system_until_somebody_chooses_and_a_whole_visit_asks_no_other_host(
    app: ServedApp, visit: Visit, watch: Watch, picture: Picture
) -> None:
    page = visit(app, color_scheme="dark")
    assert page.evaluate(BRIGHTNESS) < 60
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "light")
    assert page.evaluate(BRIGHTNESS) > 200
    choose_theme(page, "dark")
    assert page.evaluate(BRIGHTNESS) < 60
    ask(page, "What is 347 + 586?", effort="high")
    answered(page)
    ask(page, "Add 5 to that.")
    answered(page, replies=2)
    page.get_by_test_id("reasoning-toggle").first.click()
    picture(page, "conversation-dark")
    page.reload()
    answered(page, replies=2)
    expect(page.locator("html")).to_have_attribute("data-pg-theme", "dark")
    assert page.evaluate(BRIGHTNESS) < 60

    page.get_by_test_id("new-conversation").click()
    page.get_by_test_id("conversation-item").first.click()
    answered(page, replies=2)
    assert watch.requests > 50
    assert watch.faults() == []
