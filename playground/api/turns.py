"""Start a turn."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from playground import views
from playground.accounts.actor import CurrentActor, CurrentOwner
from playground.api.bodies import TurnBody
from playground.api.dependencies import RoomDep, TurnsDep

router = APIRouter(prefix="/turns")


@router.post("", status_code=202)
async def start_turn(
    body: TurnBody,
    owner: CurrentOwner,
    actor: CurrentActor,
    turns: TurnsDep,
    room: RoomDep,
) -> views.Json:
    """Answered once the turn is saved; the reply itself is read from the generation's events."""
    # Schemas are written as the model will read them, to see whether that can be done.
    request = await run_in_threadpool(body.request)
    if actor.account is None and request.conversation_id is None and not request.temporary:
        await run_in_threadpool(room.check_newcomer)
    turn = await turns.start(owner, request, replace(room.allowance, key=actor.key_id))
    return {
        "conversation": views.conversation(turn.conversation),
        "user_message": views.message(turn.user_message),
        "tool_messages": [views.message(record) for record in turn.tool_messages],
        "generation": views.generation(turn.generation),
    }
