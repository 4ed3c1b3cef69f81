"""Whether a fetched model is what the hub has: every file by its hash, every weight file by its header."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from inference.errors import ModelLoadError
from inference.worker.checkpoint import inspect

PART_BYTES = 8 * 1024 * 1024
SHA256_CHARS, SHA1_CHARS = 64, 40


def verify(folder: Path, progress: Callable[[int, int], None]) -> list[str]:
    """The names of the files that are damaged, which are removed so that the next fetch brings them again.

    In the hub's cache a file is a link to a blob whose name is its hash: SHA-256 of large files, git's
    SHA-1 of the others. ``progress`` gets bytes done and bytes in all. Raises ModelLoadError for a folder
    whose files are whole and yet no model.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    total, done = sum(path.stat().st_size for path in files), 0
    damaged: list[str] = []
    for path in files:
        blob = path.resolve()
        before = done

        def further(count: int, before: int = before) -> None:
            progress(before + count, total)

        if _hash_of(blob, further) not in ("", blob.name):
            damaged.append(path.name)
            path.unlink()
            blob.unlink(missing_ok=True)
        done += path.stat().st_size if path.exists() else 0
    if not damaged:
        try:
            inspect(folder)
        except ModelLoadError as error:
            raise ModelLoadError(f"The files are those of the hub, and yet: {error}", error.code) from None
    return damaged


def _hash_of(blob: Path, progress: Callable[[int], None]) -> str:
    """The hash that the blob's name should be; empty where the name is none."""
    if len(blob.name) == SHA256_CHARS:
        digest = hashlib.sha256()
    elif len(blob.name) == SHA1_CHARS:
        digest = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return ""
    done = 0
    with blob.open("rb") as file:
        while part := file.read(PART_BYTES):
            digest.update(part)
            done += len(part)
            progress(done)
    return digest.hexdigest()
