"""What the tests of functions have in common: replies that call, and settings that were made before."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served

PRICE: dict[str, Any] = {
    "name": "get_price",
    "description": "The price of a thing.",
    "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}},
    "strict": False,
}
RATE: dict[str, Any] = {"name": "get_rate", "description": "", "parameters": None, "strict": False}
CALL = Script(
    [("analysis", "I need the price."), ("commentary to=functions.get_price", '{"thing": "tea", "size": 2}')]
)
ANSWER = Script([("analysis", "Now I know."), ("final", "It costs **9 euros**.")])


def play(served: Served, *scripts: Script) -> None:
    """The next replies follow these scripts, one after the other."""
    rest = iter(scripts)
    served.engine.choose = lambda _: next(rest)


def prefer(page: Page, **settings: Any) -> None:
    """Set defaults of the page's person, as the settings would."""
    origin = page.evaluate("location.origin")
    changed = page.request.patch(
        f"{origin}/api/preferences", data={"settings": settings}, headers={"Origin": origin}
    )
    assert changed.ok, changed.text()
    page.reload()
    page.wait_for_selector("html[data-pg-ready]")


def waits(page: Page, count: int = 1) -> None:
    """So many calls wait for their results."""
    expect(page.get_by_test_id("result-input")).to_have_count(count)
    expect(page.get_by_test_id("call-state").filter(has_text="Waits")).to_have_count(count)


def kinds(page: Page) -> list[str]:
    """The parts of all replies, in the order in which they stand."""
    found: list[str] = page.locator(".pg-parts").evaluate_all(
        """boxes => boxes.flatMap((box) => [...box.querySelectorAll(
            ["reasoning-toggle", "tool-call", "tool-result", "answer"].map((each) => `[data-testid=${each}]`)
        )].map((node) => node.dataset.testid))"""
    )
    return found
