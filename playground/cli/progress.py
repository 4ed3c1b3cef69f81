"""What is happening while somebody waits: one changing line on stderr, or a few lines where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playground.cli.backend import Tell


@contextmanager
def telling(*, quiet: bool = False) -> Iterator[Tell]:
    """Show the latest sentence until the block ends. stdout stays free for what was asked for."""
    if quiet:
        yield lambda _sentence: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.markup import escape

    shown = ""
    # Few pictures a second: importing torch goes on meanwhile, and each one takes the interpreter from it.
    with Console(stderr=True).status("Starting the engine", refresh_per_second=4) as status:

        def tell(sentence: str) -> None:
            nonlocal shown
            if sentence != shown:
                shown = sentence
                status.update(escape(sentence))

        yield tell


class _Lines:
    """Writes a sentence when it says something new; figures that grow are nothing new."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, sentence: str) -> None:
        kind = sentence.partition(":")[0]
        if kind != self._last:
            self._last = kind
            print(sentence, file=sys.stderr, flush=True)  # noqa: T201 (this is the terminal's voice)
