"""Start a turn."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.bodies import TurnBody
from playground.api.dependencies import RoomDep, TurnsDep

router = APIRouter(prefix="/turns")


@router.post("", status_code=202)
async def start_turn(body: TurnBody, owner: CurrentOwner, turns: TurnsDep, room: RoomDep) -> views.Json:
    """Answered once the turn is saved; the reply itself is read from the generation's events."""
    # Schemas are written as the model will read them, to see whether that can be done.
    request = await run_in_threadpool(body.request)
    turn = await turns.start(owner, request, room)
    return {
        "conversation": views.conversation(turn.conversation),
        "user_message": views.message(turn.user_message),
        "tool_messages": [views.message(record) for record in turn.tool_messages],
        "generation": views.generation(turn.generation),
    }
