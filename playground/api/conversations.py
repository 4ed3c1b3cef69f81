"""Conversations: list, what changed, read, choose a branch, change, delete and undo that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.bodies import LARGEST_INTEGER, ConversationBody, SelectBody
from playground.api.dependencies import EngineDep, NamedStore, StoreDep, StoresDep, TurnsDep
from playground.chat_settings import changed, one_at_a_time
from playground.errors import PlaygroundError
from playground.shown import shown

router = APIRouter()


@router.get("/conversations")
def list_conversations(
    owner: CurrentOwner,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    archived: bool = False,
) -> views.Json:
    """One page: the pinned ones first, of both the newest first."""
    records, following = store.list_conversations(
        owner, limit=limit, cursor=cursor or None, archived=archived
    )
    return {"items": [views.conversation(record) for record in records], "next_cursor": following}


@router.get("/changes")
def list_changes(
    owner: CurrentOwner,
    store: StoreDep,
    after: Annotated[int | None, Query(ge=0, le=LARGEST_INTEGER)] = None,
) -> views.Json:
    """What changed in the list since change number ``after``; without it only the number of the newest."""
    changes = store.changes(owner, after)
    return {
        "sequence": changes.sequence,
        "items": [views.conversation(record) for record in changes.conversations],
        "removed": changes.removed,
        "complete": changes.complete,
    }


@router.get("/conversations/{conversation_id}")
def get_conversation(
    conversation_id: str, owner: CurrentOwner, store: NamedStore, stores: StoresDep, engine: EngineDep
) -> views.Json:
    """The path to the current leaf, with the generations that made it."""
    view = shown(store, owner, conversation_id, engine.health())
    stores.use(owner, conversation_id)
    return view


@router.post("/conversations/{conversation_id}/select")
def select_branch(
    conversation_id: str,
    body: SelectBody,
    owner: CurrentOwner,
    store: NamedStore,
    stores: StoresDep,
    engine: EngineDep,
) -> views.Json:
    """Show the branch that has this message or this reply, as it was left."""
    if (body.message_id is None) == (body.generation_id is None):
        sentence = "Name either a message or a reply."
        raise PlaygroundError("invalid_parameter", sentence, param="message_id")
    store.select_branch(owner, conversation_id, message_id=body.message_id, generation_id=body.generation_id)
    stores.use(owner, conversation_id)
    return shown(store, owner, conversation_id, engine.health())


@router.patch("/conversations/{conversation_id}")
def change_conversation(
    conversation_id: str, body: ConversationBody, owner: CurrentOwner, store: NamedStore, turns: TurnsDep
) -> views.Json:
    """Rename, pin, archive, or change settings."""
    title = body.checked_title()
    change = {} if body.settings is None else body.settings.change()
    if title is not None:
        turns.titles.rename(store, owner, conversation_id, title)
    with one_at_a_time:
        record = store.get_conversation(owner, conversation_id)
        record = store.update_conversation(
            owner,
            conversation_id,
            pinned=body.pinned,
            archived=body.archived,
            settings=changed(record.settings, change) if change else None,
        )
    return {"conversation": views.conversation(record)}


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete_conversation(conversation_id: str, owner: CurrentOwner, turns: TurnsDep) -> None:
    """Hide it at once; a reply in progress is stopped first. A minute later it is gone for good."""
    await turns.delete_conversation(owner, conversation_id)


@router.post("/conversations/{conversation_id}/restore")
def restore_conversation(
    conversation_id: str, owner: CurrentOwner, store: NamedStore, stores: StoresDep
) -> views.Json:
    """Undo a delete of the last minute."""
    record = store.restore_conversation(owner, conversation_id)
    stores.use(owner, conversation_id)
    return {"conversation": views.conversation(record)}
