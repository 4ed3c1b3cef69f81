"""What a reply says of the request beside the answer: the settings in force, and what was not honoured."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from inference.types import ReasoningEffort
from playground.completions.service import Completion

Json = dict[str, Any]

PLACE = re.compile(r"\[\d+\]")
NAME_CHARS = 80
MOST_NOTES = 50
NO_TOP_P = "0 would leave nothing to choose from: the smallest value is in force, the likeliest token."
OF_TEXTS = ("annotations", "logprobs")
"""What the APIs themselves write beside the text of a part."""


class Notes:
    """Remarks on parameters, in the order in which they were made."""

    def __init__(self) -> None:
        self._items: list[Json] = []
        self._unread: set[str] = set()

    def add(self, param: str, message: str) -> None:
        """One sentence on one parameter; the same one is said once, and there are not too many."""
        if len(self._items) >= MOST_NOTES:
            return
        name = param.encode("utf-8", "replace").decode()
        name = name if len(name) <= NAME_CHARS else name[:NAME_CHARS] + "…"
        item = {"param": name, "message": message}
        if item not in self._items:
            self._items.append(item)

    def ignored(self, given: Mapping[str, object], harmless: Mapping[str, str]) -> None:
        """A note for each parameter that is in ``harmless`` (with the reason), and for each unknown one."""
        for name, value in given.items():
            if value is not None:
                self.add(name, harmless.get(name, "This parameter is not known here and was ignored."))

    def unread(self, given: Mapping[str, object], known: Container[str], where: str) -> None:
        """A note for each field of the part at ``where`` that is not ``known`` and says something.

        One that stands in many parts is named once, where it comes first.
        """
        for name, value in given.items() if len(self._items) < MOST_NOTES else ():
            kind = PLACE.sub("[]", f"{where}.{name}")
            if name not in known and value is not None and kind not in self._unread:
                self._unread.add(kind)
                self.add(f"{where}.{name}", "This was ignored, here and in other places like it.")

    @property
    def items(self) -> list[Json]:
        """``{"param", "message"}`` of each remark."""
        return list(self._items)

    def extend(self, items: Iterable[Json]) -> None:
        """Take over the remarks of something that was made before."""
        for item in items:
            self.add(item["param"], item["message"])


def effective(completion: Completion, effort: ReasoningEffort) -> Json:
    """The settings that a reply is made with, after the server's own limits and defaults."""
    sampling = completion.sampling
    return {
        "model": completion.model.name,
        "revision": completion.model.revision,
        "reasoning_effort": effort.value,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs,
    }


def remarks(settings: Json, notes: Notes) -> Json:
    """The field ``playground`` of a reply."""
    return {"settings": settings, "notes": notes.items}
