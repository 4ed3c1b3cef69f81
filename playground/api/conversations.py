"""Conversations: list, read, change, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from playground import views
from playground.accounts.identity import CurrentOwner
from playground.api.bodies import ConversationBody
from playground.api.dependencies import StoreDep, TurnsDep
from playground.errors import PlaygroundError
from playground.text import check_unicode

router = APIRouter(prefix="/conversations")


@router.get("")
def list_conversations(
    owner: CurrentOwner,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> views.Json:
    """One page, newest first."""
    records, following = store.list_conversations(owner, limit=limit, cursor=cursor or None)
    return {"items": [views.conversation(record) for record in records], "next_cursor": following}


@router.get("/{conversation_id}")
def get_conversation(conversation_id: str, owner: CurrentOwner, store: StoreDep) -> views.Json:
    """The path to the current leaf, with the generations that made it."""
    conversation = store.get_conversation(owner, conversation_id)
    messages = store.path(owner, conversation_id)
    asked = {message.id for message in messages}
    generations = store.conversation_generations(owner, conversation_id)
    return {
        "conversation": views.conversation(conversation),
        "messages": [views.message(record) for record in messages],
        "generations": [views.generation(each) for each in generations if each.user_message_id in asked],
    }


@router.patch("/{conversation_id}")
def change_conversation(
    conversation_id: str, body: ConversationBody, owner: CurrentOwner, store: StoreDep
) -> views.Json:
    """Rename, or change the instructions; empty instructions remove them."""
    title = body.title
    if title is not None:
        check_unicode(title, "title", "title")
        title = " ".join(title.split())
        if not title:
            raise PlaygroundError("invalid_parameter", "A title needs at least one letter.", param="title")
    if body.instructions is not None:
        check_unicode(body.instructions, "instructions", "text")
    record = store.update_conversation(owner, conversation_id, title=title, instructions=body.instructions)
    return {"conversation": views.conversation(record)}


@router.delete("/{conversation_id}", status_code=204)
async def delete_conversation(
    conversation_id: str, owner: CurrentOwner, store: StoreDep, turns: TurnsDep
) -> None:
    """Delete it with all its messages; a reply in progress is stopped first."""
    await run_in_threadpool(store.get_conversation, owner, conversation_id)
    await turns.stop_conversation(owner, conversation_id)
    await run_in_threadpool(store.delete_conversation, owner, conversation_id)
    turns.runs.forget_conversation(owner, conversation_id)
