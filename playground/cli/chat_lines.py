"""What a person types: lines, blocks of lines, and the end."""

from __future__ import annotations

import sys
from typing import TextIO

QUOTES = '"""'


class Lines:
    """Reads from a terminal with its own editing and history, or from any other input."""

    def __init__(self, source: TextIO | None = None) -> None:
        self._source = source or sys.stdin
        self._typed = source is None and sys.stdin.isatty() and sys.stdout.isatty()
        if self._typed:
            import readline  # noqa: F401 (gives input() its editing)

    @property
    def typed(self) -> bool:
        """Whether somebody sits at a terminal."""
        return self._typed

    def read(self, prompt: str = "> ") -> str | None:
        """One message; ``None`` at the end of the input.

        A line that ends with a backslash goes on with the next one; a block between two lines of three
        quotation marks is taken as it is. Raises KeyboardInterrupt, and what was begun is dropped.
        """
        line = self._line(prompt)
        if line is None:
            return None
        if line.lstrip().startswith(QUOTES):
            return self._block(line.lstrip().removeprefix(QUOTES))
        parts = [line]
        while parts[-1].endswith("\\"):
            parts[-1] = parts[-1][:-1]
            following = self._line("| ")
            if following is None:
                break
            parts.append(following)
        return "\n".join(parts)

    def _block(self, first: str) -> str:
        parts: list[str] = []
        line: str | None = first
        while line is not None:
            if line.rstrip().endswith(QUOTES):
                parts.append(line.rstrip().removesuffix(QUOTES))
                break
            parts.append(line)
            line = self._line("| ")
        return "\n".join(parts).strip("\n")

    def _line(self, prompt: str) -> str | None:
        try:
            if self._typed:
                return input(prompt)
            line = self._source.readline()
        except EOFError:
            return None
        return line.rstrip("\r\n") if line else None
