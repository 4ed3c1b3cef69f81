"""The one refusal of an import: a sentence that says what is wrong with the file."""

from __future__ import annotations

from playground.errors import PlaygroundError

NAMED_CHARS = 40


class ImportRefused(PlaygroundError):
    """The file is refused whole; nothing of it was stored."""

    def __init__(self, sentence: str) -> None:
        super().__init__("invalid_import", sentence)


def named(value: object) -> str:
    """A value of the file as a sentence shows it: short, on one line, and without half characters."""
    text = " ".join(str(value).encode("utf-8", "replace").decode().split())
    return f"“{text if len(text) <= NAMED_CHARS else text[: NAMED_CHARS - 1] + '…'}”"
