"""The settings of scheduled backups; a part of ``playground.settings.Settings``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class BackupSettings(BaseSettings):
    """Where backups go by themselves, how often, and how many are kept."""

    backup_dir: Path | None = Field(
        default=None,
        description="The folder for backups by themselves, a mounted bucket too; without one there are none.",
    )
    backup_every_hours: float = Field(
        default=24, ge=0.1, le=8784, description="Hours between two of these backups."
    )
    backup_keep: int = Field(
        default=7, ge=1, le=10_000, description="How many of them are kept; the oldest are removed."
    )
