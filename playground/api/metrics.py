"""``/metrics`` for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from playground.access import check_metrics_reader
from playground.accounts.actor import AccountsDep, VisitDep
from playground.api.dependencies import EngineDep, SettingsDep, TurnsDep
from playground.metrics import PlaygroundCollector

router = APIRouter()


@router.get("/metrics")
def metrics(
    request: Request,
    engine: EngineDep,
    turns: TurnsDep,
    settings: SettingsDep,
    accounts: AccountsDep,
    visit: VisitDep,
) -> Response:
    """The figures of this process, for this machine, admins, and others with the token that was set."""
    check_metrics_reader(request, settings, is_admin=accounts.is_admin(visit))
    registry = CollectorRegistry()
    registry.register(PlaygroundCollector(engine.health, dict(turns.tokens), request.app.state.backups.state))
    return Response(
        generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers={"cache-control": "no-store"}
    )
