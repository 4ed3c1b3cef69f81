"""A7, A8: hostile texts in every place that shows text, in a real Chromium: nothing runs, loads or covers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from inference.harmony import HarmonyCodec
from tests.attacks.payloads import PAYLOADS, sample
from tests.attacks.sentinel import Sentinel
from tests.browser import chromium_running
from tests.conftest import Scale
from tests.playground.scripted import Script, ScriptedEngine
from tests.playground.ui.served import Served, serving
from tests.playground.ui.shelf import Person, conversation
from tests.tried import Tell

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
COMPOSER = "[data-testid=composer-input]"
PARTS = (COMPOSER, "[data-testid=new-conversation]")
ANSWERS = "[data-testid=reply]"
Open = Callable[..., Sentinel]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    def engine(codec: HarmonyCodec) -> ScriptedEngine:
        return ScriptedEngine(codec, context_length=1_000_000)

    with serving(tmp_path_factory.mktemp("xss"), engine) as running:
        yield running


@pytest.fixture(scope="module")
def person(served: Served) -> Person:
    """Somebody whose replies may be long enough for many payloads."""
    person = Person.of(served)
    with api_of(person) as client:
        client.patch("/api/preferences", json={"settings": {"max_tokens": 100_000}}).raise_for_status()
    return person


@pytest.fixture
def open_page(chromium: Browser, served: Served, person: Person) -> Iterator[Open]:
    opened: list[Sentinel] = []

    def open_page(path: str = "/", change: Callable[[Route], None] | None = None, **options: Any) -> Sentinel:
        sentinel = Sentinel(chromium, served.url, **{**person.browser(), **options})
        opened.append(sentinel)
        if change is not None:
            sentinel.context.route("**/static/js/markdown.js", change)
        sentinel.page.goto(served.url + path)
        sentinel.page.wait_for_selector("html[data-pg-ready]")
        return sentinel

    yield open_page
    for sentinel in opened:
        sentinel.close()


@pytest.fixture(scope="module")
def payloads(scale: Scale) -> list[str]:
    return sample(scale(24, len(PAYLOADS)))


def api_of(person: Person) -> httpx.Client:
    """This person without a page."""
    return httpx.Client(base_url=person.served.url, cookies={"playground": person.token}, timeout=120)


def typed(text: str) -> str:
    """As a person could store it: without NUL, which only a model can write."""
    return text.replace("\x00", "")


def replies(texts: Sequence[str]) -> Script:
    """One reply in which each text is reasoning, a preamble, and a message of the answer of its own."""
    channels = ("analysis", "commentary", "final")
    return Script([(channel, text) for text in texts for channel in channels], portion=40)


def test_there_are_enough_of_them() -> None:
    assert len(PAYLOADS) >= 300
    assert len(sample(60)) >= 60


def test_in_the_stream_and_after_a_reload(
    served: Served, open_page: Open, payloads: list[str], tell: Tell
) -> None:
    for begin in range(0, len(payloads), 60):
        part = payloads[begin : begin + 60]
        served.play(replies(part))
        sentinel = open_page()
        page = sentinel.page
        page.get_by_test_id("composer-input").fill(typed("\n\n".join(part)))
        page.get_by_test_id("composer-input").press("Enter")
        expect(page.get_by_test_id("reply-footer")).to_be_visible()
        for _ in range(2):
            expect(page.get_by_test_id("answer")).to_have_count(len(part))
            for toggle in page.get_by_test_id("reasoning-toggle").all()[:3]:
                toggle.click()
            page.wait_for_timeout(300)
            assert sentinel.look(f"{ANSWERS}, [data-testid=user-message]", PARTS) == []
            page.reload()
            expect(page.get_by_test_id("reply-footer")).to_be_visible()
        sentinel.close()
    tell(f"{len(payloads)} payloads in a stream and after a reload: none ran, loaded or covered anything")


@pytest.mark.long
def test_in_titles_searches_and_dialogs(open_page: Open, person: Person, payloads: list[str]) -> None:
    kept = person.keep(
        *(conversation(typed(text)[:200], question=typed(text), answer="x") for text in payloads[:40])
    )
    sentinel = open_page(f"/c/{kept[0].id}")
    page = sentinel.page
    expect(page.get_by_test_id("conversation-item").nth(8)).to_be_attached()
    page.keyboard.press("Control+k")
    page.get_by_test_id("search-input").fill("alert")
    expect(page.get_by_test_id("search-result").nth(5)).to_be_visible()
    assert sentinel.look("[data-testid=search-dialog], [data-testid=conversation-list], title") == []
    page.keyboard.press("Escape")
    for number in range(0, len(kept), 12):
        page.goto(f"{person.served.url}/c/{kept[number].id}")
        expect(page.get_by_test_id("user-message")).to_be_visible()
        page.get_by_test_id("share-open").click()
        page.get_by_test_id("share-create").click()
        expect(page.get_by_test_id("share-link")).to_be_visible()
        assert (
            sentinel.look("[data-testid=user-message], [data-testid=title], [data-testid=share-list]") == []
        )


@pytest.mark.long
def test_in_settings_and_presets(open_page: Open, person: Person, payloads: list[str]) -> None:
    with api_of(person) as client:
        for text in map(typed, payloads[:10]):
            name = " ".join(text.split())[:60]
            settings = {"instructions": text, "model_identity": " ".join(text.split())}
            made = client.post("/api/presets", json={"name": name, "settings": settings})
            assert made.status_code == 201, made.text
        hostile = {"instructions": typed("\n".join(payloads))[:30_000], "model_identity": payloads[0]}
        assert client.patch("/api/preferences", json={"settings": hostile}).status_code == 200
    sentinel = open_page()
    sentinel.page.keyboard.press("Control+Shift+E")
    expect(sentinel.page.get_by_test_id("settings-dialog")).to_be_visible()
    for tab in sentinel.page.locator("[data-testid^=tab-]").all():
        tab.click()
        assert sentinel.look("body > dialog :not(form), #pg-title") == []


@pytest.mark.long
def test_in_files_names_and_refusals(open_page: Open, payloads: list[str]) -> None:
    sentinel = open_page()
    page = sentinel.page
    page.keyboard.press("Control+Shift+E")
    page.get_by_test_id("tab-data").click()
    for text in map(typed, payloads[:: max(1, len(payloads) // 3)]):
        taken = {"title": text[:200], "model": text[:100], "messages": [{"role": "user", "content": text}]}
        refused = {"title": text[:200], "messages": [{"role": text, "content": "x"}]}
        for chat in (refused, taken):
            file = {"name": f"{text[:60]}.json", "mimeType": "application/json"}
            content = json.dumps(chat).encode()
            page.get_by_test_id("import-file").set_input_files({**file, "buffer": content})  # type: ignore[arg-type]
            seen = "import-problem" if chat is refused else "import-report"
            expect(page.get_by_test_id(seen).first).to_be_visible()
            assert sentinel.look("[data-testid=import-result], [data-testid=import-problem]") == []


def test_on_the_page_of_a_link_and_in_the_html_export(
    open_page: Open, person: Person, payloads: list[str], tmp_path: Path, tell: Tell
) -> None:
    messages: list[dict[str, Any]] = []
    for text in map(typed, payloads):
        call = {"id": "c", "function": {"name": "f", "arguments": text}}
        answer = {"role": "assistant", "content": text, "reasoning": text, "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": "c", "content": text}
        last = {"role": "assistant", "content": f"Before.\n\n{text}\n\nAfter."}
        messages += [{"role": "user", "content": text}, answer, result, last]
    file = {"title": payloads[0], "model": payloads[1][:100], "messages": messages}
    with api_of(person) as client:
        made = client.post("/api/import", content=json.dumps(file)).json()
        name = made["conversations"][0]["id"]
        body = {"conversation_id": name, "include_reasoning": True}
        path = client.post("/api/shares", json=body).json()["share"]["path"]
        export = client.get(f"/api/conversations/{name}/export", params={"format": "html"})
    shared = open_page(path)
    expect(shared.page.get_by_test_id("reply")).to_have_count(len(payloads))
    assert shared.look("body", ("[data-testid=shared-import]",)) == []
    target = tmp_path / "export.html"
    target.write_bytes(export.content)
    shared.origin = target.as_uri()
    shared.page.goto(target.as_uri())
    assert shared.look("main") == []
    tell(f"{len(payloads)} payloads on the page of a link and in an HTML export: none ran or loaded anything")


def without_sanitiser(route: Route) -> None:
    """The page's Markdown as it would be without its guards."""
    text = (ROOT / "static/js/markdown.js").read_text("utf-8")
    text = text.replace("html: false", "html: true").replace("SCHEMES.test(url.trim())", "true")
    text = text.replace(
        "purifier.sanitize(html, ALLOWED)", "document.createRange().createContextualFragment(html)"
    )
    text = text.replace('<a href="${escape(source)}">Image: ${label}</a>', '<img src="${escape(source)}">')
    assert "ALLOWED)" not in text
    route.fulfill(body=text, content_type="text/javascript")


