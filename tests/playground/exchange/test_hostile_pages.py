"""The HTML export and the page of a link, full of attacks, in a browser: nothing runs, nothing leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page

from tests.browser import TIMEOUT_MS, Watch, chromium_running
from tests.playground.exchange.payloads import PAYLOADS
from tests.playground.ui.served import Served, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for this module, which has no coroutines."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("hostile-pages")) as running:
        yield running


@pytest.fixture(scope="module")
def owner(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def attacks(texts: list[str]) -> dict[str, Any]:
    """A conversation that has every text in every place that takes free text."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "\n".join(texts[:20])}]
    for text in texts:
        call = {"id": "c", "function": {"name": "f", "arguments": text}}
        messages += [
            {"role": "user", "content": text},
            {"role": "assistant", "content": text, "reasoning": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": text},
            {"role": "assistant", "content": f"Before.\n\n{text}\n\nAfter."},
        ]
    return {"title": texts[0], "model": "gpt-oss", "messages": messages}


@pytest.fixture(scope="module")
def hostile(owner: httpx.Client) -> list[str]:
    """Conversations with all attacks, and one more for each of some titles."""
    titles = [text for text in PAYLOADS if "<" in text][:40:5]
    chats = [attacks(PAYLOADS), *(attacks([text]) for text in titles)]
    answer = owner.post("/api/import", content=json.dumps(chats))
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["conversations"]]


class Guarded:
    """A page that notes every dialog, every error and every request."""

    def __init__(self, browser: Browser, origin: str) -> None:
        self.context = browser.new_context()
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = self.context.new_page()
        self.watch = Watch(origin)
        self.watch.over(self.page)
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def check(self) -> None:
        """Unfold everything, point at every link, and look at what happened."""
        page = self.page
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.evaluate(
            """document.querySelectorAll('a, x, [tabindex]').forEach((each) => {
                 each.dispatchEvent(new MouseEvent('mouseover', { bubbles: true })); each.focus(); })"""
        )
        page.wait_for_timeout(300)
        assert self.dialogs == []
        assert self.watch.faults() == []
        assert page.evaluate("window.hit === undefined")
        bad = page.evaluate(
            """[...document.querySelectorAll('*')].filter((each) =>
                 [...each.attributes].some(({ name, value }) => name.startsWith('on')
                   || (/^(href|src|action|data|poster|xlink:href)$/.test(name)
                       && /^\\s*(javascript|vbscript|data:text|file)/i.test(value)))
                 || /^(iframe|object|embed|base|form|video|audio|marquee)$/i.test(each.tagName)
               ).map((each) => each.outerHTML.slice(0, 200))"""
        )
        assert bad == []


@pytest.fixture
def guarded(chromium: Browser, served: Served) -> Iterator[Guarded]:
    opened = Guarded(chromium, served.url)
    yield opened
    opened.context.close()


def test_the_html_export_of_attacks_shows_them_and_does_nothing(
    owner: httpx.Client, hostile: list[str], guarded: Guarded, tmp_path: Path
) -> None:
    for conversation_id in hostile:
        answer = owner.get(f"/api/conversations/{conversation_id}/export", params={"format": "html"})
        assert answer.status_code == 200
        file = tmp_path / "export.html"
        file.write_bytes(answer.content)
        guarded.watch.origin = file.as_uri().rpartition("/")[0]
        guarded.requests.clear()
        guarded.page.goto(file.as_uri())
        guarded.check()
        assert guarded.requests == [file.as_uri()], "not one request but for the file itself"
        assert guarded.page.locator("script, img, link, svg").count() == 0
        assert guarded.page.locator("details").count() > 0
    text = guarded.page.inner_text("main")
    assert "alert(1)" in text, "what was written is shown as text"


def test_the_exports_own_policy_would_stop_a_script_that_got_in(
    owner: httpx.Client, hostile: list[str], guarded: Guarded, tmp_path: Path
) -> None:
    answer = owner.get(f"/api/conversations/{hostile[1]}/export", params={"format": "html"})
    planted = answer.text.replace(
        "<main>",
        '<main><script>window.hit=1</script><img src="http://127.0.0.1:9/x.png"><b style="color:red">',
    )
    file = tmp_path / "planted.html"
    file.write_text(planted, "utf-8")
    guarded.page.goto(file.as_uri())
    guarded.page.wait_for_timeout(200)
    assert guarded.page.evaluate("window.hit === undefined")
    assert any("Content Security Policy" in fault for fault in guarded.watch.faults())
    assert guarded.page.evaluate("getComputedStyle(document.querySelector('b')).color") != "rgb(255, 0, 0)"
    assert guarded.page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "736px"


def test_the_page_of_a_link_full_of_attacks_shows_them_and_does_nothing(
    owner: httpx.Client, hostile: list[str], guarded: Guarded, served: Served
) -> None:
    for conversation_id in hostile:
        body = {"conversation_id": conversation_id, "include_reasoning": True}
        link = owner.post("/api/shares", json=body).json()["share"]
        guarded.page.goto(served.url + link["path"])
        guarded.page.wait_for_selector("[data-testid=reply]")
        for toggle in guarded.page.locator("[data-testid=reasoning-toggle]").all()[:3]:
            toggle.click()
        guarded.page.wait_for_timeout(500)
        guarded.check()
        assert guarded.context.cookies() == [], "a reader gets no cookie"
    assert "alert(1)" in guarded.page.inner_text("main")


def test_the_page_of_a_link_that_leads_nowhere_says_so(guarded: Guarded, served: Served) -> None:
    guarded.watch.forgiven.append("the server responded with a status of 404")
    answer = guarded.page.goto(served.url + "/s/" + "x" * 32)
    assert answer is not None
    assert answer.status == 404
    problem = guarded.page.wait_for_selector("[data-testid=shared-problem]")
    assert problem is not None
    guarded.page.wait_for_function(
        "document.querySelector('[data-testid=shared-problem]').textContent.length > 10"
    )
    assert guarded.watch.faults() == []
