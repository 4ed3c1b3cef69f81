"""The settings that bound what one person, one address and one connection may take."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

MEGABYTE = 1_000_000


class LimitSettings(BaseSettings):
    """A part of ``Settings``. A limit of 0 is none; all are generous for one person on their own machine."""

    requests_per_minute: int = Field(
        default=1200,
        ge=0,
        le=1_000_000,
        description="Requests of one person in a minute; 0 is any.",
    )
    address_requests_per_minute: int = Field(
        default=6000,
        ge=0,
        le=1_000_000,
        description="Requests that may come from one address in a minute; 0 is any.",
    )
    replies_at_once: int = Field(
        default=8,
        ge=0,
        le=10_000,
        description="Replies of one person at the same time; 0 is any, as it is unless it is set where only "
        "this machine can reach the server. Further requests to the OpenAI APIs wait in line.",
    )
    guest_replies_at_once: int = Field(
        default=4,
        ge=0,
        le=10_000,
        description="The same for those who have not signed in, where signing in is possible; 0 is any.",
    )
    guests_per_address: int = Field(
        default=4,
        ge=0,
        le=10_000,
        description="Those who ask from one address without an account may together have as many replies at "
        "once and tokens a day as so many guests; 0 is any, as it is where only this machine can reach the "
        "server.",
    )
    tokens_per_day: int = Field(
        default=0, ge=0, description="Tokens that one person's replies may have in a day (UTC); 0 is any."
    )
    guest_tokens_per_day: int = Field(
        default=0,
        ge=0,
        description="The same for those who have not signed in, where signing in is possible; 0 is any.",
    )
    imports_per_hour: int = Field(
        default=60, ge=0, le=1_000_000, description="Files that one person may import in an hour; 0 is any."
    )
    stored_megabytes: int = Field(
        default=1000,
        ge=0,
        le=1_000_000_000,
        description="Megabytes that one person's conversations and links may take; 0 is any, as it is unless "
        "it is set where only this machine can reach the server. Asked when a file is imported, a link is "
        "made, a shared conversation is copied or a turn begins.",
    )
    guest_stored_megabytes: int = Field(
        default=200,
        ge=0,
        le=1_000_000_000,
        description="The same for those who have not signed in, where signing in is possible; 0 is any.",
    )
    free_disk_megabytes: int = Field(
        default=200,
        ge=0,
        le=1_000_000_000,
        description="While less than this is free on the disk nothing is imported, shared or copied, and new "
        "guests begin nothing; 0 is never, as it is unless it is set where only this machine can reach the "
        "server.",
    )
    share_reads_per_minute: int = Field(
        default=240,
        ge=0,
        le=1_000_000,
        description="Shared conversations that one address may ask for in a minute; 0 is any.",
    )
    sign_ins_per_minute: int = Field(
        default=30,
        ge=0,
        le=1_000_000,
        description="Attempts to sign in that one address may make in a minute; 0 is any.",
    )
    visitors_per_hour: int = Field(
        default=300,
        ge=0,
        le=1_000_000,
        description="New identities that one address may get in an hour; 0 is any.",
    )
    response_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Days that stored responses of the OpenAI API are kept unused; 0 is for ever.",
    )
    max_connections: int = Field(
        default=4000, ge=10, le=100_000, description="Connections that may be open at the same time."
    )
    address_connections: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Open connections of one address; 0 is any. Behind a proxy it does not count.",
    )
    proxy_hops: int = Field(
        default=1,
        ge=1,
        le=10,
        description="How many proxies are in front, each of which adds to X-Forwarded-For.",
    )
    drain_seconds: float = Field(
        default=25,
        ge=0,
        le=3600,
        description="Seconds that running replies still get when the server is asked to stop.",
    )

    @property
    def reachable_from_elsewhere(self) -> bool:
        """Whether anybody but the people of this machine can get here."""
        return True

    @property
    def places(self) -> int:
        """Replies of one person at the same time; 0 is any."""
        return self._for_others("replies_at_once")

    @property
    def stored_bytes(self) -> int:
        """What one person may have stored; 0 is any."""
        return self._for_others("stored_megabytes") * MEGABYTE

    @property
    def guest_stored_bytes(self) -> int:
        """The same for guests, where others sign in."""
        return self.guest_stored_megabytes * MEGABYTE

    @property
    def free_disk_bytes(self) -> int:
        """What is to stay free on the disk; 0 is nothing."""
        return self._for_others("free_disk_megabytes") * MEGABYTE

    def _for_others(self, name: str) -> int:
        """A limit that means other people: on a machine of one's own there is none unless it is set."""
        chosen = name in self.model_fields_set or self.reachable_from_elsewhere
        return int(getattr(self, name)) if chosen else 0
