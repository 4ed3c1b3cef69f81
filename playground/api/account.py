"""The account of whoever asks: sessions, API keys, use, and the way out."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field, StrictStr
from starlette.concurrency import run_in_threadpool

from playground import leaving, views
from playground.accounts.actor import AccountsDep, CurrentVisitor, InPerson, VisitDep
from playground.accounts.service import Accounts, Actor
from playground.accounts.text import initials, one_line
from playground.api.dependencies import EngineDep, ResponsesDep, SettingsDep, StoresDep, TurnsDep
from playground.errors import PlaygroundError
from playground.limits.allowance import allowance_for, midnight_after
from playground.settings import Settings
from playground.strict import Strict
from storage.account_records import Account, ApiKey, KeyScope, LoginSession

router = APIRouter()

KEY_NAME_CHARS = 100
SCOPE_LABELS = {
    KeyScope.CONVERSATIONS: "Conversations: read and change everything that the page shows",
    KeyScope.INFERENCE: "Inference: ask the model through the OpenAI-compatible API",
}


class KeyBody(Strict):
    """``POST /api/account/keys``."""

    name: Annotated[StrictStr, Field(max_length=KEY_NAME_CHARS)]
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=len(KeyScope))]


class DeleteBody(Strict):
    """``DELETE /api/account``: said twice, because nothing brings it back."""

    confirm: Literal["delete"]


def me(actor: Actor | None) -> views.Json:
    """Who asks, for the page; a stranger has no id."""
    account = None if actor is None else actor.account
    name = "Guest" if account is None else account.display_name
    return {
        "kind": "guest" if account is None else "account",
        "id": None if actor is None else actor.user_id,
        "handle": None if account is None else account.handle,
        "display_name": name,
        "role": "member" if actor is None else actor.role.value,
        "initials": initials(name),
    }


def sign_in(settings: Settings, refused: str = "") -> views.Json:
    """Whether and where people can sign in, and what guests should know.

    ``refused`` is why this visitor may not be a guest, where guests are welcome in general.
    """
    available = settings.sign_in_available
    note = "Only this browser can see these conversations."
    if available:
        note += " Sign in to have them everywhere."
    return {
        "available": available,
        "required": settings.sign_in_required or bool(refused),
        "reason": refused and f"{refused} Or sign in, if you have an account here.",
        "url": "/oauth/login",
        "provider": settings.provider_name,
        "note": note,
        "more_tokens": available and allowance_for(settings, guest=True).more_signed_in,
    }


@router.get("/account")
def get_account(actor: InPerson, accounts: AccountsDep, settings: SettingsDep) -> views.Json:
    """All that the page shows of the asker's account."""
    store, now = accounts.store, accounts.clock()
    sessions = store.sessions_of(actor.user_id, now, accounts.idle)
    return {
        "account": None if actor.account is None else _account(actor.account),
        "sessions": [_session(each, actor) for each in sessions],
        "keys": [_key(each) for each in store.keys_of(actor.user_id)],
        "usage": _usage(accounts, actor, settings),
        "scopes": [{"id": scope.value, "label": label} for scope, label in SCOPE_LABELS.items()],
    }


@router.post("/account/sign-out", status_code=204)
def sign_out(actor: CurrentVisitor, visit: VisitDep, accounts: AccountsDep) -> None:
    """End this browser's session."""
    if actor is not None and actor.kind != "key":
        accounts.sign_out(visit, actor)


@router.delete("/account/sessions/{session_id}", status_code=204)
def end_session(session_id: str, actor: InPerson, visit: VisitDep, accounts: AccountsDep) -> None:
    """Sign another browser out, or this one."""
    if session_id == actor.session_id:
        accounts.replaced.note(visit.token)
    accounts.store.end_session(actor.user_id, session_id)
    if session_id == actor.session_id:
        accounts.start_over(visit)


@router.delete("/account/sessions")
def end_sessions(actor: InPerson, visit: VisitDep, accounts: AccountsDep) -> views.Json:
    """Sign out everywhere, here too."""
    if actor.session_id is not None:
        accounts.replaced.note(visit.token)
    ended = accounts.store.end_sessions(actor.user_id, except_id=None)
    if actor.session_id is not None:
        accounts.start_over(visit)
    return {"ended": ended}


@router.post("/account/keys", status_code=201)
def make_key(body: KeyBody, actor: InPerson, accounts: AccountsDep) -> views.Json:
    """A new API key; its secret is in this answer and nowhere else."""
    if actor.account is None and accounts.settings.sign_in_available:
        raise PlaygroundError("sign_in_required", "Sign in to make API keys.", status=401)
    name = one_line(body.name, KEY_NAME_CHARS)
    if not name:
        raise PlaygroundError("invalid_parameter", "Give the key a name.", param="name")
    key, secret = accounts.make_key(actor, name, frozenset(body.scopes))
    return {"key": _key(key), "secret": secret}


@router.delete("/account/keys/{key_id}", status_code=204)
async def revoke_key(
    key_id: str,
    actor: InPerson,
    accounts: AccountsDep,
    turns: TurnsDep,
    engine: EngineDep,
    responses: ResponsesDep,
) -> None:
    """End a key: from now on it opens nothing, and what is being written for it stops."""
    await run_in_threadpool(accounts.store.revoke_key, actor.user_id, key_id)
    await responses.stop_key(key_id)
    await leaving.stop_key(turns.runs, engine, key_id)


@router.delete("/account", status_code=204)
async def delete_account(
    body: DeleteBody,
    actor: InPerson,
    visit: VisitDep,
    accounts: AccountsDep,
    stores: StoresDep,
    turns: TurnsDep,
    engine: EngineDep,
    responses: ResponsesDep,
) -> None:
    """Delete everything of the asker's, for good; the last admin has to name another one before."""
    await run_in_threadpool(accounts.store.check_may_leave, actor.user_id)  # before anything is stopped
    await responses.stop_owner(actor.user_id)
    accounts.replaced.note(visit.token)
    await leaving.delete_user(stores, turns, engine, actor.user_id)
    accounts.start_over(visit)


def _account(account: Account) -> views.Json:
    return {
        "id": account.user_id,
        "handle": account.handle,
        "display_name": account.display_name,
        "email": account.email,
        "role": account.role.value,
        "created_at": views.moment(account.created_at),
        "signed_in_at": views.moment(account.signed_in_at),
    }


def _session(session: LoginSession, actor: Actor) -> views.Json:
    return {
        "id": session.id,
        "client": session.client,
        "created_at": views.moment(session.created_at),
        "last_seen_at": views.moment(session.last_seen_at),
        "current": session.id == actor.session_id,
    }


def _key(key: ApiKey) -> views.Json:
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "scopes": sorted(key.scopes),
        "created_at": views.moment(key.created_at),
        "last_used_at": views.moment(key.last_used_at),
    }


def _usage(accounts: Accounts, actor: Actor, settings: Settings) -> views.Json:
    now = accounts.clock()
    usage = accounts.store.usage_of(actor.user_id, now.date().isoformat())
    guest = actor.account is None and settings.sign_in_available
    return {
        "day": usage.day,
        "requests": usage.requests,
        "tokens": usage.tokens,
        "tokens_limit": allowance_for(settings, guest=guest).tokens or None,
        "requests_limit": None,
        "resets_at": views.moment(midnight_after(now)),
    }
