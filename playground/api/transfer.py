"""Downloads of conversations, and the upload of a file with conversations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import StrEnum
from tempfile import TemporaryFile
from typing import IO, Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from playground import views
from playground.accounts.actor import CurrentOwner
from playground.api.dependencies import NamedStore, RatesDep, RoomDep, StoreDep, UploadsDep
from playground.errors import PlaygroundError
from playground.exchange.archive import attachment, file_name, write_zip
from playground.exchange.export_html import html
from playground.exchange.export_json import file_pieces
from playground.exchange.export_markdown import markdown
from playground.exchange.import_draft import Imported
from playground.exchange.import_file import read_file
from playground.exchange.transcript import Transcript, transcript
from playground.limits.room import Room
from playground.responses.encoder import response_object
from storage.errors import NotFound
from storage.records import ConversationRecord, ConversationTree
from storage.store import Store
from storage.stored import draft_bytes

router = APIRouter()

CHUNK = 1 << 16
_readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="import")
"""Two files at a time: reading one may take a core and its memory for some seconds."""


class Format(StrEnum):
    """What a download can be."""

    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


ENDINGS = {Format.MARKDOWN: "md", Format.JSON: "json", Format.HTML: "html"}
TYPES = {
    Format.MARKDOWN: "text/markdown; charset=utf-8",
    Format.JSON: "application/json",
    Format.HTML: "text/html; charset=utf-8",
}
FormatQuery = Annotated[Format, Query()]


@router.get("/conversations/{conversation_id}/export")
def export_one(
    conversation_id: str,
    owner: CurrentOwner,
    store: NamedStore,
    format: FormatQuery = Format.MARKDOWN,
    reasoning: bool = True,
) -> Response:
    """One conversation: JSON has all of its branches, the others have the shown one."""
    if format is Format.JSON:
        tree = store.export_conversation(owner, conversation_id)
        title = tree.conversation.title
        text = "".join(file_pieces([tree], reasoning=reasoning, exported_at=datetime.now(UTC)))
    else:
        shown = _transcript(store, owner, conversation_id, reasoning=reasoning)
        title = shown.conversation.title
        text = _drawn(shown, format)
    headers = {
        "content-disposition": attachment(f"{file_name(title)}.{ENDINGS[format]}"),
        "cache-control": "no-store",
    }
    return Response(text, media_type=TYPES[format], headers=headers)


@router.get("/export")
def export_all(
    owner: CurrentOwner,
    store: StoreDep,
    format: FormatQuery = Format.JSON,
    reasoning: bool = True,
) -> Response:
    """All conversations: one JSON file, else a zip with a file for each."""
    now = datetime.now(UTC)
    file = TemporaryFile()  # noqa: SIM115 - closed once it was sent
    try:
        if format is Format.JSON:
            for piece in file_pieces(_trees(store, owner), reasoning=reasoning, exported_at=now):
                file.write(piece.encode())
        else:
            write_zip(file, _files(store, owner, format, reasoning=reasoning), ENDINGS[format])
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    ending = "json" if format is Format.JSON else "zip"
    headers = {
        "content-disposition": attachment(f"gpt-oss-playground-{now.date().isoformat()}.{ending}"),
        "content-length": str(size),
        "cache-control": "no-store",
    }
    kind = TYPES[Format.JSON] if format is Format.JSON else "application/zip"
    return StreamingResponse(
        _chunks(file), media_type=kind, headers=headers, background=BackgroundTask(file.close)
    )


@router.get("/export/responses")
def export_responses(owner: CurrentOwner, store: StoreDep) -> Response:
    """The stored responses of the OpenAI API, each a line of JSON with its ``input``, the oldest first."""
    headers = {
        "content-disposition": attachment(f"responses-{datetime.now(UTC).date().isoformat()}.jsonl"),
        "cache-control": "no-store",
    }
    return StreamingResponse(_lines(store, owner), media_type="application/jsonl", headers=headers)


@router.post("/import")
async def import_file(
    request: Request,
    owner: CurrentOwner,
    store: StoreDep,
    rates: RatesDep,
    uploads: UploadsDep,
    room: RoomDep,
) -> views.Json:
    """Store the conversations of a file, all of them or, where anything is wrong with it, none."""
    with uploads.one(owner, room.allowance.network):
        rates.import_of(owner)
        await run_in_threadpool(room.take, 0, "file")  # before the file comes
        with TemporaryFile() as file:
            await _receive(request, file)
            reading = asyncio.get_running_loop().run_in_executor(_readers, _take, store, room, file)
            imported, records = await reading
    return {
        "conversations": [views.conversation(record) for record in records],
        "report": [_report(each) for each in imported],
    }


def _take(store: Store, room: Room, file: IO[bytes]) -> tuple[list[Imported], list[ConversationRecord]]:
    """Read all of the file, then store all that it gave."""
    imported = read_file(file, datetime.now(UTC))
    drafts = [each.draft for each in imported if each.draft is not None]
    room.take(draft_bytes(drafts), "file")
    return imported, list(store.insert_conversations(room.owner_id, drafts))


def _report(imported: Imported) -> views.Json:
    return {
        "source": imported.source,
        "title": imported.title,
        "taken": imported.taken,
        "left_out": imported.left_out,
    }


async def _receive(request: Request, file: IO[bytes]) -> None:
    """Write the request's body, whose size is bounded before it comes here, to a file.

    Raises:
        PlaygroundError: it did not arrive whole.
    """
    try:
        async for chunk in request.stream():
            await run_in_threadpool(file.write, chunk)
    except ClientDisconnect:
        raise PlaygroundError("invalid_request", "The file did not arrive whole.") from None


def _transcript(store: Store, owner: str, conversation_id: str, *, reasoning: bool) -> Transcript:
    return transcript(
        store.get_conversation(owner, conversation_id),
        store.path(owner, conversation_id),
        store.conversation_generations(owner, conversation_id),
        reasoning=reasoning,
    )


def _drawn(shown: Transcript, format: Format) -> str:
    return html(shown) if format is Format.HTML else markdown(shown)


def _trees(store: Store, owner: str) -> Iterator[ConversationTree]:
    """All conversations; one that was deleted meanwhile is not among them."""
    for conversation_id in store.conversation_ids(owner):
        try:
            yield store.export_conversation(owner, conversation_id)
        except NotFound:
            continue


def _files(store: Store, owner: str, format: Format, *, reasoning: bool) -> Iterator[tuple[str, str]]:
    """Title and text of each conversation."""
    for conversation_id in store.conversation_ids(owner):
        try:
            shown = _transcript(store, owner, conversation_id, reasoning=reasoning)
        except NotFound:
            continue
        yield shown.conversation.title, _drawn(shown, format)


def _lines(store: Store, owner: str) -> Iterator[str]:
    for record in store.all_responses(owner):
        whole = {**response_object(record), "input": list(record.input_items)}
        yield json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The file's bytes; it is closed behind the last one, or when the reader has gone."""
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
