"""Every environment variable that the playground reads, validated once.

This module is the only reader of the process environment. ``load_settings`` raises ``SettingsError``
with one line per wrong variable; the command line prints it and exits with status 2.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from playground.settings_accounts import AccountSettings
from playground.settings_backup import BackupSettings
from playground.settings_functions import FunctionSettings
from playground.settings_limits import LimitSettings

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


class SettingsError(Exception):
    """A setting has a value that cannot be used; ``str(error)`` is for the person who set it."""


class Settings(AccountSettings, LimitSettings, BackupSettings, FunctionSettings):
    """The configuration of one process; each field is the environment variable of that name, upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 is every network.")
    port: int = Field(default=7860, ge=1, le=65535, description="The port to listen on.")
    data_dir: Path = Field(default=Path("data"), description="The folder of the database.")
    model: str = Field(
        default="auto",
        min_length=1,
        max_length=1000,
        description="auto, demo, a model's name on the hub, or a local folder.",
    )
    hf_token: SecretStr | None = Field(default=None, description="The hub's access token, for gated models.")
    prompt_date: datetime.date | None = Field(
        default=None,
        description="The date that the model is told, as 2026-11-22, so that a question is the same prompt "
        "on every day; empty is today's (UTC).",
    )
    reproducible: bool = Field(
        default=False, description="On a GPU: the same seed gives the same reply whatever else runs."
    )
    cpu_dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="On a CPU: the number type of the weights; bfloat16 takes half the memory, is faster on "
        "processors that multiply it, and rounds more.",
    )
    public_url: str | None = Field(
        default=None, description="The address that people type, if a proxy is in front."
    )
    behind_proxy: bool = Field(
        default=False, description="Trust the X-Forwarded-* headers of the proxy in front."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names under which people or proxies ask, separated by commas, besides those of "
        "PUBLIC_URL and SPACE_HOST: chat.example.org, .example.org for all that end so, * for any. If it "
        "is empty and others can reach the server, names of private networks are served, too; localhost, "
        "host.docker.internal and addresses in numbers always are.",
    )
    space_id: str | None = Field(default=None, description="Set by Hugging Face Spaces: the Space's name.")
    space_host: str | None = Field(
        default=None, description="Set by Hugging Face Spaces: the Space's host names."
    )
    system: str | None = Field(default=None, description="Set by Hugging Face Spaces to 'spaces'.")
    max_message_chars: int = Field(
        default=32_000, ge=1, le=1_000_000, description="Longest message, in characters."
    )
    max_tokens_default: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Longest reply, in tokens, where the request names no limit.",
    )
    queue_limit: int = Field(default=32, ge=1, le=10_000, description="Replies that may wait for the model.")
    context_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="The conversation, in tokens, that a model must have room for to be listed as fitting; "
        "empty is the model's own limit.",
    )
    model_choice: Literal["local", "everyone", "nobody"] = Field(
        default="local",
        description="Who may change the model in the page: local (only on this machine, or where people can "
        "sign in, only admins), everyone or nobody.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="The bearer token that lets other machines read `/metrics`, and where people can sign in "
        "this one too; without one they cannot.",
    )
    engine_isolation: Literal["auto", "thread", "process"] = Field(
        default="auto",
        description="Where the model runs: in a thread of the server, in a process of its own, or auto: in a "
        "process where there is a CUDA GPU.",
    )
    engine_step_limit: float = Field(
        default=120,
        ge=1,
        le=86_400,
        description="Seconds; when one step of the model takes longer, it hangs and is started anew.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info", description="How much the server writes: debug, info, warning, error or critical."
    )

    @field_validator("prompt_date", mode="before")
    @classmethod
    def _a_date_is_written_out(cls, value: Any) -> Any:
        if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d\Z", value):
            raise ValueError("must look like 2026-11-22")
        return value

    @field_validator("host")
    @classmethod
    def _host_is_an_address(cls, value: str) -> str:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            if not HOST_NAME.match(value):
                raise ValueError("must be an IP address or a host name") from None
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*" and re.search(r"[^a-z0-9._:\[\]\x80-\U0010ffff-]", name):
                raise ValueError(
                    f"{name} is no host name; write chat.example.org, .example.org for all that end so, or *"
                )
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise ValueError("must look like https://playground.example.org")
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def on_space(self) -> bool:
        """Whether this process runs on Hugging Face Spaces, where pages live in an https iframe."""
        return self.system == "spaces" and self.space_id is not None

    @property
    def trusts_proxy(self) -> bool:
        """Whether ``X-Forwarded-*`` headers come from a proxy that sets them."""
        return self.behind_proxy or self.on_space

    @property
    def reachable_from_elsewhere(self) -> bool:
        """See ``LimitSettings``; sign-in and a public address are for others."""
        local = self.host in {"127.0.0.1", "::1", "localhost"}
        return not local or self.trusts_proxy or self.public_url is not None or self.sign_in_available

    @property
    def own_hosts(self) -> frozenset[str]:
        """Host names (with port where one is named) under which people reach this server, as far as known."""
        hosts = [part.strip().lower() for part in (self.space_host or "").split(",")]
        if self.public_url is not None:
            hosts.append(urlsplit(self.public_url).netloc.lower())
        return frozenset(host for host in hosts if host)

    @property
    def isolation(self) -> Literal["auto", "thread", "process"]:
        """``engine_isolation``, where GPUs that are hidden from CUDA are no reason for a process."""
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"}
        return "thread" if hidden and self.engine_isolation == "auto" else self.engine_isolation

    def date_told(self) -> str:
        """The date that prompts tell the model, as 2026-11-22."""
        return (self.prompt_date or datetime.datetime.now(datetime.UTC).date()).isoformat()

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "playground.sqlite3"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (the command line) win, ``None`` in them means not given.

    Raises:
        SettingsError: a value is outside its bounds; one line for each.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [_line(fault["loc"], fault["msg"]) for fault in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _line(location: tuple[int | str, ...], message: str) -> str:
    sentence = message.removeprefix("Value error, ") + "."
    # What is wrong between several settings has no place of its own, and names them itself.
    return f"{str(location[0]).upper()}: {sentence}" if location else sentence


def quiet_libraries() -> None:
    """Turn off what the libraries would report to their makers, unless the environment says otherwise.

    To be called before they are imported, for they read these variables then.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
