"""A disk that fills up, or fails, at its nth operation, and one person's hour on a playground."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.faults.sqlite_vfs import Kind, Operation
from tests.playground.world import World, events, text_of

REPLY = [("analysis", "one two three four"), ("final", "five six seven eight nine ten")]
FULL = {Kind.WRITE: sqlite3.SQLITE_FULL}
UNSYNCED = {Kind.SYNC: sqlite3.SQLITE_IOERR_FSYNC}
UNREADABLE = {Kind.READ: sqlite3.SQLITE_IOERR_READ}
UNOPENED = {Kind.OPEN: sqlite3.SQLITE_CANTOPEN}
PATIENCE = 15.0


@dataclass
class FaultyDisk:
    """The watcher: operations of the kinds in ``codes`` fail from the nth one on until it is repaired."""

    codes: dict[Kind, int]
    left: int = 0
    failed: int = 0

    def break_at(self, number: int) -> None:
        """Let the operations before the one with this number happen."""
        self.left, self.failed = number, 0

    def repair(self) -> None:
        """Room again."""
        self.left = 0

    def __call__(self, operation: Operation) -> int:
        """Fail from the nth on; half of a write still happens, as it does on a full disk."""
        if self.left == 0 or operation.kind not in self.codes:
            return 0
        self.left -= 1
        if self.left > 0:
            return 0
        self.left = 1
        self.failed += 1
        if operation.kind is Kind.WRITE and operation.log:
            half = operation.data[: len(operation.data) // 2]
            _write(operation.path, half, operation.offset)
        return self.codes[operation.kind]


def _write(path: str, data: bytes, offset: int) -> None:
    """Only on files of the log: to open and close the database itself would drop SQLite's locks on it."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(file, data, offset)
    finally:
        os.close(file)


