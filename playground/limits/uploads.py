"""How many files may be on their way at once: each takes a connection, and room on the disk, for minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from playground.errors import PlaygroundError
from playground.limits.words import try_again

MOST_OF_ONE = 2
MOST_OF_ADDRESS = 4
MOST_OF_ALL = 8
WAIT_SECONDS = 10


class Uploads:
    """The files that are being imported. Belongs to one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._count = 0

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._count

    @contextmanager
    def one(self, owner_id: str, address: str) -> Iterator[None]:
        """A place for one file of this person; ``address`` is that of a guest, or empty.

        Raises:
            PlaygroundError: (429) the person, the address or all together import several already.
        """
        if self._open[owner_id] >= MOST_OF_ONE:
            raise _busy("Other files of yours are still being imported.")
        if self._count >= MOST_OF_ALL or (address and self._open[address] >= MOST_OF_ADDRESS):
            raise _busy("Many files are being imported right now.")
        names = [owner_id, *filter(None, [address])]
        self._open.update(names)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._open.subtract(names)
            for name in names:
                if not self._open[name]:
                    del self._open[name]


def _busy(sentence: str) -> PlaygroundError:
    return PlaygroundError(
        "rate_limited", f"{sentence} {try_again(WAIT_SECONDS)}", status=429, retry_after=WAIT_SECONDS
    )
