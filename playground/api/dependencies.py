"""What the routes ask for: the parts of the application, by type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from inference.engine import Engine
from inference.harmony import HarmonyCodec
from playground.accounts.actor import CurrentActor
from playground.completions.service import CompletionService
from playground.limits.addresses import asking_address
from playground.limits.allowance import Allowance, allowance_at, smaller
from playground.limits.rates import Rates
from playground.limits.storing import Storing
from playground.limits.uploads import Uploads
from playground.responses.service import ResponseService
from playground.settings import Settings
from playground.temporary import Stores
from playground.turns import TurnService
from storage.records import TurnRecord
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


@dataclass(frozen=True, slots=True)
class Room:
    """How much the asker may store; ``most`` bytes, 0 is any."""

    storing: Storing
    owner_id: str
    allowance: Allowance
    most: int

    def take(self, size: int, param: str) -> None:
        """Let so many bytes more be stored, those of ``param``. Blocks. Raises PlaygroundError."""
        self.storing.take(self.owner_id, self.allowance, self.most, size, param)

    def check_turn(self, *, newcomer: bool) -> None:
        """Refuse a turn where nothing more may be stored, or where on a nearly full disk a guest begins his
        first conversation: ``newcomer`` may be one. Blocks. Raises PlaygroundError.
        """
        if newcomer:
            self.storing.check_newcomer(self.owner_id)
        self.storing.check_turn(self.owner_id, self.allowance, self.most)

    def count_turn(self, turn: TurnRecord, *, asked: bool) -> None:
        """Count a turn that has begun; ``asked``: with a question of its own."""
        self.storing.count_turn(self.owner_id, self.allowance, turn, asked=asked)


def _room(request: Request, actor: CurrentActor) -> Room:
    settings, account = _settings(request), actor.account is not None
    most = settings.stored_bytes
    if not account and settings.sign_in_available:
        most = smaller(settings.guest_stored_bytes, most)
    allowance = allowance_at(settings, asking_address.get(), account=account)
    return Room(cast(Storing, request.app.state.storing), actor.user_id, allowance, most)


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
