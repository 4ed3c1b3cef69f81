"""What the command line reads from the environment when it talks to a server by its address."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """Each field is the environment variable of that name, upper case; ``--api-key`` wins."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    openai_api_key: SecretStr | None = Field(
        default=None, description="The key that is sent to the server of `--url`."
    )
