"""The real application tells about its engine: the status panel, the list of models, and Prometheus."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from playwright.sync_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.actions import answered, ask
from tests.e2e.conftest import PHONE, Picture, Visit
from tests.e2e.served_app import PATIENCE, PAUSE, ServedApp, ask_by_http

pytestmark = pytest.mark.browser


def test_the_status_panel_and_prometheus_tell_about_the_demonstration_model(
    app: ServedApp, page: Page, picture: Picture
) -> None:
    ask(page, "What is 12 + 30?", effort="high")
    answered(page)
    page.get_by_test_id("status-open").click()
    panel = page.get_by_test_id("status-panel")
    for name, value in {
        "Model": r"^Demonstration model$",
        "Revision": r"^[\w.-]+$",
        "Weights": r"^(dequantised to |)(float32|bfloat16)$",
        "Requests": r"^\d+ running · \d+ waiting$",
    }.items():
        expect(panel.locator(f"dt:text-is('{name}') + dd")).to_have_text(re.compile(value))
    expect(panel).to_contain_text(re.compile(r"[\d.]+ [MG]B of [\d.]+ [GT]B"))
    picture(page, "status-light")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.get_by_test_id("status-open")).to_be_focused()

    text = httpx.get(f"{app.url}/metrics", trust_env=False).raise_for_status().text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["playground_engine_up",] == 1
    assert found["playground_reply_tokens_total", "analysis"] > 0
    assert found["playground_reply_tokens_total", "final"] > 0
    assert any(key[0] == "playground_model_info" and "demo" in key for key in found)
    assert "12 + 30" not in text


def test_the_picker_says_of_every_model_whether_it_fits(
    app: ServedApp, visit: Visit, picture: Picture
) -> None:
    page = visit(app, color_scheme="dark", **PHONE)
    page.get_by_test_id("model-status").tap()
    offers = page.get_by_test_id("model-offer")
    expect(offers).to_have_count(3)
    expect(offers.nth(0)).to_contain_text("Answers now")
    sentence = re.compile(
        r"Fits: |Tight: |Too large here: needs .* free\.|Runs here without a GPU|Unknown yet: "
    )
    for number in range(3):
        expect(offers.nth(number)).to_contain_text(sentence)
    picture(page, "models-phone-dark")


def test_a_model_chosen_by_http_answers_soon(app: ServedApp) -> None:
    with app.person() as person:
        assert person.post("/api/model", json={"name": "demo"}).status_code == 202
        generation = ask_by_http(person, "What is 12 + 30?")["generation"]["id"]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = person.get(f"/api/generations/{generation}").json()
            if found["generation"]["status"] == "finished":
                break
            time.sleep(PAUSE)
        assert "42" in found["messages"][-1]["content"]
        assert person.get("/api/model").json()["active"]["name"] == "demo"
