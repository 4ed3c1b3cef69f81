"""Keys that work everywhere on the page, in a real browser, and the sheet that lists them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.shelf import Person, conversation

pytestmark = pytest.mark.browser


def test_every_shortcut_of_the_sheet_does_what_it_says(page: Page) -> None:
    box, sheet = page.get_by_test_id("composer-input"), page.get_by_test_id("shortcuts-sheet")
    box.focus()
    page.keyboard.type("/?")
    expect(box).to_have_value("/?")
    expect(sheet).to_have_count(0)
    page.keyboard.press("Control+/")
    expect(sheet.locator("dt")).to_contain_text(["Search conversations", "New conversation"])
    page.keyboard.press("Control+k")  # what lies over the page keeps the keys
    expect(page.get_by_test_id("search-dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(box).to_be_focused()
    page.get_by_test_id("search-open").focus()
    page.keyboard.press("Shift+?")
    expect(sheet).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("search-open")).to_be_focused()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.press("Control+Shift+S")
    expect(page.locator("html")).to_have_attribute("data-pg-sidebar", "closed")
    page.keyboard.press("Control+Shift+S")
    expect(page.locator("html")).to_have_attribute("data-pg-sidebar", "open")
    page.keyboard.press("Control+Shift+E")
    expect(page.get_by_test_id("settings-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("search-input")).to_be_focused()


def test_undo_means_the_text_where_there_is_text(served: Served, new_page: NewPage) -> None:
    person = Person.of(served)
    person.keep(conversation("Lost"))
    page = new_page(**person.browser())
    page.get_by_test_id("conversation-item").focus()
    page.keyboard.press("Delete")
    expect(page.get_by_test_id("conversation-item")).to_have_count(0)
    page.get_by_test_id("composer-input").focus()
    page.keyboard.type("word")
    page.keyboard.press("Control+z")
    expect(page.get_by_test_id("composer-input")).not_to_have_value("word")  # slow typing is undone in parts
    expect(page.get_by_test_id("conversation-item")).to_have_count(0)
    page.get_by_test_id("composer-input").fill("")
    page.keyboard.press("Control+z")
    expect(page.get_by_test_id("conversation-item")).to_have_text("Lost")


def test_keys_are_named_as_a_mac_prints_them(new_page: NewPage) -> None:
    page = new_page()
    page.add_init_script("Object.defineProperty(navigator, 'userAgentData', {value: {platform: 'macOS'}})")
    page.reload()
    page.wait_for_selector("html[data-pg-ready]")
    expect(page.get_by_test_id("search-open").locator("kbd")).to_have_text("⌘K")
    page.get_by_test_id("shortcuts-open").click()
    expect(page.get_by_test_id("shortcuts-sheet").locator("kbd").first).to_have_text("⌘")
    page.keyboard.press("Escape")
    page.keyboard.press("Meta+k")
    expect(page.get_by_test_id("search-dialog")).to_be_visible()
