"""Whom a request to the OpenAI APIs acts for.

Programs carry no cookie, and many of them insist on sending some key. So a key of this playground is its
owner, a browser's cookie is that person, and everything else is one guest that all such programs share -
where nobody must sign in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, cast

from fastapi import Depends, Request

from playground.accounts.actor import AccountsDep, VisitDep
from playground.accounts.identity import Visit, token_hash
from playground.accounts.service import Accounts, Actor
from playground.errors import PlaygroundError
from playground.limits.addresses import asking_address
from playground.limits.allowance import Allowance, allowance_at
from playground.limits.rates import Rates
from storage.account_records import KeyScope

SHARED_GUEST = token_hash("the guest that programs without a key of this playground share")
"""Stands where others have the hash of their cookie. A cookie is 43 letters and digits without a space, so
there is none that has this hash, and nobody takes the guest's things along by signing in."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of what a request makes, and what he may have. ``shared``: it is the guest of all.

    ``may_read`` tells later whether the request may still read his things. Blocks.
    """

    owner_id: str
    allowance: Allowance
    shared: bool = False
    may_read: Callable[[], bool] = lambda: True


def _caller(request: Request, accounts: AccountsDep, visit: VisitDep) -> Caller:
    """Whom the request acts for. Blocks.

    Raises:
        PlaygroundError: 401 for a key that is none and where everybody must sign in, 403 for a key that may
            not ask the model, 429 for somebody who asks too often.
    """
    settings, address = accounts.settings, asking_address.get()
    rates = cast(Rates, request.app.state.rates)
    actor = _known(accounts, visit)
    if actor is None:
        if settings.sign_in_required:
            sentence = "This server answers only to people who have signed in. Send an API key of yours."
            raise PlaygroundError("invalid_api_key", sentence, status=401)
        # Nobody knows how many people it is: each address may ask as often as one.
        rates.request_of(f"{SHARED_GUEST} at {address}")
        owner_id = accounts.store.user_for_identity(SHARED_GUEST).id
        allowance = allowance_at(settings, address, account=False, shared=True)
        return Caller(owner_id, allowance, shared=True)
    rates.request_of(actor.user_id)
    if KeyScope.INFERENCE not in actor.scopes:
        sentence = "This API key may not be used to ask the model."
        raise PlaygroundError("missing_scope", sentence, status=403)
    allowance = allowance_at(settings, address, account=actor.account is not None)
    may_read = partial(accounts.still_stands_for, visit, actor.user_id)
    return Caller(actor.user_id, replace(allowance, key=actor.key_id), may_read=may_read)


def _known(accounts: Accounts, visit: Visit) -> Actor | None:
    """The owner of the key or the cookie; None for a stranger, who gets no cookie here."""
    token = visit.token
    if visit.keys or token is None:
        return accounts.find(visit) if visit.keys else None
    if accounts.is_known(token):
        return accounts.find(visit)
    return None


ApiOwner = Annotated[Caller, Depends(_caller)]
"""Whom a request acts for, who may ask the model."""
