"""The date that the model is told is the same wherever one asks from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.playground.world import ask, running, settled

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
}


@pytest.mark.parametrize("path", ["/api/turns", *ASKED])
async def test_the_model_is_told_the_date_that_is_set(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, prompt_date="2031-02-03") as world, world.browser() as browser:
        if path in ASKED:
            assert (await browser.post(path, json=ASKED[path])).status_code == 200
        else:
            await settled(browser, (await ask(browser))["generation"]["id"])
        (request,) = world.engine.requests
        assert "Current date: 2031-02-03" in world.engine.codec.decode(request.prompt_ids)
