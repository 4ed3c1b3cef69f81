"""Start a turn."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from playground import views
from playground.accounts.actor import CurrentActor, CurrentOwner
from playground.api.bodies import TurnBody
from playground.api.dependencies import RoomDep, TurnsDep
from playground.temporary import is_temporary

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
    kept = not (request.temporary or is_temporary(request.conversation_id or ""))
    if kept:
        newcomer = actor.account is None and request.conversation_id is None
        await run_in_threadpool(room.check_turn, newcomer=newcomer)
    turn = await turns.start(owner, request, replace(room.allowance, key=actor.key_id))
    if kept and not turn.existing:
        room.count_turn(turn, asked=request.text is not None)
    return {
        "conversation": views.conversation(turn.conversation),
        "user_message": views.message(turn.user_message),
        "tool_messages": [views.message(record) for record in turn.tool_messages],
        "generation": views.generation(turn.generation),
    }
