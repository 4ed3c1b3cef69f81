"""What the routes ask for: the parts of the application, by type."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, cast

from fastapi import Depends, Request

from inference.engine import Engine
from inference.harmony import HarmonyCodec
from playground.accounts.actor import CurrentActor
from playground.completions.service import CompletionService
from playground.limits.addresses import asking_address
from playground.limits.allowance import allowance_at, smaller
from playground.limits.rates import Rates
from playground.limits.room import Room
from playground.limits.storing import Storing
from playground.limits.uploads import Uploads
from playground.responses.service import ResponseService
from playground.settings import Settings
from playground.temporary import Stores
from playground.turns import TurnService
from storage.store import Store


def _store(request: Request) -> Store:
    return cast(Store, request.app.state.store)


def _stores(request: Request) -> Stores:
    return cast(Stores, request.app.state.stores)


def _named_store(request: Request) -> Store:
    """The store that has what the address names."""
    named = request.path_params
    return _stores(request).of(named.get("conversation_id") or named.get("generation_id"))


def _codec(request: Request) -> HarmonyCodec:
    return cast(HarmonyCodec, request.app.state.codec)


def _engine(request: Request) -> Engine:
    return cast(Engine, request.app.state.engine)


def _turns(request: Request) -> TurnService:
    return cast(TurnService, request.app.state.turns)


def _completions(request: Request) -> CompletionService:
    return cast(CompletionService, request.app.state.completions)


def _responses(request: Request) -> ResponseService:
    return cast(ResponseService, request.app.state.responses)


def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


def _rates(request: Request) -> Rates:
    return cast(Rates, request.app.state.rates)


def _uploads(request: Request) -> Uploads:
    return cast(Uploads, request.app.state.uploads)


def _room(request: Request, actor: CurrentActor) -> Room:
    settings, account = _settings(request), actor.account is not None
    most = settings.stored_bytes
    if not account and settings.sign_in_available:
        most = smaller(settings.guest_stored_bytes, most)
    allowance = allowance_at(settings, asking_address.get(), account=account)
    allowance = replace(allowance, key=actor.key_id)
    storing = cast(Storing, request.app.state.storing)
    return Room(storing, actor.user_id, allowance, most, guest=not account)


StoreDep = Annotated[Store, Depends(_store)]
"""The store that lasts."""
StoresDep = Annotated[Stores, Depends(_stores)]
NamedStore = Annotated[Store, Depends(_named_store)]
"""The store of the conversation or reply in the address, which may be a temporary one."""
CodecDep = Annotated[HarmonyCodec, Depends(_codec)]
EngineDep = Annotated[Engine, Depends(_engine)]
CompletionsDep = Annotated[CompletionService, Depends(_completions)]
ResponsesDep = Annotated[ResponseService, Depends(_responses)]
TurnsDep = Annotated[TurnService, Depends(_turns)]
SettingsDep = Annotated[Settings, Depends(_settings)]
RatesDep = Annotated[Rates, Depends(_rates)]
UploadsDep = Annotated[Uploads, Depends(_uploads)]
RoomDep = Annotated[Room, Depends(_room)]
