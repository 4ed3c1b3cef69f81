"""The functions that the operator declares, for people to switch on."""

from __future__ import annotations

from fastapi import APIRouter

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.dependencies import TurnsDep

router = APIRouter(prefix="/functions")


@router.get("")
async def list_functions(owner: CurrentOwner, turns: TurnsDep) -> views.Json:
    """What each is called, what it does, and what it takes; never where it is."""
    return {
        "items": [
            {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
            for spec in turns.functions.operator.specs.values()
        ]
    }
