"""The names under which programs may ask for the model that answers."""

from __future__ import annotations

from inference.catalog import ALIASES
from inference.types import ModelStatus

ANY = frozenset({"default", "auto"})


def names_of(model: ModelStatus) -> list[str]:
    """Its own name first, then the ones that other programs know it by (``gpt-oss:20b``)."""
    last = model.name.rsplit("/", 1)[-1]
    aliases = [alias for alias, name in ALIASES.items() if name == model.name]
    size = last.removeprefix("gpt-oss-")
    tagged = [f"gpt-oss:{size}"] if size != last else []
    return list(dict.fromkeys([model.name, last, *tagged, *aliases]))


def answers_to(model: ModelStatus, wanted: str) -> bool:
    """Whether a request for this name is for this model."""
    name = wanted.strip().lower()
    return name in ANY or name in {each.lower() for each in names_of(model)}
