"""What the routes ask for: the parts of the application, by type."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from inference.engine import Engine
from playground.settings import Settings
from playground.turns import TurnService
from storage.store import Store


def _store(request: Request) -> Store:
    return cast(Store, request.app.state.store)


def _engine(request: Request) -> Engine:
    return cast(Engine, request.app.state.engine)


def _turns(request: Request) -> TurnService:
    return cast(TurnService, request.app.state.turns)


def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


StoreDep = Annotated[Store, Depends(_store)]
EngineDep = Annotated[Engine, Depends(_engine)]
TurnsDep = Annotated[TurnService, Depends(_turns)]
SettingsDep = Annotated[Settings, Depends(_settings)]
