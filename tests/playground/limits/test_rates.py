"""Windows of time, whose address a request counts for, and waits in words."""

from __future__ import annotations

import pytest

from playground.errors import PlaygroundError
from playground.limits.addresses import address_of, network_of
from playground.limits.memory import BoundedWindows
from playground.limits.rates import Rates
from playground.limits.words import try_again
from playground.settings_limits import LimitSettings


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_refusals_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    rates = Rates(LimitSettings(), clock)
    assert [rates.refused_again("here") for _ in range(21)] == [False] * 20 + [True]
    assert not rates.refused_again("elsewhere")
    clock.now += 61
    assert not rates.refused_again("here")


def test_a_window_moves_with_its_own_clock() -> None:
    clock = Clock()
    rates = Rates(LimitSettings(requests_per_minute=2), clock)
    rates.request_of("ada")
    clock.now += 30
    rates.request_of("ada")
    for wait, moved in ((30, 0), (20, 10)):
        clock.now += moved
        with pytest.raises(PlaygroundError) as refused:
            rates.request_of("ada")
        assert (refused.value.status, refused.value.retry_after) == (429, wait)
        rates.request_of(f"bob {wait}")
    clock.now += 20
    rates.request_of("ada")


def test_no_limit_is_none() -> None:
    rates = Rates(LimitSettings(requests_per_minute=0))
    for _ in range(10_000):
        rates.request_of("ada")
    assert rates.windows.keys == 0


def test_what_is_remembered_is_bounded() -> None:
    windows = BoundedWindows(Clock(), most_keys=100, most_entries=500)
    for number in range(10_000):
        assert windows.acquire_entry(f"key {number}", 3, 60)
    assert windows.keys == 100
    for _ in range(20):
        for number in range(100):
            windows.acquire_entry(f"key {number}", 20, 60)
    assert windows.entries <= 500
    assert windows.entries == sum(windows.get(f"key {number}") for number in range(10_000))
    windows.clear("key 99")
    assert windows.reset() == windows.keys == 0 or windows.entries == 0


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("[2001:db8:1:2:bbbb::9]:443", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("not an address", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_network_is_one_customers(host: str, network: str) -> None:
    assert network_of(host) == network


@pytest.mark.parametrize(
    ("lines", "hops", "network"),
    [
        (["203.0.113.1, 198.51.100.2"], 0, "127.0.0.1"),
        (["203.0.113.1, 198.51.100.2"], 1, "198.51.100.2"),
        (["203.0.113.1", "198.51.100.2"], 1, "198.51.100.2"),
        (["203.0.113.1, 198.51.100.2"], 2, "203.0.113.1"),
        (["203.0.113.1, 198.51.100.2"], 9, "203.0.113.1"),
        (["203.0.113.1, "], 1, "203.0.113.1"),
        ([], 1, "127.0.0.1"),
    ],
)
def test_only_what_the_proxies_added_is_believed(lines: list[str], hops: int, network: str) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": headers}
    assert address_of(scope, hops=hops) == network


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (20, "20 seconds"), (61, "61 seconds"), (125, "3 minutes"), (7300, "3 hours")],
)
def test_a_wait_is_told_in_words_and_never_too_short(seconds: float, words: str) -> None:
    assert try_again(seconds) == f"Try again in {words}."
