"""The models, what they need, which one answers, and the engine's figures for the page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from inference.errors import EngineUnavailable
from playground import models, views
from playground.access import may_choose_model
from playground.accounts.actor import AccountsDep, VisitDep
from playground.api.bodies import ModelBody
from playground.api.dependencies import EngineDep, SettingsDep
from playground.errors import PlaygroundError
from playground.status import status

router = APIRouter()

READ_ONLY = {
    "local": "The model can be changed only on the machine that the playground runs on.",
    "nobody": "The model of this playground is fixed.",
}


def _may_choose(request: Request, settings: SettingsDep, accounts: AccountsDep, visit: VisitDep) -> bool:
    return may_choose_model(request, settings, is_admin=accounts.is_admin(visit))


def _why_not(settings: SettingsDep) -> str:
    if settings.model_choice == "local" and settings.sign_in_available:
        return "Only an admin can change the model."
    return READ_ONLY[settings.model_choice]


MayChoose = Annotated[bool, Depends(_may_choose)]


@router.get("/model")
async def model(engine: EngineDep) -> views.Json:
    """What answers now and what is on its way, with the proposals that fit it; the same for everybody."""
    return models.current(engine.health())


@router.post("/model", status_code=202)
async def choose_model(
    body: ModelBody, may_choose: MayChoose, engine: EngineDep, settings: SettingsDep
) -> views.Json:
    """Begin to load another model for everybody; ``GET /api/model`` tells how far it is."""
    if not may_choose:
        raise PlaygroundError("not_allowed", _why_not(settings), status=403)
    health = engine.health()
    if not health.alive:
        raise EngineUnavailable("The model stopped working. Restart the app.")
    offered = await run_in_threadpool(models.offers, settings.model, settings.context_tokens, health)
    offer = models.choose(body.name, offered, even_if_too_large=body.even_if_too_large)
    await engine.load(offer.wanted)
    return {"name": offer.name}


@router.get("/models")
def list_models(may_choose: MayChoose, engine: EngineDep, settings: SettingsDep) -> views.Json:
    """Every model that may be chosen, with its size and whether it has room here."""
    health = engine.health()
    offered = models.offers(settings.model, settings.context_tokens, health)
    return {
        "items": [models.view(offer, health) for offer in offered],
        "may_choose": may_choose,
        "why_not": "" if may_choose else _why_not(settings),
    }


@router.get("/status")
def engine_status(engine: EngineDep) -> views.Json:
    """What the engine does and how fast; the same for everybody."""
    return status(engine.health())
