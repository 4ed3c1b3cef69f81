"""The model that answers, as ``GET /v1/models`` lists it and as Ollama's clients ask for it."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from inference.types import ModelStatus
from playground.api.dependencies import EngineDep
from playground.api.openai.identity import ApiOwner
from playground.errors import PlaygroundError
from playground.model_names import answers_to, names_of
from playground.version import VERSION

Json = dict[str, Any]

STARTED = int(time.time())
"""When this process began to offer its model: nothing else is known of a model's age."""

LIKE_OLLAMA = "0.13.4"
"""The first version of Ollama with the Responses API: clients such as Codex refuse an older one."""

router = APIRouter()
ollama = APIRouter()
"""What programs that look for a local Ollama ask for; lives below ``/api``."""


@router.get("/models")
def list_models(_: ApiOwner, engine: EngineDep) -> Json:
    """The model that answers now, under each of its names, its own name first."""
    active = engine.health().active
    names = [] if active is None else names_of(active)
    return {"object": "list", "data": [_view(name, active) for name in names if active is not None]}


@router.get("/models/{name:path}")
def get_model(name: str, _: ApiOwner, engine: EngineDep) -> Json:
    """The model that answers now, if it answers to this name."""
    active = engine.health().active
    if active is None or not answers_to(active, name):
        sentence = "This server has no model of this name; GET /v1/models lists the one that answers."
        raise PlaygroundError("model_not_found", sentence, status=404, param="model")
    return _view(name, active)


def _view(name: str, model: ModelStatus) -> Json:
    owner = "gpt-oss-playground" if model.demonstration else "openai"
    return {
        "id": name,
        "object": "model",
        "created": STARTED,
        "owned_by": owner,
        "root": model.name,
        "max_model_len": model.context_length,
    }


@ollama.get("/version")
def version() -> Json:
    """Where Ollama's clients ask whether the server is new enough for them; ``playground`` is our own."""
    return {"version": LIKE_OLLAMA, "playground": VERSION}


@ollama.get("/tags")
def tags(engine: EngineDep) -> Json:
    """The model that answers now, in the shape of Ollama's list."""
    active = engine.health().active
    return {"models": [] if active is None else [_tag(name, active) for name in names_of(active)]}


def _tag(name: str, model: ModelStatus) -> Json:
    size = "" if model.parameters is None else f"{model.parameters / 1e9:.1f}B"
    return {
        "name": name,
        "model": name,
        "modified_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(STARTED)),
        "digest": model.revision,
        "details": {
            "parent_model": "",
            "format": "safetensors",
            "family": "gptoss",
            "families": ["gptoss"],
            "parameter_size": size,
            "quantization_level": model.quantization,
        },
    }
