"""Models from the hub, into the hub library's ordinary cache, with bytes and remaining time.

Only what a model needs is fetched: its safetensors, their index, and the JSON files beside them. Files that
are complete stay; a connection that breaks is resumed where it broke.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from inference.catalog import gigabytes
from inference.errors import ModelLoadError
from inference.worker.checkpoint import read_config, weight_files

logger = logging.getLogger(__name__)

DownloadProgress = Callable[[int, int, float | None], None]

ETA_WINDOW = 20.0
REPORT_EVERY = 0.2
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete checkpoint folder in the cache, and the commit that it is a copy of."""

    folder: Path
    revision: str


def fetch(
    repo: str,
    progress: DownloadProgress,
    *,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Fetched:
    """Bring a model into the cache; ``progress`` gets bytes done, bytes in all and seconds left.

    Without a network a copy that is complete in the cache is used. The architecture is checked before any
    weight is fetched.

    Raises:
        ModelLoadError: no_network, model_not_found, model_gated, not_gpt_oss, corrupt_model or disk_full.
        Stopped: ``progress`` raised it, or whatever else it raises to stop.
    """
    where: dict[str, Any] = {"cache_dir": cache_dir, "endpoint": endpoint, "token": token}
    try:
        # One attempt each: without a network the answer must not take minutes.
        info = HfApi(endpoint=endpoint, token=token).model_info(repo, files_metadata=True, timeout=_TIMEOUT)
        revision = info.sha or ""
        files = _wanted(info.siblings or [])
        if not any(file.rfilename == "config.json" for file in files):
            raise ModelLoadError("This is not a gpt-oss model: it has no config.json.", "not_gpt_oss")
        # By the branch's name and not by the commit: the cache then remembers what the branch stood for.
        hf_hub_download(repo, "config.json", **where)
        hf_hub_download(repo, "config.json", revision=revision, **where)
        folder = _cached_folder(repo, revision, cache_dir)
        read_config(folder)
        if not any(file.rfilename.endswith(".safetensors") for file in files):
            raise ModelLoadError("This model has no safetensors weights to load.", "corrupt_model")
        _fetch_all(repo, revision, files, _Meter(files, progress), where)
        return Fetched(folder, revision)
    except (httpx2.HTTPError, OSError) as error:
        cached = _from_cache(repo, cache_dir) if _is_offline(error) else None
        if cached is None:
            _explain(error)
        logger.info("The hub cannot be reached; the cached copy of the model is used.")
        return cached


def cached(repo: str, cache_dir: Path | None = None) -> Fetched | None:
    """The copy in the cache that was fetched last, if one has all of its weights. Asks no network."""
    return _from_cache(repo, cache_dir)


def _wanted(siblings: list[RepoSibling]) -> list[RepoSibling]:
    """The files of the top folder that loading needs: not other formats of the same weights in subfolders."""
    return [
        file
        for file in siblings
        if "/" not in file.rfilename and file.rfilename.endswith((".safetensors", ".json"))
    ]


def _cached_folder(repo: str, revision: str, cache_dir: Path | None) -> Path:
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
    return cache / f"models--{repo.replace('/', '--')}" / "snapshots" / revision


def _fetch_all(
    repo: str, revision: str, files: list[RepoSibling], meter: _Meter, where: dict[str, Any]
) -> None:
    """Fetch what is missing, one file after another: the hub's library itself splits up large ones."""
    folder = _cached_folder(repo, revision, where["cache_dir"])
    missing = [file for file in files if not (folder / file.rfilename).exists()]
    _check_disk(folder, sum(file.size or 0 for file in missing))
    for file in files:
        if file not in missing:
            meter.add(file.size or 0)

    for file in missing:
        hf_hub_download(repo, file.rfilename, revision=revision, tqdm_class=meter.bar_class(), **where)
    meter.report(force=True)


def _check_disk(folder: Path, needed: int) -> None:
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise ModelLoadError(
            f"The disk is too full: the download needs {gigabytes(needed)}, and {gigabytes(free)} are free.",
            "disk_full",
        )


class _Meter:
    """Adds up the bytes of all files and reckons the time left from the last seconds' speed."""

    def __init__(self, files: list[RepoSibling], progress: DownloadProgress) -> None:
        self._total = sum(file.size or 0 for file in files)
        self._progress = progress
        self._lock = threading.Lock()  # the library may count from threads of its own
        self._done = 0
        self._reported = 0.0
        self._history: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> None:
        """``count`` more bytes are there (fewer, when a broken transfer begins anew)."""
        with self._lock:
            self._done += count
        self.report()

    def report(self, *, force: bool = False) -> None:
        """Tell the progress, a few times a second at most."""
        with self._lock:
            now = time.monotonic()
            if not force and now - self._reported < REPORT_EVERY:
                return
            self._reported = now
            self._history.append((now, self._done))
            while now - self._history[0][0] > ETA_WINDOW:
                self._history.popleft()
            began, had = self._history[0]
            speed = (self._done - had) / (now - began) if now > began else 0.0
            left = self._total - self._done
            eta = left / speed if speed > 0 else None
            self._progress(min(self._done, self._total), self._total, eta)

    def bar_class(self) -> type[Any]:
        """A stand-in for tqdm's class that counts into this meter: the part of its interface that is used."""
        meter = self

        class Bar:
            def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
                meter.add(initial)

            def update(self, count: float | None = 1) -> None:
                meter.add(int(count or 0))

            def update_transfer(self, count: float | None = 1) -> None:
                """Bytes on the wire; only those that reached the file are counted."""

            def set_postfix_str(self, *_: Any, **__: Any) -> None:
                """Nothing is drawn."""

            set_transfer_postfix_str = set_description = refresh = close = set_postfix_str

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing to clean up."""

        return Bar


def _from_cache(repo: str, cache_dir: Path | None) -> Fetched | None:
    """The copy in the cache that was fetched last, if there is a complete one."""
    snapshots = _cached_folder(repo, "any", cache_dir).parent
    for folder in sorted(snapshots.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            read_config(folder)
            weight_files(folder)
        except ModelLoadError:
            continue
        return Fetched(folder, folder.name)
    return None


def _is_offline(error: Exception) -> bool:
    """Whether the hub could not be reached or did not work, as against: it gave an answer."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        return _is_offline(error.__cause__)
    return isinstance(error, httpx2.TransportError | OfflineModeIsEnabled | LocalEntryNotFoundError)


def _explain(error: Exception) -> NoReturn:
    """Turn the hub library's error into a sentence.

    Raises:
        ModelLoadError: always.
    """
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, GatedRepoError) or status == 403:
        text, code = (
            "Access to this model is restricted. Ask its owner for access and set a hub token.",
            "model_gated",
        )
    elif isinstance(cause, RevisionNotFoundError | RepositoryNotFoundError) or status in {401, 404}:
        text, code = "There is no such model on the hub, or it is private.", "model_not_found"
    elif isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}:
        text, code = "The disk is full, so the model could not be saved.", "disk_full"
    elif _is_offline(error):
        text, code = "The model hub cannot be reached. Check the network and try again.", "no_network"
    elif "Consistency check failed" in str(cause):
        text, code = "The download arrived incomplete. Try again.", "no_network"
    else:
        logger.error("A download failed.", exc_info=error)
        text, code = "The model could not be fetched. The server's log says more.", "load_failed"
    raise ModelLoadError(text, code) from error
