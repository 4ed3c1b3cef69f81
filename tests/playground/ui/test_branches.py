"""Versions of questions and replies: edit, regenerate, go through them; each keeps its own continuation."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from inference.types import ReasoningEffort
from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import WORDS, ask

pytestmark = pytest.mark.browser

TOP = "node => node.getBoundingClientRect().top"


def say(served: Served, text: str, thought: str = "hm") -> None:
    served.play(Script([("analysis", thought), ("final", text)]))


def answered(page: Page, *texts: str) -> None:
    """These answers stand on the page, and nothing is being written."""
    expect(page.get_by_test_id("answer")).to_have_text(list(texts))
    expect(page.get_by_test_id("reply-footer")).to_have_count(len(texts))


def versions(page: Page, of: str) -> Locator:
    return page.locator(f".pg-versions[data-of={of}]")


def edit(page: Page, text: str, at: int = -1) -> None:
    page.get_by_test_id("edit").nth(at).click()
    page.get_by_test_id("edit-input").fill(text)
    page.get_by_test_id("edit-input").press("Enter")


def test_an_edited_question_is_a_version_with_its_own_continuation(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    say(served, "Red again")
    ask(page, "And now?")
    answered(page, "Red", "Red again")
    say(served, "Yellow")
    edit(page, "Pears?", at=0)
    answered(page, "Yellow")
    expect(page.get_by_test_id("user-message")).to_have_text("Pears?")
    expect(page.get_by_test_id("composer-input")).to_be_focused()
    expect(versions(page, "question")).to_have_attribute("aria-label", "Version 2 of 2")
    say(served, "Yellow again")
    ask(page, "Also now?")
    answered(page, "Yellow", "Yellow again")

    page.get_by_test_id("version-previous").click()
    answered(page, "Red", "Red again")
    expect(versions(page, "question")).to_have_attribute("aria-label", "Version 1 of 2")
    expect(page.get_by_test_id("version-previous")).to_be_focused()
    expect(page.get_by_test_id("version-previous")).to_have_attribute("aria-disabled", "true")
    page.reload()
    answered(page, "Red", "Red again")
    page.get_by_test_id("version-next").click()
    answered(page, "Yellow", "Yellow again")
    expect(page.get_by_test_id("user-message")).to_have_text(["Pears?", "Also now?"])


def test_the_actions_of_a_question_take_no_room(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    say(served, "Yellow")
    edit(page, "Pears?")
    answered(page, "Yellow")
    bubble = page.get_by_test_id("user-message")
    name = page.get_by_test_id("reply").locator("h2")
    page.mouse.move(0, 0)
    above = name.evaluate(TOP)
    assert 8 <= above - bubble.evaluate("node => node.getBoundingClientRect().bottom") <= 24
    bubble.hover()
    assert name.evaluate(TOP) == above
    page.get_by_test_id("version-previous").click()
    answered(page, "Red")
    edges = [
        node.evaluate("node => node.getBoundingClientRect().right")
        for node in (bubble, versions(page, "question"))
    ]
    assert abs(edges[0] - edges[1]) <= 10, "the versions stand below the question's edge"
    page.get_by_test_id("edit").click()
    expect(page.get_by_test_id("edit-input")).to_have_value("Apples?")
    assert name.evaluate(TOP) > page.get_by_test_id("editor").evaluate(
        "node => node.getBoundingClientRect().bottom"
    )


def test_an_edit_is_given_up_by_escape_and_kept_when_it_is_refused(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    page.get_by_test_id("edit").click()
    box = page.get_by_test_id("edit-input")
    expect(box).to_be_focused()
    expect(box).to_have_value("Apples?")
    box.fill("  ")
    page.get_by_test_id("edit-send").click()
    expect(page.get_by_test_id("edit-hint")).to_have_text("Write a message first.")
    box.press_sequentially("x")
    box.press("Escape")
    expect(page.get_by_test_id("editor")).to_have_count(0)
    expect(page.get_by_test_id("user-message")).to_have_text("Apples?")
    expect(page.get_by_test_id("edit")).to_be_focused()
    assert len(served.engine.requests) == 1

    long = "pears " * 6000
    edit(page, long)
    expect(page.get_by_test_id("edit-hint")).to_contain_text("at most 32,000 fit")
    expect(box).to_have_value(long)
    answered(page, "Red")
    say(served, "Yellow")
    box.fill("Pears?")
    page.get_by_test_id("edit-send").click()
    answered(page, "Yellow")


def test_a_reply_is_made_anew_with_another_effort_or_temperature(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    say(served, "Green")
    page.get_by_test_id("regenerate").click()
    page.get_by_test_id("again-high").click()
    answered(page, "Green")
    expect(page.get_by_test_id("composer-input")).to_be_focused()
    expect(page.get_by_test_id("reply-footer")).to_contain_text("high effort")
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 2 of 2")
    assert page.get_by_test_id("user-message").count() == 1
    page.get_by_test_id("regenerate").click()
    page.get_by_test_id("again-temperature-0").click()
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 3 of 3")
    answered(page, "Green")
    last = served.engine.requests[-1].sampling
    assert last.temperature == 0
    prompt = served.engine.codec.decode(served.engine.requests[-1].prompt_ids)
    assert f"Reasoning: {ReasoningEffort.HIGH}" in prompt
    assert "Red" not in prompt
    page.get_by_test_id("version-previous").press("ArrowLeft")
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 2 of 3")
    page.keyboard.press("ArrowLeft")
    answered(page, "Red")
    expect(versions(page, "reply")).to_have_attribute("aria-label", "Version 1 of 3")


def test_an_earlier_reply_is_made_anew_and_both_branches_go_on(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    say(served, "Sweet")
    ask(page, "And the taste?")
    answered(page, "Red", "Sweet")
    say(served, "Green")
    page.get_by_test_id("reply").first.hover()
    page.get_by_test_id("regenerate").first.click()
    page.get_by_test_id("again").click()
    answered(page, "Green")
    page.get_by_test_id("version-previous").click()
    answered(page, "Red", "Sweet")


def test_the_menu_is_used_by_keyboard_and_leads_to_the_models(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    button = page.get_by_test_id("regenerate")
    button.press("Enter")
    expect(page.get_by_test_id("again")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_test_id("again-low")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("choices")).to_have_count(0)
    expect(button).to_be_focused()
    button.press("Enter")
    page.keyboard.press("End")
    expect(page.get_by_test_id("again-model")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("model-picker")).to_be_visible()


def test_another_version_stands_where_the_one_before_stood(served: Served, page: Page) -> None:
    say(served, "\n\n".join(f"Paragraph {number}" for number in range(40)))
    for text in ("One", "Two", "Three"):
        ask(page, text)
        expect(page.locator(".pg-last .pg-bubble")).to_have_text(text)
        expect(page.locator(".pg-last .pg-foot")).to_be_attached()
    page.locator("#pg-scroller").evaluate("node => { node.scrollTop = 0 }")
    say(served, "Short.")
    page.get_by_test_id("regenerate").first.click()
    page.get_by_test_id("again").click()
    answered(page, "Short.")
    switch = versions(page, "reply").first
    before = page.get_by_test_id("user-message").first.evaluate(TOP)
    page.get_by_test_id("version-previous").click()
    expect(switch).to_have_attribute("aria-label", "Version 1 of 2")
    expect(page.get_by_test_id("version-previous").first).to_be_focused()
    assert page.get_by_test_id("user-message").first.evaluate(TOP) == pytest.approx(before, abs=2)


def test_nothing_else_is_asked_while_a_reply_is_written(served: Served, page: Page) -> None:
    say(served, "Red")
    ask(page, "Apples?")
    answered(page, "Red")
    script = served.held(70, ("final", " ".join(WORDS)))
    ask(page, "More?")
    expect(page.get_by_test_id("answer").last).to_contain_text("word3")
    edit(page, "Pears?", at=0)
    expect(page.get_by_test_id("edit-hint")).to_contain_text("A reply is being written.")
    page.get_by_test_id("edit-cancel").click()
    page.get_by_test_id("regenerate").first.click()
    page.get_by_test_id("again").click()
    expect(page.get_by_test_id("toast")).to_contain_text("A reply is being written.")
    served.let_go(script)
    answered(page, "Red", " ".join(WORDS))


def test_copies_and_the_raw_text(served: Served, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = "Some **bold** text.\n\n- one\n- two\n\n```python\nx = 1\n```\n\nand $a^2$"
    say(served, text, "A thought.")
    ask(page, "Apples?")
    expect(page.locator(".katex")).to_have_count(1)
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)

    def clipboard() -> str:
        value: str = page.evaluate("navigator.clipboard.readText()")
        return value

    page.get_by_label("Copy answer").click()
    expect(page.get_by_label("Copy answer")).to_have_text("Copied")
    assert clipboard() == "Some bold text.\n\n- one\n- two\n\nx = 1\n\nand a^2"
    page.get_by_test_id("reply-more").click()
    page.get_by_test_id("copy-markdown").click()
    expect(page.get_by_test_id("toast")).to_have_text("Copied as Markdown.")
    assert clipboard() == text
    page.get_by_label("Copy your message").click()
    expect(page.get_by_label("Copy your message")).to_have_text("Copied")
    assert clipboard() == "Apples?"

    page.get_by_test_id("reply-more").click()
    page.get_by_test_id("read-raw").click()
    output = page.get_by_test_id("raw-output")
    expect(output).to_contain_text("A thought.")
    expect(output.locator("[data-marker=channel]")).to_have_count(2)
    expect(page.get_by_test_id("raw-prompt")).to_contain_text("Apples?")
    page.get_by_label("Copy: What the model wrote").click()
    expect(page.get_by_label("Copy: What the model wrote")).to_have_text("Copied")
    assert clipboard().startswith("<|channel|>analysis<|message|>A thought.<|end|>")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("raw-dialog")).to_have_count(0)
