"""The model picker and the status panel in a real browser: what they say, and the keyboard."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from playwright.sync_api import Locator, Page, Request, Response, Route, expect

from inference.metrics import MetricsBuilder
from inference.types import EngineHealth, ModelStage, ModelStatus
from tests.playground.figures import CARD, LAPTOP, busy
from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import WORDS, ask

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SMALL = ModelStatus(
    "openai/gpt-oss-20b",
    ModelStage.READY,
    revision="6cee5e81ee83",
    device="cuda",
    dtype="bfloat16",
    quantization="mxfp4",
    parameters=20_914_757_184,
    context_length=131_072,
)


def figure(page: Page, name: str) -> Locator:
    """What the status panel says about one thing."""
    return page.locator(f"dt:text-is('{name}') + dd")


def offer(page: Page, name: str) -> Locator:
    return page.get_by_test_id("model-offer").filter(has=page.get_by_text(name, exact=True))


def model_change(response: Response) -> bool:
    """Whether the server answers that it loads a model; the page asks for the state of the models, too."""
    return response.url.endswith("/api/model") and response.request.method == "POST"


def answering(served: Served, monkeypatch: pytest.MonkeyPatch, model: ModelStatus | None) -> None:
    """From now on this model answers."""
    before = served.engine.health

    def health() -> EngineHealth:
        return dataclasses.replace(before(), active=model, target=model, waiting=2)

    monkeypatch.setattr(served.engine, "health", health)


def test_the_panel_shows_what_the_engine_does(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.engine.metrics, served.engine.machine = busy(), CARD
    answering(served, monkeypatch, SMALL)
    page.get_by_test_id("status-open").click()
    expect(figure(page, "Model")).to_have_text("openai/gpt-oss-20b")
    expect(figure(page, "Revision")).to_have_text("6cee5e81ee83")
    expect(figure(page, "Device")).to_have_text("NVIDIA L4 (GPU)")
    expect(figure(page, "Weights")).to_have_text("bfloat16 · mxfp4")
    expect(figure(page, "GPU memory")).to_have_text("15.0 GB of 150 GB")
    expect(figure(page, "Requests")).to_have_text("0 running · 2 waiting")
    expect(figure(page, "Cache pages")).to_have_text("200 in use · 300 kept · 500 free")
    widths = figure(page, "Cache pages").locator("[data-kind]")
    assert widths.evaluate_all("nodes => nodes.map((node) => node.style.width)") == ["20%", "30%"]
    expect(figure(page, "Prefix hits")).to_have_text("64 % of 300 prompt tokens")
    expect(figure(page, "First token")).to_have_text("35 ms median")
    expect(figure(page, "Speed of a reply")).to_have_text("400 tokens/s 2.5 ms a token")
    expect(figure(page, "Set aside")).to_have_text("once the cache was full")
    expect(figure(page, "Restarts")).to_have_count(0)

    builder = MetricsBuilder()
    builder.restarted()
    served.engine.metrics = busy(builder)
    expect(figure(page, "Restarts")).to_have_text("once after a fault")

    hostile = "<img src=x onerror='window.broken=1'>"
    answering(served, monkeypatch, dataclasses.replace(SMALL, name=hostile, revision=hostile))
    expect(figure(page, "Model")).to_have_text(hostile)
    expect(figure(page, "Revision")).to_contain_text("<img src=x")
    assert page.evaluate("window.broken") is None


def test_without_figures_the_panel_says_so(served: Served, page: Page) -> None:
    page.get_by_test_id("status-open").click()
    note = page.get_by_test_id("status-note")
    expect(note).to_have_text("The engine has not measured anything yet.")
    expect(figure(page, "Memory")).to_have_text(re.compile(r"^[\d.]+ [MG]B of [\d.]+ [GT]B this process$"))
    expect(figure(page, "Cache pages")).to_have_count(0)
    served.engine.metrics = MetricsBuilder().build(running=0, waiting=0)
    expect(note).to_have_text("Speed and cache are shown once something was asked.")
    expect(figure(page, "Speed of a reply")).to_have_count(0)
    served.engine.ready = False
    expect(note).to_have_text("No model answers yet.")
    expect(figure(page, "Model")).to_have_count(0)
    served.engine.alive = False
    expect(note).to_have_text("The model stopped working. Restart the app.")


def test_the_panel_asks_only_while_it_is_open(page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/api/status" in request.url else None)
    button = page.get_by_test_id("status-open")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    with page.expect_response("**/api/status"):
        pass  # the second one, after two seconds
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("status-panel")).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    so_far = len(asked)
    assert so_far >= 1
    page.wait_for_timeout(2500)
    assert len(asked) == so_far


def test_an_answer_that_fails_leaves_the_last_figures(page: Page) -> None:
    page.get_by_test_id("status-open").click()
    expect(figure(page, "Model")).to_have_text("Demonstration model")

    def fail(route: Route) -> None:
        route.fulfill(status=429, json={"error": {"code": "storage_busy", "message": "Busy. Try again."}})

    page.context.route("**/api/status", fail)
    note = page.get_by_test_id("status-note")
    expect(note).to_have_text("Busy. Try again. These are the last figures.")
    expect(figure(page, "Model")).to_have_text("Demonstration model")
    page.context.unroute("**/api/status")
    expect(note).to_have_text("The engine has not measured anything yet.")


def test_escape_closes_the_panel_and_not_the_reply(served: Served, page: Page) -> None:
    script = served.held(70, ("final", " ".join(WORDS)))
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("word3")
    page.get_by_test_id("status-open").click()
    expect(figure(page, "Requests")).to_contain_text("1 running")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("status-panel")).to_be_hidden()
    expect(page.get_by_test_id("stop")).to_be_visible()
    served.let_go(script)
    expect(page.get_by_test_id("answer")).to_have_text(" ".join(WORDS))


def test_every_model_says_whether_it_fits(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.engine.machine = CARD
    answering(served, monkeypatch, SMALL)
    page.get_by_test_id("model-status").click()
    expect(page.get_by_test_id("model-offer")).to_have_count(3)
    expect(offer(page, "gpt-oss-20b")).to_contain_text("Fits: needs 18.5 GB of 22.0 GB free.")
    expect(offer(page, "gpt-oss-20b")).to_contain_text("Answers now")
    expect(offer(page, "gpt-oss-20b")).to_have_attribute("aria-disabled", "true")
    expect(offer(page, "gpt-oss-120b")).to_contain_text("Too large here: needs 71.6 GB, 22.0 GB free.")
    expect(offer(page, "gpt-oss-120b")).to_have_attribute("data-verdict", "too_large")
    expect(offer(page, "Demonstration model")).to_contain_text("Fits")
    offer(page, "gpt-oss-20b").click(force=True)
    expect(page.get_by_test_id("dialog")).to_have_count(0)
    assert served.engine.loads == []


def test_what_does_not_fit_is_loaded_only_after_a_question(served: Served, page: Page) -> None:
    served.engine.machine = LAPTOP
    chip = page.get_by_test_id("model-status")
    chip.click()
    offer(page, "gpt-oss-120b").click()
    expect(page.get_by_test_id("dialog")).to_contain_text("Load gpt-oss-120b anyway?")
    expect(page.get_by_test_id("dialog")).to_contain_text("Too large here: needs")
    page.keyboard.press("Escape")
    expect(chip).to_be_focused()
    assert served.engine.loads == []

    chip.click()
    offer(page, "gpt-oss-120b").click()
    with page.expect_response(model_change) as answer:
        page.get_by_test_id("dialog-confirm").click()
    assert answer.value.status == 202
    assert served.engine.loads == ["openai/gpt-oss-120b"]


def test_the_picker_is_used_by_keyboard(served: Served, page: Page) -> None:
    served.engine.machine = CARD
    page.get_by_test_id("model-status").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("model-offer")).to_have_count(3)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(offer(page, "Demonstration model")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(offer(page, "gpt-oss-20b")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("dialog")).to_contain_text("13.8 GB are fetched first")
    with page.expect_response(model_change):
        page.get_by_test_id("dialog-confirm").press("Enter")
    expect(page.get_by_test_id("dialog")).to_have_count(0)
    expect(page.get_by_test_id("model-status")).to_be_focused()
    assert served.engine.loads == ["openai/gpt-oss-20b"]


def test_who_comes_from_elsewhere_reads_the_list_and_changes_nothing(
    served: Served, new_page: NewPage
) -> None:
    page = new_page(extra_http_headers={"X-Forwarded-For": "203.0.113.9"})
    page.get_by_test_id("model-status").click()
    expect(page.get_by_test_id("picker-note")).to_have_text(
        "The model can be changed only on the machine that the playground runs on."
    )
    expect(offer(page, "Demonstration model")).to_contain_text("Unknown yet: the machine is being looked at.")
    offer(page, "Demonstration model").click(force=True)
    expect(page.get_by_test_id("model-picker")).to_be_visible()
    assert served.engine.loads == []


def test_a_phone_shows_both_panels_whole(served: Served, new_page: NewPage) -> None:
    served.play(Script([("final", "Yes.")]))
    served.engine.metrics, served.engine.machine = busy(), CARD
    page = new_page(**PHONE)
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    panels = (("status-open", "status-panel"), ("model-status", "model-picker"))
    for scheme, (button, panel) in itertools.product(("light", "dark"), panels):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator("html")).to_have_attribute("data-pg-theme", scheme)
        expect(page.get_by_test_id(button)).to_be_in_viewport(ratio=1)
        page.get_by_test_id(button).tap()
        expect(page.get_by_test_id(panel)).to_be_in_viewport(ratio=1)
        background = page.get_by_test_id(panel).evaluate("node => getComputedStyle(node).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        page.get_by_test_id(panel).get_by_role("button", name="Close").tap()
        expect(page.get_by_test_id(panel)).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
