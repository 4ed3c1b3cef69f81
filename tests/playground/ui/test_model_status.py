"""What the page says about the model: which one answers, and how far the one that was asked for has come."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

from inference.types import EngineHealth, ModelStage, ModelStatus
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served

pytestmark = pytest.mark.browser

DEMO = ModelStatus("demo", ModelStage.READY, revision="r1", context_length=4096, demonstration=True)
LARGE = ModelStatus("openai/gpt-oss-20b", ModelStage.QUEUED)


@dataclass
class Health:
    """What the engine says about itself from now on."""

    active: ModelStatus | None
    target: ModelStatus | None

    def __call__(self) -> EngineHealth:
        return EngineHealth(alive=True, active=self.active, target=self.target)


def test_a_download_is_followed_while_the_demonstration_model_answers(
    served: Served, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = dataclasses.replace(
        LARGE,
        stage=ModelStage.DOWNLOADING,
        bytes_done=5_210_000_000,
        bytes_total=13_760_000_000,
        eta_seconds=212.0,
    )
    health = Health(DEMO, download)
    monkeypatch.setattr(served.engine, "health", health)
    page = new_page()
    banner = page.get_by_test_id("model-banner")
    expect(banner).to_contain_text(
        "gpt-oss-20b is being downloaded. The demonstration model answers meanwhile."
    )
    expect(banner).to_contain_text("5.2 GB of 13.8 GB · 37 % · about 4 minutes left")
    expect(banner.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "37")
    expect(page.get_by_test_id("demo-label")).to_contain_text("Demonstration model: tiny")
    expect(page.get_by_test_id("model-status")).to_have_text("Demo model")
    expect(page.get_by_test_id("suggestion")).to_have_count(4)

    health.target = dataclasses.replace(LARGE, stage=ModelStage.LOADING, detail="Layer 3 of 24")
    expect(banner).to_contain_text("is being loaded into memory")
    expect(banner).to_contain_text("Layer 3 of 24")

    health.active = health.target = dataclasses.replace(LARGE, stage=ModelStage.READY)
    expect(banner).to_be_hidden()
    expect(page.get_by_test_id("demo-label")).to_be_hidden()
    expect(page.get_by_test_id("model-status")).to_have_text("gpt-oss-20b")
    expect(page.get_by_test_id("suggestion").first).to_contain_text("language model")


def test_a_model_that_failed_is_explained(
    served: Served, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = dataclasses.replace(LARGE, stage=ModelStage.FAILED, note="The model hub cannot be reached.")
    monkeypatch.setattr(served.engine, "health", Health(None, failed))
    page = new_page()
    expect(page.get_by_test_id("model-banner")).to_have_text("The model hub cannot be reached.")
    expect(page.get_by_test_id("model-status")).to_contain_text("failed")
    page.get_by_test_id("composer-input").fill("kept")
    expect(page.get_by_test_id("composer-hint")).to_contain_text("nothing can be sent")
    expect(page.get_by_test_id("send")).to_be_disabled()
