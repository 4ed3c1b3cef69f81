"""A21: secrets stay where they belong: none in a log, an answer to others, the database or a backup of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from playground.accounts.identity import PLAIN_NAME
from storage.backup import backup
from tests.attacks.flows import Flow
from tests.attacks.loud_app import BREAK
from tests.attacks.own_provider import ACCESS_TOKEN, CLIENT_ID, CLIENT_SECRET, OwnProvider, own_provider
from tests.attacks.raw import raw
from tests.playground.world import TIMEOUT, events
from tests.tried import Tell

ROOT = Path(__file__).parents[2]
DATABASE = "playground.sqlite3"
SECRETS = {
    "HF_TOKEN": "hf_canary0of0the0hub",
    "SECRET_KEY": "canary-of-the-secret-key-that-is-long-enough",
    "METRICS_TOKEN": "canary-of-the-metrics-token",
    "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
}
WORDS = {
    "question": "canary-of-a-question",
    "title": "canary-of-a-title",
    "instructions": "canary-of-instructions",
    "search": "canary-of-a-search",
    "file": "canary-of-a-file",
}


@dataclass
class Loud:
    """The running process, what it has written, and all that must not be found."""

    url: str
    data: Path
    log: Path
    process: asyncio.subprocess.Process
    secrets: dict[str, str] = field(default_factory=dict)

    def logged(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def in_log(self) -> set[str]:
        """The names of the secrets and words that the log holds."""
        text = self.logged()
        return {name for name, value in {**self.secrets, **WORDS}.items() if value in text}


@asynccontextmanager
async def loud(folder: Path, provider: OwnProvider, *arguments: str) -> AsyncIterator[Loud]:
    """Start the application and wait until it answers; end it in order."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **known,
        **SECRETS,
        "LOG_LEVEL": "debug",
        "DATA_DIR": str(folder / "data"),
        "OAUTH_CLIENT_ID": CLIENT_ID,
        "OPENID_PROVIDER_URL": provider.url,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "tests.attacks.loud_app", str(port), *arguments]
    log = folder / "log"
    with log.open("wb") as target:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=target, stderr=target
        )
    app = Loud(f"http://127.0.0.1:{port}", folder / "data", log, process, dict(SECRETS))
    try:
        async with asyncio.timeout(TIMEOUT):
            while "ready" not in app.logged():
                assert process.returncode is None, app.logged()
                await asyncio.sleep(0.1)
        yield app
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT):
            await process.wait()


async def live(app: Loud, provider: OwnProvider) -> list[httpx.Response]:
    """A day of somebody's, with all that can go wrong; the answers that were errors."""
    failed: list[httpx.Response] = []

    async def note(answer: httpx.Response) -> None:
        if answer.status_code >= 400:
            await answer.aread()
            failed.append(answer)

    hooks = {"response": [note]}
    async with httpx.AsyncClient(base_url=app.url, timeout=TIMEOUT, event_hooks=hooks) as browser:
        await browser.get("/")
        app.secrets["guest's cookie"] = browser.cookies[PLAIN_NAME]
        flow = Flow(browser)
        await flow.begin()
        await flow.consent()
        await flow.come_back()
        assert (await browser.get("/api/bootstrap")).json()["me"]["kind"] == "account"
        app.secrets |= {"session's cookie": browser.cookies[PLAIN_NAME], "provider's token": ACCESS_TOKEN}
        app.secrets["code"] = flow.back.partition("code=")[2].partition("&")[0]
        made = await browser.post("/api/account/keys", json={"name": "A key", "scopes": ["conversations"]})
        app.secrets["key"] = made.json()["secret"]
        conversation = await talk(browser)
        body = {"conversation_id": conversation, "include_reasoning": True}
        share = (await browser.post("/api/shares", json=body)).json()["share"]
        app.secrets["link"] = share["path"].removeprefix("/s/")
        for path in (share["path"], f"/api/shared/{app.secrets['link']}"):
            assert (await browser.get(path)).status_code == 200
        await mistakes(app, browser, conversation)
        await broken(app, browser)
    return failed


