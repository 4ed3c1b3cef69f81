"""Strangers who come in numbers, and the proxy that makes everybody look like one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.attacks.world import WITH_SIGN_IN
from tests.playground.test_limits import refusal
from tests.playground.world import running


async def test_who_has_an_account_can_sign_in_where_too_many_strangers_come(tmp_path: Path) -> None:
    async with running(tmp_path, **WITH_SIGN_IN, visitors_per_hour=1) as world:
        answers = []
        for _ in range(2):
            async with world.browser() as browser:
                answers.append((await browser.get("/api/bootstrap")).json()["sign_in"])
                refused = await browser.get("/api/conversations")
        assert [each["required"] for each in answers] == [False, True]
        assert answers[0]["reason"] == ""
        assert "Too many new visitors" in answers[1]["reason"]
        assert "sign in" in answers[1]["reason"]
        assert refusal(refused) == (429, "rate_limited", True)
        assert world.store.totals(datetime.now(UTC)).users == 1


@pytest.mark.parametrize("behind", [False, True])
async def test_the_operator_is_told_once_of_a_proxy_that_nothing_is_known_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, behind: bool
) -> None:
    async with running(tmp_path, behind_proxy=behind) as world, world.browser() as browser:
        for address in ("203.0.113.5", "203.0.113.6"):
            await browser.get("/api/preferences", headers={"X-Forwarded-For": address})
    assert caplog.text.count("BEHIND_PROXY is not set") == (0 if behind else 1)
    assert "203.0.113" not in caplog.text