@dataclass
class Hour:
    """What one person does, and what of it was wrong."""

    world: World
    disk: FaultyDisk
    name: str
    file: bytes
    """A download with a conversation, to be put in."""
    sentences: frozenset[tuple[int, str]]
    """Status and code of the refusals that are right here."""
    found: list[str] = field(default_factory=list)
    asked: dict[str, bool] = field(default_factory=dict)
    """Each question, and whether it was acknowledged."""
    replies: list[str] = field(default_factory=list)

    async def spend(self, number: int) -> bool:
        """Everything with a disk that breaks at its nth operation; whether it did."""
        async with self.world.browser() as browser:
            await browser.get("/api/bootstrap")
            talk = await self._ask(browser, "before", None)
            await self._settle(browser)
            await self._make_stale(talk)
            self.disk.break_at(number)
            await self._read(browser, talk)
            for turn in range(2):
                await self._ask(browser, f"during {turn}", talk)
            brought_in = await self._try(browser.post("/api/import", content=self.file))
            renamed = await self._try(browser.patch(f"/api/conversations/{talk}", json={"title": self.name}))
            await self._read(browser, talk)
            broken = self.disk.failed > 0
            self.disk.repair()
            await self._settle(browser)
            await self._compare(browser, talk, brought_in=brought_in, renamed=renamed)
        return broken

    async def _make_stale(self, talk: str | None) -> None:
        """The person's last visit was long ago, so that the next one is worth a note."""
        long_ago = datetime.now(UTC) - timedelta(hours=3)
        statement = text(
            "UPDATE users SET last_seen_at = :then"
            " WHERE id = (SELECT owner_id FROM conversations WHERE id = :talk)"
        )

        def work(session: Session) -> None:
            session.execute(statement, {"then": long_ago.strftime("%Y-%m-%d %H:%M:%S.%f"), "talk": talk})

        await asyncio.to_thread(self.world.store._database.write, work)

    async def _try(self, request: Any) -> bool:
        """Whether it was done; a refusal has to be one of the right ones."""
        answer: httpx.Response = await request
        if answer.is_success:
            return True
        error = answer.json()["error"]
        if (answer.status_code, error["code"]) not in self.sentences or "/" in error["message"]:
            self.found.append(f"{answer.request.url.path}: {answer.status_code} {error}")
        return False

    async def _ask(self, browser: httpx.AsyncClient, words: str, talk: str | None) -> str | None:
        """A question and its reply, in full; the conversation's id."""
        question = f"{self.name} {words}"
        answer = await browser.post("/api/turns", json={"text": question, "conversation_id": talk})
        self.asked[question] = answer.status_code == 202
        if not self.asked[question]:
            error = answer.json()["error"]
            late = (answer.status_code, error["code"]) == (409, "conflict")  # the end is still to be saved
            if (answer.status_code, error["code"]) not in self.sentences and not late:
                self.found.append(f"turn: {answer.status_code} {error}")
            return talk
        turn = answer.json()
        self.replies.append(turn["generation"]["id"])
        talk_id: str = turn["conversation"]["id"]
        try:
            async with asyncio.timeout(PATIENCE):
                seen = await events(browser, self.replies[-1])
        except AssertionError:  # the stream was refused
            if Kind.READ not in self.disk.codes:
                raise
            return talk_id  # who asks cannot be read; the reply goes on all the same
        end = seen[-1]
        codes = {code for _, code in self.sentences} | {None}
        if end.name != "finish" or end.data["error_code"] not in codes:
            self.found.append(f"the stream ended with {end.name} {end.data}")
        if [text_of(seen, index) for index in (0, 1)] != [words for _, words in REPLY]:
            self.found.append("the stream has another text")
        return talk_id

    async def _settle(self, browser: httpx.AsyncClient) -> None:
        """Until no reply waits to be saved."""
        try:
            async with asyncio.timeout(PATIENCE):
                for reply in self.replies:
                    while True:
                        answer = await browser.get(f"/api/generations/{reply}")
                        if answer.status_code != 200:
                            self.found.append(f"reply {reply}: {answer.text}")
                            break
                        if answer.json()["generation"]["status"] not in ("queued", "running"):
                            break
                        await asyncio.sleep(0.01)
        except TimeoutError:
            self.found.append("a reply is not saved")

    async def _read(self, browser: httpx.AsyncClient, talk: str | None) -> None:
        """Reading goes on, unless it is reading itself that fails."""
        for address in ("/api/conversations", f"/api/conversations/{talk}", "/api/search?q=before"):
            done = await self._try(browser.get(address))
            if not done and Kind.READ not in self.disk.codes and Kind.OPEN not in self.disk.codes:
                self.found.append(f"{address} was refused")

    async def _compare(
        self, browser: httpx.AsyncClient, talk: str | None, *, brought_in: bool, renamed: bool
    ) -> None:
        """What was acknowledged is there, what was refused is not, and all goes on."""
        await self._ask(browser, "after", talk)
        await self._settle(browser)
        page = (await browser.get(f"/api/conversations/{talk}")).json()
        there = [each["content"] for each in page["messages"] if each["role"] == "user"]
        if there != [question for question, acknowledged in self.asked.items() if acknowledged]:
            self.found.append(f"asked {self.asked}, there is {there}")
        for reply in self.replies:
            saved = (await browser.get(f"/api/generations/{reply}")).json()
            if [each["content"] for each in saved.get("messages", [])] != [words for _, words in REPLY]:
                self.found.append(f"reply {reply} is {saved}")
            elif saved["generation"]["status"] != "finished":
                self.found.append(f"reply {reply} is {saved['generation']}")
        items = (await browser.get("/api/conversations")).json()["items"]
        if len(items) != 1 + brought_in:
            self.found.append(f"{len(items)} conversations, import {brought_in}")
        told_late = Kind.READ in self.disk.codes  # refused when the answer was read, after the commit
        if (page["conversation"]["title"] == self.name) is not renamed and (renamed or not told_late):
            self.found.append(f"the title is {page['conversation']['title']}, renamed {renamed}")
