"""The settings of sign-in, sessions and roles; a part of ``playground.settings.Settings``."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

HUGGING_FACE = "huggingface.co"
Names = Annotated[tuple[str, ...], NoDecode]


class AccountSettings(BaseSettings):
    """Who may come in, how, and for how long."""

    oauth_client_id: str | None = Field(
        default=None, max_length=500, description="Turns sign-in on: the client id that the provider gave."
    )
    oauth_client_secret: SecretStr | None = Field(
        default=None, description="The secret that belongs to it; a public client has none."
    )
    oauth_scopes: str = Field(
        default="openid profile email inference-api",
        pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$",
        max_length=1000,
        description="What people are asked to grant, separated by spaces.",
    )
    openid_provider_url: str = Field(
        default=f"https://{HUGGING_FACE}",
        description="Who signs people in: the address of any OpenID Connect provider.",
    )
    sign_in: Literal["optional", "required"] = Field(
        default="optional", description="Whether people must sign in: optional or required."
    )
    allowed_users: Names = Field(
        default=(),
        description="Only these people, separated by commas: the provider's user names, its ids written "
        "`id:...`, or verified mail addresses. They must sign in.",
    )
    allowed_orgs: Names = Field(
        default=(),
        description="Only members of these organisations or groups, separated by commas. They must sign in.",
    )
    admin_users: Names = Field(
        default=(),
        description="Who administers, written like `ALLOWED_USERS`; empty is the Space's creator, and "
        "elsewhere the first who ever signs in.",
    )
    session_idle_days: float = Field(
        default=14, gt=0, le=400, description="Days without a visit after which a sign-in ends."
    )
    session_days: float = Field(
        default=90, gt=0, le=400, description="Days after which a sign-in ends in any case."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Encrypts the providers' tokens in the database; empty makes the file `secret.key` in "
        "the data folder.",
    )
    space_creator_user_id: str | None = Field(
        default=None, description="Set by Hugging Face Spaces: whoever made the Space."
    )

    @field_validator("allowed_users", "allowed_orgs", "admin_users", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("oauth_scopes")
    @classmethod
    def _asks_for_openid(cls, value: str) -> str:
        if "openid" not in value.split(" "):
            raise ValueError("must contain openid")
        return value

    @field_validator("openid_provider_url")
    @classmethod
    def _provider_is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        host = parts.hostname or ""
        plain = parts.scheme == "http" and is_loopback_name(host)
        if not host or parts.query or parts.fragment or not (parts.scheme == "https" or plain):
            raise ValueError("must look like https://login.example.org")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _someone_can_come_in(self) -> Self:
        if self.sign_in_required and self.oauth_client_id is None:
            raise ValueError("SIGN_IN=required, ALLOWED_USERS and ALLOWED_ORGS need OAUTH_CLIENT_ID")
        useless = self.model_fields_set & {"oauth_client_secret", "openid_provider_url", "admin_users"}
        if self.oauth_client_id is None and useless:
            names = ", ".join(sorted(name.upper() for name in useless))
            raise ValueError(f"{names}: without OAUTH_CLIENT_ID nobody can sign in")
        return self

    @property
    def sign_in_available(self) -> bool:
        """Whether people can sign in."""
        return self.oauth_client_id is not None

    @property
    def sign_in_restricted(self) -> bool:
        """Whether only some of those who can sign in may come in."""
        return bool(self.allowed_users or self.allowed_orgs)

    @property
    def sign_in_required(self) -> bool:
        """Whether nobody gets in without signing in."""
        return self.sign_in == "required" or self.sign_in_restricted

    @property
    def provider_name(self) -> str:
        """What people know the provider as."""
        host = urlsplit(self.openid_provider_url).hostname or ""
        return "Hugging Face" if host == HUGGING_FACE else host


def is_loopback_name(host: str) -> bool:
    """Whether a host name means this machine: only there is plain http safe."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