async def talk(browser: httpx.AsyncClient) -> str:
    """Questions, one of which the engine breaks on; the conversation."""
    settings = {"instructions": WORDS["instructions"]}
    conversation = ""
    for text in (WORDS["question"], f"{WORDS['question']} {BREAK}"):
        turn = (await browser.post("/api/turns", json={"text": text, "settings": settings})).json()
        await events(browser, turn["generation"]["id"])
        conversation = conversation or turn["conversation"]["id"]
    await browser.patch(f"/api/conversations/{conversation}", json={"title": WORDS["title"]})
    await browser.get("/api/search", params={"q": WORDS["search"]})
    return conversation


async def mistakes(app: Loud, browser: httpx.AsyncClient, conversation: str) -> None:
    """Requests that are refused, each with something secret in it."""
    word, key = WORDS["question"], app.secrets["key"]
    await browser.post("/api/turns", content=f'{{"text": "{word}", ')
    await browser.post("/api/turns", json={"text": word, "effort": word, "unknown": word})
    await browser.post("/api/turns", json={"text": word, "conversation_id": word})
    await browser.post("/api/import", content=f'[{{"role": "{WORDS["file"]}", "content": 1}}]')
    await browser.get(f"/api/conversations/{conversation}/export", params={"format": word})
    await browser.get("/oauth/callback", params={"code": app.secrets["code"], "state": word})
    await browser.get("/metrics", headers={"authorization": f"Bearer {SECRETS['METRICS_TOKEN']}x"})
    await browser.get("/api/conversations", headers={"authorization": f"Bearer {key}x"})
    await browser.get("/api/account", headers={"authorization": f"Bearer {key}"})
    cookie = app.secrets["session's cookie"]
    await raw(app.url, f"/api/x?key={key}", headers={"Cookie": f"playground={cookie}"})
    for line in (f"GET /{cookie} HTTP/9", f"{key} / HTTP/1.1", f"GET / HTTP/1.1\r\nCookie {cookie}"):
        url = httpx.URL(app.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{line}\r\n\r\n".encode())
        await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
        await writer.wait_closed()


async def broken(app: Loud, browser: httpx.AsyncClient) -> None:
    """The same person, while a table of the database is gone."""
    file = app.data / DATABASE
    with closing(sqlite3.connect(file, timeout=TIMEOUT)) as database:
        database.execute("ALTER TABLE preferences RENAME TO away")
        database.commit()
        turn = await browser.post("/api/turns", json={"text": WORDS["question"]})
        settings = {"settings": {"instructions": WORDS["instructions"]}}
        change = await browser.patch("/api/preferences", json=settings)
        assert turn.status_code >= 500 or change.status_code >= 500
        database.execute("ALTER TABLE away RENAME TO preferences")
        database.commit()


def kept(folder: Path, values: dict[str, str]) -> set[str]:
    """Which of these stand, readable, in any file of the folder."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {name for name, value in values.items() if any(value.encode() in data for data in files)}


async def test_no_secret_is_written_or_told(tmp_path: Path, tell: Tell) -> None:
    async with own_provider() as provider:
        async with loud(tmp_path, provider) as app:
            failed = await live(app, provider)
        assert app.in_log() == set(), app.logged()
        assert app.logged().count("\n") > 1, "it does write a log"
        assert len(failed) >= 8
        for answer in failed:
            for name, value in app.secrets.items():
                assert value not in answer.text, (name, answer.request.url)
            assert "Traceback" not in answer.text
            assert str(tmp_path) not in answer.text
            assert "sqlite" not in answer.text.lower()
    assert kept(app.data, app.secrets) == {"link"}, "links are shown to their owner again and again"
    file = app.data / DATABASE
    (tmp_path / "backups").mkdir()
    backup(file, tmp_path / "backups" / "copy.db")
    assert kept(tmp_path / "backups", app.secrets | WORDS) >= {"link", "question"}
    assert kept(tmp_path / "backups", app.secrets) == {"link"}
    tell(f"{len(app.secrets)} secrets and {len(WORDS)} texts: none in the log or in {len(failed)} errors")


async def test_a_log_of_every_request_is_caught(tmp_path: Path) -> None:
    """Planted hole: uvicorn's access log, which holds addresses with all that stands in them."""
    async with own_provider() as provider, loud(tmp_path, provider, "--access-log") as app:
        await live(app, provider)
        assert app.in_log() >= {"link", "code", "search"}
