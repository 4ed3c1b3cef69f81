"""A file that somebody uploads: which format it is in, what is inside of a zip, and the drafts it gives.

Everything is read before anything is stored, and whatever is wrong refuses the whole file.
"""

from __future__ import annotations

import errno
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any

from playground.exchange.import_chatgpt import from_chatgpt
from playground.exchange.import_draft import Allowance, Imported
from playground.exchange.import_json import NOT_A_FILE_OF_CHATS, Data, Document, documents, items
from playground.exchange.import_messages import from_messages, from_sharegpt
from playground.exchange.import_own import check_head, from_own, is_own
from playground.exchange.import_zip import DAMAGED, conversation_entries, looks_like_zip, unpack
from playground.exchange.refused import ImportRefused
from storage.errors import StorageFull

UNPACKED_BYTES = 200_000_000
UNKNOWN = (
    "This file is in none of the formats that can be imported: the playground's own JSON, ChatGPT's export, "
    "ShareGPT, or JSON with messages as OpenAI writes them."
)
NOTHING = "There is no conversation in this file."


def read_file(file: IO[bytes], now: datetime) -> list[Imported]:
    """The conversations of a file, in its order. ``file`` is seekable; what it holds decides, not its name.

    Raises:
        ImportRefused: with the sentence for the person who chose the file.
    """
    allowance = Allowance()
    if not looks_like_zip(file):
        return _some(_read_json(file, allowance, now))
    imported: list[Imported] = []
    budget = UNPACKED_BYTES
    with _damage_refused():
        archive = zipfile.ZipFile(file)
    with archive:
        for entry in conversation_entries(archive):
            with TemporaryFile() as unpacked:
                with _damage_refused():
                    budget -= unpack(archive, entry, unpacked, budget)
                imported += _read_json(unpacked, allowance, now)
    return _some(imported)


@contextmanager
def _damage_refused() -> Iterator[None]:
    """What zipfile raises for a damaged file; a disk without room is another matter."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull from None
        raise ImportRefused(DAMAGED) from None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, LookupError):
        raise ImportRefused(DAMAGED) from None


def _some(imported: list[Imported]) -> list[Imported]:
    if not any(each.draft is not None for each in imported):
        raise ImportRefused(NOTHING)
    return imported


def _read_json(file: IO[bytes], allowance: Allowance, now: datetime) -> list[Imported]:
    with _mapped(file) as data:
        return [
            each for document in documents(data) for each in _read_document(data, document, allowance, now)
        ]


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[Data]:
    """The bytes of a file that need not fit into memory."""
    file.flush()
    if file.seek(0, 2) == 0:
        raise ImportRefused("This file is empty.")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _read_document(data: Data, document: Document, allowance: Allowance, now: datetime) -> Iterator[Imported]:
    head = document.head(data)
    if document.is_list and len(head) != len(document.items):
        raise ImportRefused(NOT_A_FILE_OF_CHATS)
    if document.inside and len(head["conversations"]) != len(document.items):
        raise ImportRefused(NOT_A_FILE_OF_CHATS)
    values = items(data, document)
    if document.inside and is_own(head):
        check_head(head)
        for value in values:
            yield from_own(value, allowance, now)
        return
    if document.inside:  # one conversation of ShareGPT, whose messages stand under the same word
        yield from_sharegpt(list(values), head, allowance, now)
        return
    loose: list[dict[str, Any]] = []
    for value in values:
        if document.is_list and "role" in value:
            loose.append(value)
        elif loose:
            raise ImportRefused(UNKNOWN)
        else:
            yield _read_conversation(value, allowance, now)
    if loose:
        yield from_messages(loose, {}, allowance, now)


def _read_conversation(value: dict[str, Any], allowance: Allowance, now: datetime) -> Imported:
    """One conversation by what it holds."""
    if is_own(value):
        check_head(value)
        raise ImportRefused(NOTHING)
    if "mapping" in value:
        return from_chatgpt(value, allowance, now)
    if "messages" in value:
        return from_messages(value["messages"], value, allowance, now)
    if "conversations" in value:
        return from_sharegpt(value["conversations"], value, allowance, now)
    raise ImportRefused(UNKNOWN)
