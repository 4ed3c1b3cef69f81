"""What a visitor does on the page, and what the page and the server then hold."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect


def ask(page: Page, text: str, effort: str | None = None) -> None:
    """Write a message and send it with Enter."""
    if effort is not None:
        page.get_by_test_id(f"effort-{effort}").check()
    box = page.get_by_test_id("composer-input")
    box.fill(text)
    expect(page.get_by_test_id("send")).to_be_enabled()
    box.press("Enter")


def answered(page: Page, replies: int = 1) -> None:
    """Wait until so many replies are over."""
    expect(page.get_by_test_id("reply-footer")).to_have_count(replies)


def saved_conversation(page: Page) -> dict[str, Any]:
    """The open conversation as the server has it."""
    response = page.request.get(page.url.replace("/c/", "/api/conversations/"))
    assert response.ok
    conversation: dict[str, Any] = response.json()
    return conversation


def saved_text(page: Page, channel: str) -> list[str]:
    """The saved messages of one channel, oldest first."""
    return [
        message["content"]
        for message in saved_conversation(page)["messages"]
        if message["channel"] == channel and message["role"] == "assistant"
    ]


def choose_theme(page: Page, theme: str) -> None:
    """In the settings, whatever stood there before."""
    page.get_by_test_id("settings-open").click()
    page.get_by_test_id("tab-defaults").click()
    with page.expect_response("**/api/preferences"):
        page.get_by_test_id(f"set-theme-{theme}").check()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("tab-defaults")).to_be_hidden()


def accessible_names(page: Page) -> str:
    """All that Chromium's accessibility tree says about the page."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return "\n".join(str(node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored"))


def sideways(page: Page) -> list[int]:
    """By how many pixels the page, and the transcript in it, can be scrolled sideways."""
    overflow: list[int] = page.evaluate(
        """() => [document.documentElement, document.getElementById("pg-scroller")]
            .map((node) => node.scrollWidth - node.clientWidth)"""
    )
    return overflow
