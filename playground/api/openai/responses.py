"""``/v1/responses``: make a response, find it again, follow it, end it, remove it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from playground import sse
from playground.api.dependencies import ResponsesDep
from playground.api.openai.errors import invalid
from playground.api.openai.identity import ApiOwner
from playground.api.openai.leaving import while_here
from playground.api.openai.notes import Notes
from playground.api.openai.streaming import EventStream
from playground.responses.body import ResponseBody
from playground.responses.job import ResponseJob
from playground.responses.log import ResponseLog

router = APIRouter(prefix="/responses", tags=["responses"])

Json = dict[str, Any]
MOST_LISTED = 100
GET = frozenset({"stream", "starting_after"})
LIST = frozenset({"limit", "order", "after"})
HARMLESS = {
    "include": "What a response holds is chosen when it is made; this was ignored.",
    "include_obfuscation": "Streams are not padded here.",
}


@router.post("", response_model=None)
async def create_response(
    body: ResponseBody, owner: ApiOwner, responses: ResponsesDep, request: Request
) -> Response | Json:
    """Ask the model. With ``stream`` the answer are server-sent events; one in the background goes on without
    a reader, and any other ends when its reader leaves."""
    making = responses.create(owner.owner_id, body, owner.allowance)
    job = await while_here(request, making)
    if body.stream:
        # A reader that leaves ends the response, unless it is in the background.
        events = sse.while_allowed(_events(job.encoder.log, -1), owner.may_read)
        return EventStream(events, partial(responses.leave, job))
    if body.background:
        return job.encoder.snapshot()
    try:
        await while_here(request, _ended(job))
    finally:
        responses.leave(job)
    return job.encoder.snapshot()


@router.get("/{response_id}", response_model=None)
async def get_response(
    response_id: str,
    owner: ApiOwner,
    responses: ResponsesDep,
    request: Request,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0)] = None,
) -> Response | Json:
    """A stored response as it is now. With ``stream`` its events above number ``starting_after``."""
    if not stream:
        response = await responses.get(owner.owner_id, response_id)
        remarks = response["playground"]
        return {**response, "playground": {**remarks, "notes": [*remarks["notes"], *_notes(request, GET)]}}
    log = await responses.log_of(owner.owner_id, response_id)
    events = _events(log, -1 if starting_after is None else starting_after)
    return sse.response(sse.while_allowed(events, owner.may_read))


@router.post("/{response_id}/cancel")
async def cancel_response(response_id: str, owner: ApiOwner, responses: ResponsesDep) -> Json:
    """End a response and keep what there is of it; one that has ended stays as it is."""
    return await responses.cancel(owner.owner_id, response_id)


@router.delete("/{response_id}")
async def delete_response(response_id: str, owner: ApiOwner, responses: ResponsesDep) -> Json:
    """Remove a response for good."""
    await responses.delete(owner.owner_id, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get("/{response_id}/input_items")
async def list_input_items(
    response_id: str,
    owner: ApiOwner,
    responses: ResponsesDep,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Json:
    """What went in with this request, in pages; ``after`` is the id of the last item of the page before."""
    items = await responses.input_items(owner.owner_id, response_id)
    if order == "desc":
        items.reverse()
    first = 0
    if after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise invalid("after must be the id of an input item of this response.", "after")
        first = places[0] + 1
    page = items[first : first + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": first + limit < len(items),
        "playground": {"notes": _notes(request, LIST)},
    }


def _notes(request: Request, known: frozenset[str]) -> list[Json]:
    """Remarks on the parameters of the address that have no effect."""
    notes = Notes()
    given = {name.removesuffix("[]"): value for name, value in request.query_params.items()}
    notes.ignored({name: value for name, value in given.items() if name not in known}, HARMLESS)
    return notes.items


async def _ended(job: ResponseJob) -> None:
    await job.done.wait()


async def _events(log: ResponseLog, after: int) -> AsyncGenerator[bytes]:
    """The events as they are sent, several due ones at once, and a comment in quiet times."""
    async with aclosing(log.follow(after, sse.PING_SECONDS)) as batches:
        async for events in batches:
            piece = b"" if events else KEEPALIVE_COMMENT
            for event in events:
                piece += _encoded(event)
                if len(piece) >= sse.PIECE_BYTES:
                    yield piece
                    piece = b""
            if piece:
                yield piece


def _encoded(event: Json) -> bytes:
    """One event. Half of a character pair, which has no UTF-8, becomes a question mark."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text.encode("utf-8", "replace").decode(), event=event["type"])
