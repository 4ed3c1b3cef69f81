"""Codex CLI as it is published: it asks, runs what the model calls, and shows what the model answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.types import EngineHealth
from tests.playground.scripted import Script
from tests.playground.world import World, running

HERE = Path(__file__).parent / "codex"
CACHE = Path.home() / ".cache" / "gpt-oss-playground"
INSTALL_SECONDS = 300.0
PATIENCE = 120.0
QUESTION = "Write the file made.txt."
COMMAND = {"cmd": "echo written by a call > made.txt && cat made.txt"}
CALL = Script(
    [
        ("analysis", "I write the file."),
        ("commentary", "I write the file now."),
        ("commentary to=functions.exec_command", json.dumps(COMMAND)),
    ]
)
ANSWER = Script([("analysis", "It is there."), ("final", "The file made.txt is written.")])
PROVIDER = """
model_provider = "playground"
model = "gpt-oss-20b"
[model_providers.playground]
name = "playground"
base_url = "{url}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("npm") is None, reason="Codex CLI comes from npm"),
]


@pytest.fixture(scope="module")
def codex() -> Path:
    """The program, installed once for each lock file."""
    names = ("package.json", "package-lock.json")
    content = b"".join((HERE / name).read_bytes() for name in names)
    folder = CACHE / f"codex-{hashlib.sha256(content).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in names:
            shutil.copy(HERE / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        (folder / "complete").touch()
    return folder / "node_modules" / ".bin" / "codex"


def like_gpt_oss(world: World, *scripts: Script) -> None:
    """The scripted model under a name that Codex knows, with room for its prompt; it plays these scripts."""
    engine, left = world.engine, list(scripts)
    health = engine.health

    def named() -> EngineHealth:
        found = health()
        assert found.active is not None
        model = replace(found.active, name="openai/gpt-oss-20b")
        return replace(found, active=model, target=model)

    engine.context_length = 131_072
    engine.health = named  # type: ignore[method-assign]
    engine.choose = lambda _: left.pop(0)


async def run(codex: Path, world: World, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """One ``codex exec`` in an empty folder; what it tells on its way."""
    home, project = folder / "home", folder / "project"
    home.mkdir()
    project.mkdir()
    (home / "config.toml").write_text(PROVIDER.format(url=world.url), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        str(codex),
        *("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"),
        *(*arguments, QUESTION),
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")},
            "HOME": str(folder),
            "CODEX_HOME": str(home),
            "CODEX_OSS_BASE_URL": f"{world.url}/v1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            told, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()[-2000:] + told.decode()[-2000:]
    return [json.loads(line) for line in told.decode().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("arguments", [(), ("--oss", "--local-provider", "ollama")], ids=["provider", "oss"])
async def test_a_round_trip(codex: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    async with running(tmp_path / "world") as world:
        like_gpt_oss(world, CALL, ANSWER)
        told = await run(codex, world, tmp_path, *arguments)
        items = [each["item"] for each in told if each["type"] == "item.completed"]
        [ran] = [item for item in items if item["type"] == "command_execution"]
        assert (ran["exit_code"], ran["aggregated_output"]) == (0, "written by a call\n")
        said = [item["text"] for item in items if item["type"] == "agent_message"]
        assert said == ["I write the file now.", "The file made.txt is written."]
        assert told[-1]["type"] == "turn.completed"
        assert told[-1]["usage"]["output_tokens"] > 0
        assert (tmp_path / "project" / "made.txt").read_text(encoding="utf-8") == "written by a call\n"
        first, second = world.engine.requests
        written = world.engine.token_ids(CALL)
        given = list(second.prompt_ids)
        # The model reads its own call as it wrote it, with what it said before.
        assert given[: len(first.prompt_ids)] == list(first.prompt_ids)
        assert given[len(first.prompt_ids) :][: len(written)] == written
        assert "written by a call" in world.engine.codec.decode(given[len(first.prompt_ids) + len(written) :])


async def test_a_failure_is_shown(codex: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "world") as world:
        like_gpt_oss(world, Script(fail_at=6))
        with pytest.raises(AssertionError) as caught:
            await run(codex, world, tmp_path)
        assert "The model stopped in the middle." in str(caught.value)
