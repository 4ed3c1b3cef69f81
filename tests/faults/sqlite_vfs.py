"""Everything that SQLite does to its files, watched and made to fail: a thin layer over its own files.

``watched(folder, watcher)`` registers a VFS in the very library that Python's ``sqlite3`` uses and makes it
the default, so the product runs unchanged on it. It copies SQLite's own VFS and hands every call on to it;
only reads, writes, truncations, syncs and deletions of files below ``folder`` are told to the watcher first,
who may answer with a code of SQLite. Memory that is shared between connections (the log's index) is not
watched: it is no data, and is made anew after a crash.

Source: sqlite.org/c3ref/vfs.html and io_methods.html.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

OK = 0
OPEN_READWRITE = 0x2
OPEN_MAIN_JOURNAL = 0x800
OPEN_WAL = 0x80000


class Kind(StrEnum):
    """What is about to happen to a file."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. ``offset`` and ``data`` belong to a write, ``offset`` is the size of a truncation.

    ``durable_name``: with this sync or deletion SQLite also syncs the folder. ``log``: the file is a
    write-ahead log or a rollback journal, which SQLite makes itself.
    """

    kind: Kind
    path: str
    offset: int = 0
    data: bytes = b""
    durable_name: bool = False
    log: bool = False


Watcher = Callable[[Operation], int]
"""Told before each operation; returns 0 to let it happen, or the code of SQLite with which it fails."""

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_READ_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", _OPEN),
        ("xDelete", _DELETE),
        ("others", c_void_p * 14),  # xAccess to xNextSystemCall (version 3)
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("iVersion", c_int),
        ("xClose", _CLOSE),
        ("xRead", _READ_WRITE),
        ("xWrite", _READ_WRITE),
        ("xTruncate", _TRUNCATE),
        ("xSync", _SYNC),
        ("others", c_void_p * 13),  # xFileSize to xUnfetch (version 3)
    )


class _File(ctypes.Structure):
    _fields_ = (("pMethods", POINTER(_Methods)),)


@dataclass(slots=True)
class _Opened:
    """A file that is open: its path, and whether its name is still to be made durable."""

    path: str
    original: Any
    log: bool
    new_log: bool


def _library() -> Any:
    """SQLite as Python's own module is linked to it: looked up through that module."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = (c_char_p,)
    library.sqlite3_vfs_register.argtypes = (POINTER(_Vfs), c_int)
    library.sqlite3_vfs_unregister.argtypes = (POINTER(_Vfs),)
    return library


class _Layer:
    """The VFS and its callbacks, which must live as long as a connection that was opened through it."""

    def __init__(self, original: Any, folder: Path, watcher: Watcher, name: bytes) -> None:
        self._original = original
        self._base = original.contents
        self._folder = os.fsencode(folder.resolve()) + b"/"
        self._watcher = watcher
        self._opened: dict[int, _Opened] = {}
        self._methods: dict[int, _Methods] = {}
        self._kept = (_READ_WRITE(self._read), _READ_WRITE(self._write), _TRUNCATE(self._truncate))
        self._kept_too = (_SYNC(self._sync), _CLOSE(self._close))
        self.vfs = _Vfs()
        ctypes.pointer(self.vfs)[0] = self._base
        self.vfs.pNext = None
        self.vfs.zName = name
        self.vfs.xOpen = _OPEN(self._open)
        self.vfs.xDelete = _DELETE(self._delete)

    def _tell(self, kind: Kind, opened: _Opened, offset: int = 0, data: bytes = b"") -> int:
        new_name = kind is Kind.SYNC and opened.new_log
        return self._watcher(Operation(kind, opened.path, offset, data, new_name, opened.log))

    def _open(self, _vfs: int, name: int, file: int, flags: int, out: int) -> int:
        path = ctypes.string_at(name) if name else b""
        watched = path.startswith(self._folder) and flags & OPEN_READWRITE
        log = bool(flags & (OPEN_WAL | OPEN_MAIN_JOURNAL))
        new = bool(watched) and not os.path.exists(path)
        if watched:
            refused = self._watcher(Operation(Kind.OPEN, os.fsdecode(path), log=log))
            if refused:
                ctypes.cast(file, POINTER(_File)).contents.pMethods = POINTER(_Methods)()
                return refused
        code = int(self._base.xOpen(ctypes.addressof(self._base), name, file, flags, out))
        if code == OK and watched:
            opened = ctypes.cast(file, POINTER(_File)).contents
            original = opened.pMethods.contents
            self._opened[file] = _Opened(os.fsdecode(path), original, log, log and new)
            opened.pMethods = ctypes.pointer(self._methods_over(original))
        return code

    def _methods_over(self, original: _Methods) -> _Methods:
        """One table for each of SQLite's own."""
        key = ctypes.addressof(original)
        if key not in self._methods:
            table = _Methods()
            ctypes.pointer(table)[0] = original
            table.xRead, table.xWrite, table.xTruncate = self._kept
            table.xSync, table.xClose = self._kept_too
            self._methods[key] = table
        return self._methods[key]

    def _delete(self, _vfs: int, name: int, sync_folder: int) -> int:
        path = ctypes.string_at(name)
        if path.startswith(self._folder):
            operation = Operation(Kind.DELETE, os.fsdecode(path), durable_name=bool(sync_folder))
            if refused := self._watcher(operation):
                return refused
        return int(self._base.xDelete(ctypes.addressof(self._base), name, sync_folder))

    def _read(self, file: int, data: int, count: int, offset: int) -> int:
        opened = self._opened[file]
        return self._tell(Kind.READ, opened, offset) or int(opened.original.xRead(file, data, count, offset))

    def _write(self, file: int, data: int, count: int, offset: int) -> int:
        opened = self._opened[file]
        refused = self._tell(Kind.WRITE, opened, offset, ctypes.string_at(data, count))
        return refused or int(opened.original.xWrite(file, data, count, offset))

    def _truncate(self, file: int, size: int) -> int:
        opened = self._opened[file]
        return self._tell(Kind.TRUNCATE, opened, size) or int(opened.original.xTruncate(file, size))

    def _sync(self, file: int, flags: int) -> int:
        opened = self._opened[file]
        code = self._tell(Kind.SYNC, opened) or int(opened.original.xSync(file, flags))
        opened.new_log = opened.new_log and code != OK
        return code

    def _close(self, file: int) -> int:
        return int(self._opened.pop(file).original.xClose(file))


_numbers = itertools.count(1)
_all: list[_Layer] = []  # SQLite may hold a pointer to any of them for as long as the process lives


@contextmanager
def watched(folder: Path, watcher: Watcher) -> Iterator[None]:
    """Every connection that is opened in this block and writes below ``folder`` is watched from then on."""
    library = _library()
    layer = _Layer(library.sqlite3_vfs_find(None), folder, watcher, b"watched-%d" % next(_numbers))
    _all.append(layer)
    library.sqlite3_vfs_register(ctypes.byref(layer.vfs), 1)
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(layer.vfs))
