"""For admins: how much is used and whether all is well, never what people write."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from playground import leaving, views
from playground.accounts.actor import AccountsDep, CurrentAdmin
from playground.api.dependencies import EngineDep, ResponsesDep, SettingsDep, StoreDep, TurnsDep
from playground.errors import PlaygroundError
from playground.settings_limits import LimitSettings
from playground.status import status
from playground.strict import Strict
from storage.account_records import AccountRole, UserKind, UserSummary

router = APIRouter(prefix="/admin")

STARTED = time.monotonic()


class RoleBody(Strict):
    """``POST /api/admin/users/{id}/role``."""

    role: AccountRole


@router.get("/overview")
def overview(
    admin: CurrentAdmin,
    accounts: AccountsDep,
    store: StoreDep,
    engine: EngineDep,
    settings: SettingsDep,
    request: Request,
) -> views.Json:
    """Sums of everything, the health of the parts, and the limits that are set."""
    backups = request.app.state.backups.state
    totals = store.totals(accounts.clock())
    return {
        "totals": {
            "users": totals.users,
            "accounts": totals.accounts,
            "conversations": totals.conversations,
            "messages": totals.messages,
            "requests_today": totals.requests_today,
            "tokens_today": totals.tokens_today,
        },
        "health": {
            "engine": status(engine.health()),
            "database": {
                "bytes": totals.database_bytes,
                "integrity": "ok" if backups.whole else "damaged",
                "last_backup": views.moment(backups.last_backup),
                "backup_error": backups.error,
                "backups": settings.backup_dir is not None,
            },
            "uptime_seconds": round(time.monotonic() - STARTED),
        },
        "limits": {name: getattr(settings, name) for name in LimitSettings.model_fields},
    }


@router.get("/users")
def users(
    admin: CurrentAdmin,
    store: StoreDep,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    kind: UserKind = UserKind.ALL,
) -> views.Json:
    """One page of users with their counts, the newest first; and how many there are of each kind."""
    found = store.users_overview(after, limit, kind)
    more = len(found) == limit
    return {
        "users": [_user(each) for each in found],
        "next": found[-1].user_id if more else None,
        "counts": asdict(store.user_counts()),
    }


@router.post("/users/{user_id}/ban")
async def ban(
    user_id: str,
    admin: CurrentAdmin,
    accounts: AccountsDep,
    turns: TurnsDep,
    engine: EngineDep,
    responses: ResponsesDep,
) -> views.Json:
    """Keep somebody out: sessions end, keys open nothing, and what is being written for them stops."""
    if user_id == admin.user_id:
        raise PlaygroundError("conflict", "You cannot ban yourself.", status=409)
    summary = await run_in_threadpool(accounts.store.set_ban, user_id, accounts.clock())
    turns.runs.bar(user_id)
    await leaving.stop_replies(turns.runs, engine, user_id)
    await responses.stop_owner(user_id)
    return {"user": _user(summary)}


@router.delete("/users/{user_id}/ban")
async def lift_ban(user_id: str, admin: CurrentAdmin, store: StoreDep, turns: TurnsDep) -> views.Json:
    """Let somebody in again."""
    summary = await run_in_threadpool(store.set_ban, user_id, None)
    turns.runs.unbar(user_id)
    return {"user": _user(summary)}


@router.post("/users/{user_id}/role")
def set_role(user_id: str, body: RoleBody, admin: CurrentAdmin, store: StoreDep) -> views.Json:
    """Make somebody an admin, or a member again."""
    return {"user": _user(store.set_role(user_id, body.role))}


def _user(user: UserSummary) -> views.Json:
    return {
        "id": user.user_id,
        "handle": user.handle,
        "display_name": user.display_name,
        "role": user.role.value,
        "banned_at": views.moment(user.banned_at),
        "created_at": views.moment(user.created_at),
        "last_seen_at": views.moment(user.last_seen_at),
        "conversations": user.conversations,
        "messages": user.messages,
        "requests": user.requests,
        "tokens": user.tokens,
    }
