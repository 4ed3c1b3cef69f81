"""What the empty page proposes to ask: things that the model which answers can really do."""

from __future__ import annotations

from inference.catalog import AUTO, DEMO
from inference.demonstration.tasks import SUGGESTIONS as FOR_THE_DEMONSTRATION
from inference.types import EngineHealth, ModelStage

FOR_LARGE_MODELS = (
    "Explain how a language model chooses its next word, in five sentences.",
    "Write a Python function that finds the longest palindrome in a text.",
    "How many prime numbers are there between 100 and 200?",
    "Compare three ways to store energy from the sun in a table.",
)


def suggestions(health: EngineHealth) -> tuple[str, ...]:
    """The proposals for the model that answers, or will; none while that is not known."""
    status = health.active or health.target
    if status is None or (health.active is None and status.stage is ModelStage.FAILED) or status.name == AUTO:
        return ()
    return FOR_THE_DEMONSTRATION if status.demonstration or status.name == DEMO else FOR_LARGE_MODELS
