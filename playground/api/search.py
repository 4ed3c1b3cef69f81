"""Search through the asker's own conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.dependencies import StoreDep
from playground.errors import PlaygroundError
from playground.exchange.moments import iso
from storage.records import SearchHit, SearchKind

router = APIRouter(prefix="/search")

QUERY_CHARS = 1000
USUAL_KINDS = "title,question,answer"


@router.get("")
def search(
    owner: CurrentOwner,
    store: StoreDep,
    q: Annotated[str, Query(max_length=QUERY_CHARS)] = "",
    kinds: Annotated[str, Query(max_length=200)] = USUAL_KINDS,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> views.Json:
    """The places where all words were found; nothing for a search without a word."""
    wanted = _kinds(kinds)
    hits, following = store.search(owner, q, kinds=wanted, limit=limit, cursor=cursor or None)
    return {"items": [_hit(hit) for hit in hits], "next_cursor": following}


def _kinds(text: str) -> frozenset[SearchKind]:
    """The named kinds.

    Raises:
        PlaygroundError: there is no such kind, or none is named.
    """
    names = [name.strip() for name in text.split(",")]
    known = [kind.value for kind in SearchKind]
    if not all(name in known for name in names):
        sentence = f"What to search is named by {', '.join(known[:-1])} and {known[-1]}, with commas between."
        raise PlaygroundError("invalid_parameter", sentence, param="kinds")
    return frozenset(SearchKind(name) for name in names)


def _hit(hit: SearchHit) -> views.Json:
    return {
        "conversation": views.conversation(hit.conversation),
        "message_id": hit.message_id,
        "generation_id": hit.generation_id,
        "kind": hit.kind,
        "created_at": iso(hit.created_at),
        "snippet": [{"text": text, "hit": is_hit} for text, is_hit in hit.snippet],
    }
