"""The models that the page offers: the published ones, the demonstration, and what the operator set."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from inference.catalog import (
    AUTO,
    DEMO,
    KNOWN,
    Fit,
    KnownModel,
    ModelSource,
    Verdict,
    describe,
    estimate,
    resolve,
)
from inference.errors import ModelLoadError
from inference.types import EngineHealth
from playground import views
from playground.errors import PlaygroundError
from playground.suggestions import suggestions


@dataclass(frozen=True, slots=True)
class Offer:
    """One model of the list. ``wanted`` is what the engine loads; it may be a path and is never shown."""

    source: ModelSource
    wanted: str
    known: KnownModel | None
    fit: Fit

    @property
    def name(self) -> str:
        return self.source.name


def current(health: EngineHealth) -> views.Json:
    """What answers now and what is on its way, with the proposals that fit it."""
    return {**views.model(health), "suggestions": suggestions(health)}


def offers(configured: str, context_tokens: int | None, health: EngineHealth) -> list[Offer]:
    """Every model that may be chosen, smallest first, the operator's own last. Reads a folder's headers."""
    names = [DEMO, *KNOWN]
    found = {name: (resolve(name), name) for name in names}
    if configured.strip().lower() != AUTO:
        try:
            source = resolve(configured)
            found.setdefault(source.name, (source, configured))
        except ModelLoadError:
            pass  # the engine says so itself, and the list has the others
    return [_offer(source, wanted, context_tokens, health) for source, wanted in found.values()]


def view(offer: Offer, health: EngineHealth) -> views.Json:
    """An entry of the list."""
    known = offer.known
    return {
        "name": offer.name,
        "demonstration": offer.source.demonstration,
        "active": health.active is not None and health.active.name == offer.name,
        "wanted": health.target is not None and health.target.name == offer.name,
        "parameters": None if known is None else known.parameters,
        "download_bytes": None if known is None else known.download_bytes,
        "context_length": None if known is None else known.context_length,
        "fit": asdict(offer.fit),
    }


def choose(name: str, offered: list[Offer], *, even_if_too_large: bool) -> Offer:
    """The model of this name in the list.

    Raises:
        PlaygroundError: it is not in the list, or it does not fit and the asker has not said to try it.
    """
    offer = next((each for each in offered if each.name == name), None)
    if offer is None:
        raise PlaygroundError(
            "invalid_parameter", "There is no model of this name in the list.", param="name"
        )
    if offer.fit.verdict is Verdict.TOO_LARGE and not even_if_too_large:
        raise PlaygroundError("does_not_fit", offer.fit.sentence, status=409, param="name")
    return offer


def _offer(source: ModelSource, wanted: str, context_tokens: int | None, health: EngineHealth) -> Offer:
    known = describe(source)
    return Offer(source, wanted, known, estimate(known, context_tokens, health.machine))
