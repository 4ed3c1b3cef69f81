"""Who writes in a step when several users share a device whose steps take longer with every row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from itertools import count

from inference.worker.sequence import Sequence


class RowShares:
    """Gives each user at most ``most`` rows of a step, his replies in turn; ``None`` gives everybody all."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._rows = count(1)

    def of(self, ready: Collection[Sequence]) -> list[Sequence]:
        """Who of these writes now, in the same order."""
        users: defaultdict[str, list[Sequence]] = defaultdict(list)
        for sequence in ready:
            users[sequence.request.user_key].append(sequence)
        if self._most is None or all(len(rows) <= self._most for rows in users.values()):
            return list(ready)
        chosen: set[Sequence] = set()
        for rows in users.values():
            for sequence in sorted(rows, key=lambda each: each.latest_row)[: self._most]:
                sequence.latest_row = next(self._rows)
                chosen.add(sequence)
        return [sequence for sequence in ready if sequence in chosen]
