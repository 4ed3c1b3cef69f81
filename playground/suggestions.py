"""What the empty page proposes to ask: things that the loaded model can really do."""

from __future__ import annotations

from inference.types import EngineHealth

SUGGESTIONS = (
    "Explain how a transformer predicts the next word, in five sentences.",
    "Write a Python function that finds the longest palindrome in a text.",
    "How many prime numbers are there between 100 and 200?",
    "Plan a weekend in a city that I have never seen.",
)


def suggestions(health: EngineHealth) -> tuple[str, ...]:
    """The proposals for the model that answers now."""
    return SUGGESTIONS
