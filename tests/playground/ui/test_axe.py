"""Every page and state of the playground against axe's rules: WCAG 2.2 A and AA, and best practice.

A new state is one line in ``STATES``: its name, and how to get there from the state before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.members import signed_in
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[2] / "vendor" / "axe.min.js").read_text(encoding="utf-8")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async tags => {
    // Neither are selectors reported here, nor is a rule run for which it would read all style sheets again.
    const options = {
        runOnly: { type: "tag", values: tags }, resultTypes: ["violations"], selectors: false, preload: false,
    };
    const { violations } = await axe.run(document, options);
    return violations.map(({ id, nodes }) => [id, ...nodes.map(each => each.html.slice(0, 200))].join(" "));
}"""
TEXT = """# 42

**Yes**, [here](https://example.org):

```python
x = 1  # one
```

| a | b |
|---|---|
| 1 | $x^2$ |"""
REPLY = Script(
    [("analysis", "Tens are 40.\n\nOnes are 2."), ("commentary", "I look it up."), ("final", TEXT)]
)
CUT = Script([("analysis", "I think and think and think and think.")])
FILE = {
    "name": "chat.json",
    "mimeType": "application/json",
    "buffer": b'[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]',
}
SIZES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
# Colours do not depend on the size, nor the size on colours: two looks see both of either.
LOOKS = [("wide", "light"), ("phone", "dark")]


def audit(page: Page) -> list[str]:
    """What axe finds wrong with the page as it stands, once nothing moves any more."""
    if page.evaluate("!window.axe"):
        page.evaluate(f"{AXE}; 0")
    page.evaluate(
        "Promise.all(document.getAnimations().filter(each => each.effect.getTiming().iterations < 9)"
        ".map(each => each.finished.catch(() => {})))"
    )
    found: list[str] = page.evaluate(RUN, TAGS)
    return found


def press(*testids: str) -> Callable[[Page], None]:
    """A state that is reached by pressing these, one after the other."""

    def enter(page: Page) -> None:
        for testid in testids:
            page.get_by_test_id(testid).last.click()

    return enter


def in_sidebar(*testids: str) -> Callable[[Page], None]:
    """The same, in the sidebar, which a phone opens first."""

    def enter(page: Page) -> None:
        opener = page.get_by_test_id("sidebar-toggle")
        if page.evaluate("document.documentElement.dataset.pgSidebar") == "closed":
            opener.click()
        press(*testids)(page)

    return enter


def escape(page: Page) -> None:
    """Close what is open, however much lies over each other: dialogs, menus, panels."""
    covered = page.locator("dialog[open], [popover]:popover-open")
    for _ in range(covered.count()):
        page.keyboard.press("Escape")
    expect(covered).to_have_count(0)


def steps(*each: Callable[[Page], None]) -> Callable[[Page], None]:
    """One thing after the other."""

    def enter(page: Page) -> None:
        for step in each:
            step(page)

    return enter


def options(page: Page) -> None:
    page.get_by_test_id("conversation-menu").first.press("Enter")


def shortcuts(page: Page) -> None:
    page.keyboard.press("Control+/")


def answered(page: Page) -> None:
    before = page.get_by_test_id("reply-footer").count()
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_have_count(before + 1)
    expect(page.locator(".katex").last).to_be_attached()


def edited(page: Page) -> None:
    press("edit")(page)
    page.get_by_test_id("edit-input").fill("What is 12 + 31?")
    press("edit-send")(page)
    expect(page.get_by_test_id("version").first).to_be_visible()
    expect(page.get_by_test_id("reply-footer")).to_be_visible()


def found(page: Page) -> None:
    page.get_by_test_id("search-input").fill("what")
    expect(page.get_by_test_id("search-status")).to_contain_text("result")


def preset(page: Page) -> None:
    press("tab-presets")(page)
    page.get_by_test_id("preset-name").fill("Calm")
    press("preset-save")(page)
    expect(page.get_by_test_id("preset")).to_be_visible()


def refused(page: Page) -> None:
    press("tab-conversation")(page)
    page.get_by_test_id("set-seed").fill("many")
    page.get_by_test_id("set-seed").blur()
    expect(page.get_by_test_id("problem-seed")).not_to_be_empty()


def imported(page: Page) -> None:
    page.get_by_test_id("import-file").set_input_files(FILE)  # type: ignore[arg-type]
    expect(page.get_by_test_id("import-report")).to_be_visible()


def shown(testid: str) -> Callable[[Page], None]:
    """Nothing new but what has come meanwhile."""

    def enter(page: Page) -> None:
        expect(page.get_by_test_id(testid).first).to_be_visible()

    return enter


def key_made(page: Page) -> None:
    press("tab-keys")(page)
    page.get_by_test_id("key-name").fill("my notebook")
    press("key-create")(page)
    expect(page.get_by_test_id("key-secret")).to_be_visible()


