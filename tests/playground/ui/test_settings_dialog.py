"""Settings in a real browser: levels, saving as you go, what the model gets, presets, the theme."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

CHANGE = re.compile("/api/(conversations/.+|preferences)$")


def open_settings(page: Page, tab: str = "conversation") -> None:
    page.get_by_test_id("settings-top").click()
    page.get_by_test_id(f"tab-{tab}").click()


def reload(page: Page) -> None:
    page.reload()
    page.wait_for_selector("html[data-pg-ready]")


def close_settings(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("settings-dialog")).to_have_count(0)


def asked(page: Page, text: str = "What is 12 + 30?") -> None:
    before = page.get_by_test_id("reply-footer").count()
    ask(page, text)
    expect(page.get_by_test_id("reply-footer")).to_have_count(before + 1)


def fill_and_save(page: Page, field: str, value: str) -> None:
    with page.expect_response(CHANGE) as answer:
        page.get_by_test_id(field).fill(value)
        page.get_by_test_id(field).blur()
    assert answer.value.ok, answer.value.text()
    expect(page.get_by_test_id("settings-saved")).to_have_text("Saved")


def test_a_conversations_settings_reach_the_model_and_stay(served: Served, page: Page) -> None:
    asked(page)
    open_settings(page)
    fill_and_save(page, "set-instructions", "Answer like a captain.")
    fill_and_save(page, "set-temperature", "0.4")
    fill_and_save(page, "set-seed", "17")
    fill_and_save(page, "set-max-tokens", "200")
    close_settings(page)
    asked(page, "And 13 + 30?")
    request = served.engine.requests[-1]
    assert "Answer like a captain." in served.engine.codec.decode(request.prompt_ids)
    assert request.sampling.temperature == 0.4
    assert request.sampling.top_p == 1.0
    assert request.sampling.seed == 17
    assert request.sampling.max_tokens == 200
    reload(page)
    open_settings(page)
    expect(page.get_by_test_id("set-instructions")).to_have_value("Answer like a captain.")
    expect(page.get_by_test_id("set-seed")).to_have_value("17")


def test_a_new_conversations_settings_are_chosen_before_the_first_message(served: Served, page: Page) -> None:
    open_settings(page)
    page.get_by_test_id("set-instructions").fill("Speak French.")
    page.get_by_test_id("set-effort-high").check()
    close_settings(page)
    expect(page.get_by_test_id("effort-high")).to_be_checked()
    asked(page)
    request = served.engine.requests[-1]
    text = served.engine.codec.decode(request.prompt_ids)
    assert "Speak French." in text
    assert "Reasoning: high" in text
    open_settings(page)
    expect(page.get_by_test_id("set-instructions")).to_have_value("Speak French.")
    close_settings(page)
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_test_id("effort-medium")).to_be_checked()
    open_settings(page)
    expect(page.get_by_test_id("set-instructions")).to_have_value("")


def test_a_field_says_where_its_value_comes_from_and_resets(served: Served, page: Page) -> None:
    asked(page)
    open_settings(page, "defaults")
    fill_and_save(page, "set-temperature", "0.7")
    page.get_by_test_id("tab-conversation").click()
    expect(page.get_by_test_id("from-temperature")).to_have_text("from your defaults")
    expect(page.get_by_test_id("from-top_p")).to_have_text("recommended")
    expect(page.get_by_test_id("set-temperature")).to_have_value("0.7")
    expect(page.get_by_test_id("reset-temperature")).to_be_hidden()
    fill_and_save(page, "set-temperature", "1.3")
    expect(page.get_by_test_id("from-temperature")).to_have_text("")
    with page.expect_response(CHANGE):
        page.get_by_test_id("reset-temperature").click()
    expect(page.get_by_test_id("set-temperature")).to_have_value("0.7")
    expect(page.get_by_test_id("from-temperature")).to_have_text("from your defaults")

    # The recommended values beat the user's defaults.
    fill_and_save(page, "set-top-p", "0.5")
    with page.expect_response(CHANGE):
        page.get_by_test_id("reset-all").click()
    expect(page.get_by_test_id("set-temperature")).to_have_value("1")
    expect(page.get_by_test_id("set-top-p")).to_have_value("1")
    close_settings(page)
    asked(page, "Again?")
    assert served.engine.requests[-1].sampling.temperature == 1.0
    assert served.engine.requests[-1].sampling.top_p == 1.0


def test_what_cannot_be_is_said_beside_the_field_and_not_lost(page: Page) -> None:
    asked(page)
    open_settings(page)
    seed = page.get_by_test_id("set-seed")
    seed.fill("many")
    seed.blur()
    expect(page.get_by_test_id("problem-seed")).to_contain_text("The seed is a whole number from 0")
    expect(seed).to_have_value("many")
    page.get_by_test_id("set-temperature").fill("3")
    page.get_by_test_id("set-temperature").blur()
    expect(page.get_by_test_id("problem-temperature")).to_have_text("Temperature is a number from 0 to 2.")
    fill_and_save(page, "set-seed", "4")
    expect(page.get_by_test_id("problem-seed")).to_have_text("")


def test_text_that_could_not_be_saved_is_still_there(page: Page) -> None:
    asked(page)

    def away(route: Route) -> None:
        if route.request.method == "PATCH":
            route.fulfill(status=409, json={"error": {"code": "conflict", "message": "Try again later."}})
        else:
            route.fallback()

    open_settings(page)
    page.route(CHANGE, away)
    box = page.get_by_test_id("set-instructions")
    box.fill("Long and dear words.")
    box.blur()
    expect(page.get_by_test_id("problem-instructions")).to_contain_text("Not saved. Try again later.")
    close_settings(page)
    open_settings(page)
    expect(box).to_have_value("Long and dear words.")
    expect(page.get_by_test_id("problem-instructions")).to_contain_text("Not saved.")
    page.unroute(CHANGE)
    with page.expect_response(CHANGE):
        box.press("End")
        box.press("!")
    expect(page.get_by_test_id("settings-saved")).to_have_text("Saved")
    reload(page)
    open_settings(page)
    expect(box).to_have_value("Long and dear words.!")


def test_a_preset_is_saved_used_renamed_and_deleted(served: Served, page: Page) -> None:
    asked(page)
    open_settings(page)
    fill_and_save(page, "set-instructions", "Talk like a pirate.")
    fill_and_save(page, "set-temperature", "0.6")
    page.get_by_test_id("tab-presets").click()
    page.get_by_test_id("preset-save").click()
    expect(page.get_by_test_id("preset-problem")).to_have_text("Give the preset a name first.")
    page.get_by_test_id("preset-name").fill("Pirate <b>")
    page.get_by_test_id("preset-save").click()
    preset = page.get_by_test_id("preset")
    expect(preset).to_contain_text("Pirate <b>")
    expect(preset).to_contain_text("temperature 0.6 · instructions")
    close_settings(page)

    page.keyboard.press("Control+Shift+O")
    open_settings(page, "presets")
    page.get_by_test_id("preset-use").click()
    expect(page.get_by_test_id("settings-saved")).to_contain_text("is in use here")
    close_settings(page)
    asked(page)
    request = served.engine.requests[-1]
    assert "Talk like a pirate." in served.engine.codec.decode(request.prompt_ids)
    assert request.sampling.temperature == 0.6

    open_settings(page, "presets")
    page.get_by_test_id("preset-rename").click()
    page.get_by_test_id("dialog-input").fill("Captain")
    page.keyboard.press("Enter")
    expect(preset).to_contain_text("Captain")
    page.get_by_test_id("preset-delete").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(preset).to_have_count(0)
    page.get_by_test_id("tab-conversation").click()
    expect(page.get_by_test_id("set-instructions")).to_have_value("Talk like a pirate.")


def test_effort_in_the_composer_is_the_conversations_where_it_is_set_there(page: Page) -> None:
    asked(page)
    open_settings(page)
    with page.expect_response(CHANGE):
        page.get_by_test_id("set-effort-low").check()
    close_settings(page)
    expect(page.get_by_test_id("effort-low")).to_be_checked()
    with page.expect_response(re.compile("/api/conversations/")):
        page.get_by_test_id("effort-high").click()
    expect(page.get_by_test_id("effort-high")).to_be_checked()
    asked(page, "Again?")
    expect(page.get_by_test_id("reply-footer").last).to_contain_text("high effort")
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_test_id("effort-medium")).to_be_checked()


def test_settings_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Control+Shift+E")
    dialog = page.get_by_test_id("settings-dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("tab-conversation")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_test_id("tab-defaults")).to_be_focused()
    expect(page.get_by_test_id("tab-defaults")).to_have_attribute("aria-selected", "true")
    for _ in range(60):
        page.keyboard.press("Tab")
        inside = page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert inside
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_test_id("composer-input")).to_be_focused()


def test_a_phone_shows_the_settings_whole(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.get_by_test_id("settings-top").tap()
    for tab in ("conversation", "defaults", "presets", "data"):
        page.get_by_test_id(f"tab-{tab}").tap()
        wide = page.get_by_test_id("settings-dialog").evaluate(
            """node => [node, node.querySelector('.pg-settings-panel')]
                .map((each) => each.scrollWidth - each.clientWidth)"""
        )
        assert wide == [0, 0], tab
        small = page.get_by_test_id("settings-dialog").evaluate(
            """node => [...node.querySelectorAll("button, input:not([type=radio], [type=checkbox], .pg-vh)")]
                .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 40)
                .map((each) => each.outerHTML)"""
        )
        assert small == [], tab