@pytest.mark.parametrize("policy", [True, False])
def test_without_the_sanitiser_all_of_it_is_caught(served: Served, open_page: Open, policy: bool) -> None:
    """Planted hole. With the policy nothing leaves the page even so, but what stands in it runs."""
    cover = "<div style='position:fixed;inset:0;z-index:2147483647'>cover</div>"
    script = "<img src=x onerror=alert(1)>"
    picture = "![x](http://127.0.0.1:9/leak.png)"
    served.play(replies([script, picture, "[x](javascript:alert(1))", cover, "<a id=pg-input>x</a>"]))
    sentinel = open_page(change=without_sanitiser, without_policy=not policy)
    page = sentinel.page
    page.get_by_test_id("composer-input").fill("Hi")
    page.get_by_test_id("composer-input").press("Enter")
    expect(page.get_by_test_id("answer")).to_have_count(5)
    page.wait_for_timeout(300)
    caught = "\n".join(sentinel.look(ANSWERS, PARTS))
    for sign in ("alert(1) ran", "address: <a", "fixed: <div", "name: <a", "GET http://127.0.0.1:9/leak.png"):
        assert sign in caught
    assert ("the policy stopped img-src" in caught) is policy
    assert ("leak.png left the page" in caught) is not policy
    page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", cover)
    assert any("is covered by" in each for each in sentinel.look(ANSWERS, PARTS))
