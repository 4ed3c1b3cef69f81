"""What a disk may hold after the power went: a model of files, fed with every operation of SQLite.

Only what was synced is certain. Of what was written since, each sector may have reached the disk or not, in
any order, or hold garbage; a file that was made, cut or deleted may still be as before, until its folder is
synced.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.faults.sqlite_vfs import Kind, Operation

SECTOR = 512


class Fate(StrEnum):
    """What becomes of everything that was not synced."""

    DROPPED = "dropped"
    KEPT = "kept"
    TORN = "torn"


@dataclass(slots=True)
class _File:
    """The certain bytes of a file, and what was done to it since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)


class DiskModel:
    """All files of a folder, live and as they are certain to be."""

    def __init__(self) -> None:
        self._live: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}

    @property
    def unsynced(self) -> bool:
        """Whether losing the power now may lose anything."""
        return self._live != self._durable or any(file.pending for file in self._live.values())

    def take(self, operation: Operation) -> None:
        """One operation that is carried out."""
        file = self._live.setdefault(operation.path, _File())
        match operation.kind:
            case Kind.WRITE | Kind.TRUNCATE:
                file.pending.append(operation)
            case Kind.SYNC:
                for pending in file.pending:
                    _apply(file.durable, pending)
                file.pending.clear()
            case Kind.DELETE:
                del self._live[operation.path]
        if operation.durable_name:
            self._durable = dict(self._live)

    def rebuild(self, folder: Path, fate: Fate, chance: random.Random) -> None:
        """Write what the disk may hold now into an empty folder."""
        for path in sorted(self._live.keys() | self._durable.keys()):
            name = self._durable.get(path)
            if fate is Fate.KEPT or (fate is Fate.TORN and chance.random() < 0.5):
                name = self._live.get(path)
            if name is not None:
                (folder / Path(path).name).write_bytes(_content(name, fate, chance))


def _content(file: _File, fate: Fate, chance: random.Random) -> bytes:
    """One possible content of a file."""
    content = bytearray(file.durable)
    for operation in file.pending if fate is not Fate.DROPPED else ():
        for part in [operation] if fate is Fate.KEPT else _torn(operation, chance):
            _apply(content, part)
    return bytes(content)


def _torn(operation: Operation, chance: random.Random) -> list[Operation]:
    """The sectors of a write that reach the disk, a few of them as garbage."""
    if operation.kind is Kind.TRUNCATE:
        return [operation] if chance.random() < 0.5 else []
    parts, start = [], operation.offset
    end = start + len(operation.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        data = operation.data[start - operation.offset : stop - operation.offset]
        draw = chance.random()
        if draw < 0.1:
            data = chance.randbytes(len(data))
        if draw < 0.6:
            parts.append(Operation(Kind.WRITE, operation.path, start, data))
        start = stop
    return parts


def _apply(content: bytearray, operation: Operation) -> None:
    """Change the bytes of a file as this operation does."""
    end = operation.offset + len(operation.data)
    if operation.kind is Kind.TRUNCATE:
        del content[operation.offset :]
    content.extend(bytes(max(0, end - len(content))))
    if operation.kind is Kind.WRITE:
        content[operation.offset : end] = operation.data
