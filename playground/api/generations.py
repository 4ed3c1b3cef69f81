"""Replies: read one, follow its events, stop it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from playground import sse, views
from playground.accounts.actor import AccountsDep, CurrentOwner, VisitDep
from playground.api.dependencies import CodecDep, NamedStore, TurnsDep
from playground.functions import onward
from storage.store import Store

router = APIRouter(prefix="/generations")


def _last_seen(
    last_event_id: Annotated[str | None, Query()] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> int:
    """The number of the last event that the reader saw; 0, the whole log, where it names none of ours."""
    named = header or last_event_id or ""
    return int(named) if named.isascii() and named.isdecimal() and len(named) <= 18 else 0


LastSeen = Annotated[int, Depends(_last_seen)]


@router.get("/{generation_id}")
def get_generation(generation_id: str, owner: CurrentOwner, store: NamedStore) -> views.Json:
    """The reply as it is saved: at most a third of a second behind a running one."""
    return _saved(store, owner, generation_id)


@router.get("/{generation_id}/raw")
def raw_generation(generation_id: str, owner: CurrentOwner, store: NamedStore, codec: CodecDep) -> views.Json:
    """What the model read and wrote, with harmony's markers by their names."""
    tokens = store.generation_tokens(owner, generation_id)
    return {"prompt": codec.decode(tokens.prompt_ids), "output": codec.decode(tokens.output_ids)}


@router.get("/{generation_id}/events")
async def follow_generation(
    generation_id: str,
    owner: CurrentOwner,
    store: NamedStore,
    turns: TurnsDep,
    after: LastSeen,
    accounts: AccountsDep,
    visit: VisitDep,
) -> Response:
    """Server-sent events; 204 tells a reader that has all of them not to come back."""
    run = turns.runs.get(owner, generation_id)
    if run is None:
        saved = await run_in_threadpool(_saved, store, owner, generation_id)
        return sse.response(sse.replay(after, ("snapshot", saved), ("finish", saved["generation"])))
    if after > run.last_number:
        after = 0
    if run.finished and after == run.last_number:
        return Response(status_code=204)
    return sse.response(
        sse.while_allowed(sse.follow(run, after), lambda: accounts.still_stands_for(visit, run.owner_id))
    )


@router.post("/{generation_id}/cancel")
async def cancel_generation(
    generation_id: str, owner: CurrentOwner, turns: TurnsDep, response: Response
) -> views.Json:
    """Stop a reply and keep its text; one that is over stays as it is."""
    generation, was_running = await turns.cancel(owner, generation_id)
    response.status_code = 202 if was_running else 200
    after = await run_in_threadpool(onward, turns.stores.of(generation_id), owner, generation)
    return {"generation": views.generation(generation, after)}


def _saved(store: Store, owner: str, generation_id: str) -> views.Json:
    generation = store.get_generation(owner, generation_id)
    messages = store.generation_messages(owner, generation_id)
    return {
        "generation": views.generation(generation, onward(store, owner, generation)),
        "messages": [views.message(record) for record in messages],
    }
