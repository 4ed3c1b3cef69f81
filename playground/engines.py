"""The engine as the settings want it: the same for the server and for the command line."""

from __future__ import annotations

from inference.engine import EngineConfig
from playground.settings import Settings


def engine_config(settings: Settings, *, fallback: bool = True) -> EngineConfig:
    """How a ``LocalEngine`` works here. ``fallback``: the demonstration model may stand in for another."""
    return EngineConfig(
        model=settings.model,
        demo_folder=settings.data_dir / "models",
        token=settings.hf_token.get_secret_value() if settings.hf_token else None,
        queue_limit=settings.queue_limit,
        isolation=settings.isolation,
        step_limit=settings.engine_step_limit,
        cpu_dtype=settings.cpu_dtype,
        reproducible=settings.reproducible,
        fallback=fallback,
    )
