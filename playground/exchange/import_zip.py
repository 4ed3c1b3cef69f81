"""A zip that a stranger made: its table of contents is bounded before it is read, its entries while they are.

Only the entries with conversations are unpacked, each to a file without a name; no entry's name is ever used
as a path.
"""

from __future__ import annotations

import re
import struct
import zipfile
from typing import IO

from playground.exchange.refused import ImportRefused

ENTRIES = 10_000
TABLE_BYTES = 2_000_000
RATIO = 100
FREE_BYTES = 1_000_000
"""An entry may unpack to this much whatever the ratio."""
CHUNK = 1 << 18
END = struct.Struct("<4s4H2LH")
END_MARK, LARGE_MARK = b"PK\x05\x06", b"PK\x06\x07"
LARGE_MARK_BYTES = 20
CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json\Z", re.DOTALL)
JSON = re.compile(r"[^/]+\.jsonl?\Z", re.DOTALL)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

DAMAGED = "This zip file is damaged."
TOO_MUCH = "This zip file unpacks to more than can be imported."
ODD = "This zip file is of a kind that cannot be read here. Unpack it and import the JSON file in it."


def looks_like_zip(file: IO[bytes]) -> bool:
    """Whether the file begins like a zip.

    Raises:
        ImportRefused: it does, but its table of contents is not one that can be read safely.
    """
    file.seek(0)
    if file.read(2) != b"PK":
        return False
    size = file.seek(0, 2)
    begin = size - END.size - LARGE_MARK_BYTES
    file.seek(max(begin, 0))
    tail = file.read()
    if len(tail) < END.size:
        raise ImportRefused(DAMAGED)
    mark, _, _, _, entries, table, _, comment = END.unpack(tail[-END.size :])
    # Only the plain form: a comment or the form for very large files could name another table than this one.
    if mark != END_MARK or comment or tail.startswith(LARGE_MARK):
        raise ImportRefused(ODD)
    if entries > ENTRIES or table > TABLE_BYTES:
        raise ImportRefused("This zip file holds too many files.")
    return True


def conversation_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files with conversations: ChatGPT's by their name, else every JSON file at the top.

    Raises:
        ImportRefused: there is none, or one is encrypted or packed in an unusual way.
    """
    # As ZipInfo.is_dir, which stumbles over an entry without a name.
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(entries) > ENTRIES:
        raise ImportRefused("This zip file holds too many files.")
    chosen = [entry for entry in entries if CONVERSATIONS.match(entry.filename)]
    chosen = chosen or [entry for entry in entries if JSON.match(entry.filename)]
    if not chosen:
        raise ImportRefused("There is no JSON file with conversations in this zip file.")
    for entry in chosen:
        if entry.flag_bits & 0x1 or entry.compress_type not in METHODS:
            raise ImportRefused(ODD)
    return sorted(chosen, key=lambda entry: entry.filename)


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: IO[bytes], budget: int) -> int:
    """Write one entry to ``target``; the number of bytes. What the zip says of its sizes is not believed.

    Raises:
        ImportRefused: it gives more than ``budget`` bytes, or more than what it is packed into allows.
    """
    most = min(budget, max(FREE_BYTES, RATIO * entry.compress_size))
    written = 0
    with archive.open(entry) as source:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > most:
                raise ImportRefused(TOO_MUCH)
            target.write(chunk)
    return written
