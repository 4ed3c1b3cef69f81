"""A program in a terminal of its own: what it shows is read, and keys are pressed."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
PATIENCE = 120.0
AGAIN = 2.0
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")


class PseudoTerminal:
    """``python app.py`` with these words. ``raw`` is all that it has written so far."""

    def __init__(self, *words: str) -> None:
        self._own, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        environment.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), *words],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=_take_terminal,  # noqa: PLW1509 (no other thread runs in these tests)
        )
        os.close(theirs)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._seen = 0

    def expect(self, pattern: str) -> str:
        """Read until this appears behind what was expected before; what stands before its end."""
        end = time.monotonic() + PATIENCE
        while (before := self._find(pattern)) is None:
            assert time.monotonic() < end, f"{pattern!r} did not appear in {self.raw!r}"
            assert self._read(end - time.monotonic()), f"nothing came any more, no {pattern!r}: {self.raw!r}"
        return before

    def interrupt(self, pattern: str) -> None:
        """Ctrl-C until this appears. At a line that is being typed, one Ctrl-C may be lost.

        CPython's readline looks for signals only where they end its wait for a key: one that comes between
        the echo of a key and that wait is found at the next Ctrl-C.
        """
        end = time.monotonic() + PATIENCE
        while self._find(pattern) is None:
            assert time.monotonic() < end, f"{pattern!r} did not appear in {self.raw!r}"
            self.press("\x03")
            while self._find(pattern, take=False) is None and self._read(AGAIN):
                pass

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._own, keys.encode())

    def wait(self) -> int:
        """Its status, once it has ended."""
        end = time.monotonic() + PATIENCE
        while self._read(end - time.monotonic()):
            assert time.monotonic() < end, self.raw
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """End it, however it is."""
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._own)

    def _find(self, pattern: str, *, take: bool = True) -> str | None:
        text = STEERING.sub("", self.raw)
        found = re.compile(pattern).search(text, self._seen)
        if found is None:
            return None
        before = text[self._seen : found.end()]
        if take:
            self._seen = found.end()
        return before

    def _read(self, seconds: float) -> bool:
        """Whether something came."""
        ready, _, _ = select.select([self._own], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            part = os.read(self._own, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += self._decoder.decode(part)
        return bool(part)


def _take_terminal() -> None:
    """Make the terminal on stdin the child's own, so that Ctrl-C reaches it."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
