"""Presets: settings under a name."""

from __future__ import annotations

from fastapi import APIRouter

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.bodies import PresetBody, PresetChangeBody
from playground.api.dependencies import StoreDep
from playground.text import check_line

router = APIRouter(prefix="/presets")


@router.get("")
def list_presets(owner: CurrentOwner, store: StoreDep) -> views.Json:
    """All of the user's presets."""
    return {"items": [views.preset(record) for record in store.list_presets(owner)]}


@router.post("", status_code=201)
def create_preset(body: PresetBody, owner: CurrentOwner, store: StoreDep) -> views.Json:
    """Keep settings under a name."""
    name = check_line(body.name, "name", "name")
    return {"preset": views.preset(store.create_preset(owner, name, body.settings.settings()))}


@router.patch("/{preset_id}")
def change_preset(preset_id: str, body: PresetChangeBody, owner: CurrentOwner, store: StoreDep) -> views.Json:
    """Rename a preset, or replace its settings."""
    name = None if body.name is None else check_line(body.name, "name", "name")
    settings = None if body.settings is None else body.settings.settings()
    return {"preset": views.preset(store.update_preset(owner, preset_id, name=name, settings=settings))}


@router.delete("/{preset_id}", status_code=204)
def delete_preset(preset_id: str, owner: CurrentOwner, store: StoreDep) -> None:
    """Remove a preset; conversations that took its settings keep them."""
    store.delete_preset(owner, preset_id)
