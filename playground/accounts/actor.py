"""What routes ask for to know whom they act for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from playground.accounts.identity import Visit
from playground.accounts.service import Accounts, Actor
from playground.errors import PlaygroundError, not_found
from playground.limits.addresses import asking_address
from playground.limits.rates import Rates
from storage.account_records import AccountRole, KeyScope


def accounts_of(request: Request) -> Accounts:
    """The application's accounts."""
    return cast(Accounts, request.app.state.accounts)


def visit_of(request: Request) -> Visit:
    """What the request says of who sends it."""
    return cast(Visit, request.state.visit)


AccountsDep = Annotated[Accounts, Depends(accounts_of)]
VisitDep = Annotated[Visit, Depends(visit_of)]


def _visitor(request: Request, accounts: AccountsDep, visit: VisitDep) -> Actor | None:
    """Whom the request acts for; None for a stranger where everybody must sign in. Blocks.

    Raises:
        PlaygroundError: (429) somebody asks too often, or too many new visitors come from one address.
    """
    rates = cast(Rates, request.app.state.rates)
    actor = accounts.find(visit, lambda: rates.visitor_from(asking_address.get()))
    if actor is not None:
        rates.request_of(actor.user_id)
    return actor


CurrentVisitor = Annotated[Actor | None, Depends(_visitor)]


def current_actor(actor: CurrentVisitor) -> Actor:
    """Whom the request acts for; 401 for a stranger where everybody must sign in."""
    if actor is None:
        raise sign_in_required()
    return actor


CurrentActor = Annotated[Actor, Depends(current_actor)]


def sign_in_required() -> PlaygroundError:
    """The answer to a stranger where everybody must sign in."""
    return PlaygroundError("sign_in_required", "Sign in to use this playground.", status=401)


def _check_scope(actor: Actor, scope: KeyScope) -> None:
    if scope not in actor.scopes:
        raise PlaygroundError("missing_scope", "This API key may not be used for that.", status=403)


def allowed_to(scope: KeyScope) -> Callable[[Actor], Actor]:
    """A dependency: whom the request acts for, who must be allowed to do this."""

    def check(actor: CurrentActor) -> Actor:
        _check_scope(actor, scope)
        return actor

    return check


def _page_visitor(actor: Actor | None) -> Actor | None:
    """Like ``CurrentVisitor``, for what shows conversations or settings."""
    if actor is not None:
        _check_scope(actor, KeyScope.CONVERSATIONS)
    return actor


@dataclass(frozen=True, slots=True)
class FirstVisit:
    """Who asks for the page's start. ``refused`` says why a stranger may not stay without signing in."""

    actor: Actor | None
    refused: str = ""


def _first_visit(request: Request, accounts: AccountsDep, visit: VisitDep) -> FirstVisit:
    """Like ``_page_visitor``, but where too many strangers come, those with an account can still sign in."""
    rates = cast(Rates, request.app.state.rates)
    refusals: list[PlaygroundError] = []

    def admit() -> None:
        try:
            rates.visitor_from(asking_address.get())
        except PlaygroundError as refusal:
            refusals.append(refusal)
            raise

    try:
        actor = accounts.find(visit, admit)
    except PlaygroundError as error:
        if error in refusals and accounts.settings.sign_in_available:
            return FirstVisit(None, error.message)
        raise
    if actor is not None:
        rates.request_of(actor.user_id)
    return FirstVisit(_page_visitor(actor))


FirstVisitDep = Annotated[FirstVisit, Depends(_first_visit)]


def current_owner(actor: Annotated[Actor, Depends(allowed_to(KeyScope.CONVERSATIONS))]) -> str:
    """The id of the user whose conversations the request may use."""
    return actor.user_id


CurrentOwner = Annotated[str, Depends(current_owner)]


def _in_person(actor: CurrentActor) -> Actor:
    """Somebody in a browser: a key cannot do what could make more keys, or take the account away."""
    if actor.kind == "key":
        raise PlaygroundError("missing_scope", "This cannot be done with an API key.", status=403)
    return actor


InPerson = Annotated[Actor, Depends(_in_person)]


def _admin(actor: CurrentVisitor) -> Actor:
    """An admin in a browser; to everybody else the address reads as if it did not exist."""
    if actor is None or actor.kind != "account" or actor.role is not AccountRole.ADMIN:
        raise not_found()
    return actor


CurrentAdmin = Annotated[Actor, Depends(_admin)]


async def may_enter(request: Request) -> None:
    """For what is the same for everybody: only where everybody must sign in is it asked who it is."""
    accounts = accounts_of(request)
    if not accounts.settings.sign_in_required:
        return
    if await run_in_threadpool(accounts.find, visit_of(request)) is None:
        raise sign_in_required()
