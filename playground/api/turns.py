"""Start a turn."""

from __future__ import annotations

from fastapi import APIRouter

from playground import views
from playground.accounts.identity import CurrentOwner
from playground.api.bodies import TurnBody
from playground.api.dependencies import TurnsDep

router = APIRouter(prefix="/turns")


@router.post("", status_code=202)
async def start_turn(body: TurnBody, owner: CurrentOwner, turns: TurnsDep) -> views.Json:
    """Answered once the turn is saved; the reply itself is read from the generation's events."""
    turn = await turns.start(owner, body.request())
    return {
        "conversation": views.conversation(turn.conversation),
        "user_message": views.message(turn.user_message),
        "generation": views.generation(turn.generation),
    }
