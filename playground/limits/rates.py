"""How often: by person and by address, in moving windows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from playground.errors import PlaygroundError
from playground.limits.memory import BoundedWindows
from playground.limits.words import try_again
from playground.settings_limits import LimitSettings

REFUSALS = RateLimitItemPerMinute(20)
"""More than a page or a patient program ever gets."""


@dataclass(frozen=True, slots=True)
class Rule:
    """So much in so long a time; ``sentence`` says to a person what was too much."""

    item: RateLimitItem
    sentence: str


class Rates:
    """The rates of one server. Every method raises ``PlaygroundError`` (429) when it is too much.

    Safe from many threads. ``clock`` is monotonic seconds.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.windows = BoundedWindows(clock)
        self._limiter = MovingWindowRateLimiter(self.windows)
        minute, hour = RateLimitItemPerMinute, RateLimitItemPerHour
        self._person = _rule(minute, settings.requests_per_minute, "These were too many requests at once.")
        self._address = _rule(
            minute, settings.address_requests_per_minute, "Too many requests came from your network."
        )
        self._imports = _rule(hour, settings.imports_per_hour, "You have imported very many files.")
        self._shares = _rule(
            minute, settings.share_reads_per_minute, "Too many shared conversations were asked for."
        )
        self._sign_ins = _rule(
            minute, settings.sign_ins_per_minute, "There were too many attempts to sign in from your network."
        )
        self._visitors = _rule(
            hour, settings.visitors_per_hour, "Too many new visitors came from your network."
        )

    def request_of(self, user_id: str) -> None:
        """One request of a person."""
        self._take(self._person, "person", user_id)

    def request_from(self, address: str) -> None:
        """One request from an address."""
        self._take(self._address, "address", address)

    def import_of(self, user_id: str) -> None:
        """One file that a person imports."""
        self._take(self._imports, "import", user_id)

    def share_read_from(self, address: str) -> None:
        """One look at a shared conversation, or at none."""
        self._take(self._shares, "share", address)

    def sign_in_from(self, address: str) -> None:
        """One attempt to sign in."""
        self._take(self._sign_ins, "sign-in", address)

    def visitor_from(self, address: str) -> None:
        """One new identity."""
        self._take(self._visitors, "visitor", address)

    def refused_again(self, address: str) -> bool:
        """Whether this address has been refused often in this minute already. Counts one refusal."""
        return not self._limiter.hit(REFUSALS, "refusal", address)

    def _take(self, rule: Rule | None, *key: str) -> None:
        if rule is None or self._limiter.hit(rule.item, *key):
            return
        reset = self._limiter.get_window_stats(rule.item, *key).reset_time
        wait = max(1, math.ceil(reset - self._clock()))
        raise PlaygroundError(
            "rate_limited", f"{rule.sentence} {try_again(wait)}", status=429, retry_after=wait
        )


def _rule(kind: type[RateLimitItem], amount: int, sentence: str) -> Rule | None:
    return Rule(kind(amount), sentence) if amount else None
