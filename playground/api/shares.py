"""Links that let whoever has them read a conversation as it was, without an account."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import StrictBool

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.bodies import Id
from playground.api.dependencies import RatesDep, RoomDep, StoreDep
from playground.exchange import sharing
from playground.strict import Strict
from storage.stored import draft_bytes

router = APIRouter()


class ShareBody(Strict):
    """``POST /api/shares``."""

    conversation_id: Id
    include_reasoning: StrictBool


@router.get("/shares")
def list_shares(
    owner: CurrentOwner,
    store: StoreDep,
    conversation_id: Annotated[str | None, Query(max_length=64)] = None,
) -> views.Json:
    """The asker's links, or those of one conversation, newest first."""
    records = store.list_shares(owner, conversation_id)
    return {"items": [sharing.share_view(record) for record in records]}


@router.post("/shares", status_code=201)
def create_share(body: ShareBody, owner: CurrentOwner, store: StoreDep, room: RoomDep) -> views.Json:
    """Make a link to the conversation as it is shown now."""
    conversation = store.get_conversation(owner, body.conversation_id)
    value = sharing.snapshot(
        conversation,
        store.path(owner, conversation.id),
        store.conversation_generations(owner, conversation.id),
        include_reasoning=body.include_reasoning,
        now=datetime.now(UTC),
    )
    encoded = sharing.encoded(value)
    sharing.check_size(encoded)
    room.take(len(encoded.encode()), "conversation_id")
    record = store.create_share(
        owner,
        conversation.id,
        title=conversation.title,
        include_reasoning=body.include_reasoning,
        snapshot=encoded,
        message_count=len(value["messages"]),
    )
    return {"share": sharing.share_view(record)}


@router.delete("/shares/{share_id}", status_code=204)
def delete_share(share_id: str, owner: CurrentOwner, store: StoreDep) -> None:
    """Take a link back: from now on it leads nowhere."""
    store.delete_share(owner, share_id)


@router.get("/shared/{token}")
def read_shared(token: str, store: StoreDep) -> Response:
    """What the link shows; nobody is asked who reads."""
    _, snapshot = store.shared_snapshot(token)
    return Response(snapshot, media_type="application/json")


@router.post("/shared/{token}/import", status_code=201)
def import_shared(
    token: str, owner: CurrentOwner, store: StoreDep, rates: RatesDep, room: RoomDep
) -> views.Json:
    """Copy what the link shows into a conversation of the reader's own."""
    _, snapshot = store.shared_snapshot(token)
    rates.import_of(owner)
    draft = sharing.draft_of(json.loads(snapshot), datetime.now(UTC))
    room.take(draft_bytes([draft]), "token")
    record = store.insert_conversation(owner, draft)
    return {"conversation": views.conversation(record)}
