"""What the page needs around its conversations: start values, preferences, and health."""

from __future__ import annotations

from fastapi import APIRouter

from playground import models, views
from playground.accounts.actor import CurrentOwner, FirstVisitDep
from playground.api import account
from playground.api.bodies import (
    IDENTITY_CHARS,
    INSTRUCTIONS_CHARS,
    NAME_CHARS,
    TITLE_CHARS,
    PreferencesBody,
)
from playground.api.dependencies import EngineDep, SettingsDep, StoreDep
from playground.chat_settings import changed, one_at_a_time
from playground.suggestions import suggestions
from playground.version import VERSION
from storage.records import Preferences

router = APIRouter()
health_router = APIRouter()


@router.get("/bootstrap")
def bootstrap(visit: FirstVisitDep, store: StoreDep, engine: EngineDep, settings: SettingsDep) -> views.Json:
    """All that the page needs at start, in one answer; also for a stranger who has to sign in first."""
    health, visitor = engine.health(), visit.actor
    preferences = Preferences() if visitor is None else store.get_preferences(visitor.user_id)
    return {
        "me": account.me(visitor),
        "sign_in": account.sign_in(settings, visit.refused),
        "preferences": views.preferences(preferences),
        "model": models.current(health),
        "limits": {
            "max_message_chars": settings.max_message_chars,
            "max_tokens_default": settings.max_tokens_default,
            "max_title_chars": TITLE_CHARS,
            "max_instructions_chars": INSTRUCTIONS_CHARS,
            "max_identity_chars": IDENTITY_CHARS,
            "max_preset_chars": NAME_CHARS,
        },
        "suggestions": suggestions(health),
        "version": VERSION,
    }


@router.get("/preferences")
def get_preferences(owner: CurrentOwner, store: StoreDep) -> views.Json:
    """What the user set in the page."""
    return views.preferences(store.get_preferences(owner))


@router.patch("/preferences")
def change_preferences(body: PreferencesBody, owner: CurrentOwner, store: StoreDep) -> views.Json:
    """Change what is given, keep the rest; a setting that is null is reset."""
    change = {} if body.settings is None else body.settings.change()
    with one_at_a_time:
        before = store.get_preferences(owner).settings
        record = store.update_preferences(
            owner,
            effort=body.effort,
            show_reasoning=body.show_reasoning,
            theme=body.theme,
            settings=changed(before, change) if change else None,
        )
    return views.preferences(record)


@health_router.api_route("/healthz", methods=["GET", "HEAD"])
async def health(engine: EngineDep) -> views.Json:
    """200 while this process can serve pages, whatever the model does."""
    state = engine.health()
    return {
        "status": "ok",
        "version": VERSION,
        "engine_alive": state.alive,
        "model": state.active.name if state.active is not None else None,
    }
