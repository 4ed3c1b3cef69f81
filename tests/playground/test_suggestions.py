"""The empty page proposes what the model that answers can do, and nothing while that is not known."""

from __future__ import annotations

import pytest

from inference.demonstration.tasks import SUGGESTIONS
from inference.types import EngineHealth, ModelStage, ModelStatus
from playground.suggestions import FOR_LARGE_MODELS, suggestions
from playground.views import model

DEMO = ModelStatus("demo", ModelStage.READY, demonstration=True)
LARGE = ModelStatus("openai/gpt-oss-20b", ModelStage.DOWNLOADING, bytes_done=1, bytes_total=2)
AUTO = ModelStatus("auto", ModelStage.QUEUED)
FAILED = ModelStatus("openai/gpt-oss-20b", ModelStage.FAILED)


@pytest.mark.parametrize(
    ("active", "target", "expected"),
    [
        (None, None, ()),
        (None, AUTO, ()),
        (None, FAILED, ()),
        (None, LARGE, FOR_LARGE_MODELS),
        (None, ModelStatus("demo", ModelStage.QUEUED), SUGGESTIONS),
        (DEMO, LARGE, SUGGESTIONS),
        (LARGE, LARGE, FOR_LARGE_MODELS),
    ],
)
def test_the_proposals_fit_the_model(
    active: ModelStatus | None, target: ModelStatus | None, expected: tuple[str, ...]
) -> None:
    assert suggestions(EngineHealth(True, active, target)) == expected


def test_the_target_is_shown_only_while_it_is_another() -> None:
    assert model(EngineHealth(True, DEMO, DEMO))["target"] is None
    shown = model(EngineHealth(True, DEMO, LARGE, running=2, waiting=3))
    assert (shown["active"]["name"], shown["target"]["bytes_total"]) == ("demo", 2)
    assert (shown["running"], shown["waiting"]) == (2, 3)
    assert model(EngineHealth(True, None, AUTO))["target"]["name"] == "auto"