def has_figures(page: Page) -> None:
    expect(page.locator("dt:text-is('Database')")).to_be_visible()


def shared(page: Page) -> None:
    press("share-open", "share-with", "share-create")(page)
    expect(page.get_by_test_id("share-item")).to_be_visible()


STATES: list[tuple[str, Callable[[Page], None]]] = [
    ("empty", steps()),
    ("temporary", in_sidebar("temporary-chat")),
    ("conversation", steps(in_sidebar("new-conversation"), answered)),
    ("reasoning open", press("reasoning-toggle")),
    ("receipt open", press("details")),
    ("menu of a reply", press("reply-more")),
    ("raw dialog", press("read-raw")),
    ("menu to regenerate", steps(escape, press("regenerate"))),
    ("edit open", steps(escape, press("edit"))),
    ("versions", steps(press("edit-cancel"), edited)),
    ("context panel", press("context-open")),
    ("share dialog", steps(escape, shared)),
    ("question before revoking", press("share-revoke")),
    ("settings: conversation", steps(escape, press("settings-top"))),
    ("settings: a problem", refused),
    ("settings: defaults", press("tab-defaults")),
    ("settings: presets", preset),
    ("settings: data", press("tab-data")),
    ("import report", imported),
    ("sidebar", steps(escape, in_sidebar())),
    ("menu of a conversation", options),
    ("export dialog", press("export")),
    ("search", steps(escape, in_sidebar("search-open"))),
    ("search with results", found),
    ("shortcuts", steps(escape, shortcuts)),
    ("models", steps(escape, press("model-status"))),
    ("engine status", steps(escape, press("status-open"))),
    ("archived", steps(escape, in_sidebar("archive-open"))),
    ("account", steps(escape, in_sidebar("me"), shown("usage-note"))),
    ("account: a key, once", key_made),
    ("account: data", steps(press("tab-yours"), shown("delete-account"))),
    ("account: delete", steps(press("delete-account"), shown("delete-word"))),
]
SIGNED_IN: list[tuple[str, Callable[[Page], None]]] = [
    ("menu of an account", in_sidebar("me")),
    ("account", steps(press("account-open"), shown("profile-name"))),
    ("sessions", steps(press("tab-sessions"), shown("session"))),
    ("question before signing out", press("sign-out-everywhere")),
    ("admin", steps(escape, in_sidebar("me", "admin-open"), has_figures)),
    ("users", steps(press("tab-users"), shown("user"))),
    ("question before a ban", press("user-ban")),
]


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_no_state_breaks_a_rule(served: Served, new_page: NewPage, size: str, scheme: str) -> None:
    served.play(REPLY)
    page = new_page(**SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    broken: dict[str, list[str]] = {}
    for name, enter in STATES:
        enter(page)
        if found := audit(page):
            broken[name] = found
    assert broken == {}


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_no_state_of_an_account_breaks_a_rule(
    served: Served, new_page: NewPage, size: str, scheme: str
) -> None:
    signed_in(served, "bob")
    page = new_page(
        **signed_in(served, "ada", admin=True).browser(),
        **SIZES[size],
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    expect(page.get_by_test_id("me")).to_contain_text("Ada")
    broken: dict[str, list[str]] = {}
    for name, enter in SIGNED_IN:
        enter(page)
        if found := audit(page):
            broken[name] = found
    assert broken == {}


def audit_both(page: Page) -> list[str]:
    """The same in light and in dark."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_attribute("data-pg-theme", scheme)
        found += audit(page)
    return found


def test_what_went_wrong_breaks_no_rule(served: Served, new_page: NewPage) -> None:
    served.play(CUT)
    page = new_page("/c/0123456789abcdef")
    assert audit_both(page) == []
    press("new-conversation")(page)
    ask(page)
    expect(page.get_by_test_id("reply-note")).to_be_visible()
    assert audit_both(page) == []
    page.context.set_offline(True)
    expect(page.get_by_test_id("composer-hint")).to_contain_text("offline")
    assert audit_both(page) == []


def test_the_readers_page_breaks_no_rule(served: Served, new_page: NewPage) -> None:
    served.play(REPLY)
    page = new_page()
    answered(page)
    shared(page)
    address = page.get_by_test_id("share-link").input_value().removeprefix(served.url)
    for size, scheme in LOOKS:
        reader = new_page(address, **SIZES[size], color_scheme=scheme)
        expect(reader.locator(".katex").last).to_be_attached()
        assert audit(reader) == []
        reader.get_by_test_id("reasoning-toggle").click()
        assert audit(reader) == []
        reader.goto(f"{served.url}/s/0123456789abcdef")
        expect(reader.get_by_test_id("shared-problem")).not_to_be_empty()
        assert audit(reader) == []
