"""What people type: whether it says anything."""

from __future__ import annotations

import pytest

from playground import text
from playground.text import GLANCE, says_something


@pytest.mark.parametrize(
    "blank", ["", " \n\t", "\u2003\u200b\ufeff\u2060", " " * 5 * GLANCE, "\u200b" * 5 * GLANCE]
)
def test_blank_texts_say_nothing_until_something_stands_in_them(blank: str) -> None:
    assert not says_something(blank)
    assert says_something(f"{blank}x")
    assert says_something(f"x{blank}")
    assert says_something(f"{blank}\N{GRINNING FACE}{blank}")


def test_not_every_character_of_a_long_text_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(text, "_is_visible", looked_at.append)
    assert not says_something(" \n" * 100 * GLANCE)
    assert len(looked_at) == GLANCE + 2
