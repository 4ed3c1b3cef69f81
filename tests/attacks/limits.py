"""Settings for attacks that are tried thousands of times: what stops them must be what is tested."""

from __future__ import annotations

from typing import Any

UNLIMITED: dict[str, Any] = dict.fromkeys(
    (
        "requests_per_minute",
        "address_requests_per_minute",
        "replies_at_once",
        "guest_replies_at_once",
        "guests_per_address",
        "imports_per_hour",
        "stored_megabytes",
        "guest_stored_megabytes",
        "free_disk_megabytes",
        "share_reads_per_minute",
        "sign_ins_per_minute",
        "visitors_per_hour",
        "address_connections",
    ),
    0,
)
"""No limit by person, address or time."""
