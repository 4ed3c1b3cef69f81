"""The thread that fetches and loads models while the worker goes on answering with what is there."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from inference import catalog
from inference.catalog import ModelSource
from inference.errors import InferenceError, ModelLoadError
from inference.types import ModelStage, ModelStatus
from inference.worker.checkpoint import inspect
from inference.worker.device import Machine, look
from inference.worker.loading import load
from inference.worker.messages import Board, EngineConfig, Stopped
from inference.worker.network import LoadedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelReady:
    """To the worker: this model is loaded and warm. ``meanwhile``: it stands in for the wanted one."""

    model: LoadedModel
    meanwhile: bool


class Loader:
    """Loads one model after another; a newer wish replaces an older one that is still on its way."""

    def __init__(self, config: EngineConfig, board: Board, deliver: Callable[[ModelReady], None]) -> None:
        self._config = config
        self._board = board
        self._deliver = deliver
        self._wishes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._machine: Machine | None = None
        self._delivered = False
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def want(self, model: str) -> None:
        """Load this model as soon as possible."""
        self._wishes.put(model)

    def close(self) -> None:
        """Stop at the next opportunity."""
        self._closed.set()
        self._wishes.put(None)

    def _run(self) -> None:
        while (name := self._wishes.get()) is not None:
            if not self._superseded():
                self._fulfil(name)

    def _superseded(self) -> bool:
        return self._closed.is_set() or not self._wishes.empty()

    def _fulfil(self, name: str) -> None:
        shown = ModelStatus(name=_shown(name), stage=ModelStage.QUEUED)
        self._board.set_target(shown)
        try:
            if self._machine is None:
                self._machine = look(self._config.device)
            source = catalog.resolve(self._choose(name, self._machine))
            shown = replace(shown, name=source.name, demonstration=source.demonstration)
            self._board.set_target(shown)
            if catalog.answers_meanwhile(source):
                self._stand_in()
            self._hand_over(source, self._machine, self._board.set_target, meanwhile=False)
        except Stopped:
            return
        except Exception as error:
            self._board.set_target(_failed(shown, error))
            self._stand_in()

    def _choose(self, name: str, machine: Machine) -> str:
        if name.strip().lower() != catalog.AUTO:
            return name
        return catalog.choose_auto(machine.free_bytes() if machine.is_gpu else None, machine.native_mxfp4)

    def _stand_in(self) -> None:
        """Let the demonstration model answer, if nothing does yet."""
        if not self._config.fallback or self._delivered or self._machine is None or self._superseded():
            return
        try:
            source = catalog.resolve(catalog.DEMO)
            self._hand_over(source, self._machine, lambda _status: None, meanwhile=True)
        except Stopped:
            return
        except Exception:
            logger.exception("The demonstration model could not be loaded.")

    def _hand_over(
        self, source: ModelSource, machine: Machine, show: Callable[[ModelStatus], None], *, meanwhile: bool
    ) -> None:
        """Fetch and load, and give the model to the worker; ``show`` is told each step."""
        self._deliver(ModelReady(self._make(source, machine, show), meanwhile))
        self._delivered = True

    def _make(
        self, source: ModelSource, machine: Machine, show: Callable[[ModelStatus], None]
    ) -> LoadedModel:
        status = ModelStatus(source.name, ModelStage.LOADING, demonstration=source.demonstration)

        def step(status: ModelStatus) -> None:
            if self._superseded():
                raise Stopped
            show(status)

        folder, revision = self._folder(source, status, step)
        status = replace(status, revision=revision)
        step(status)

        def progress(detail: str) -> None:
            stage = ModelStage.WARMING if detail.startswith("Warming") else ModelStage.LOADING
            step(replace(status, stage=stage, detail=detail))

        model = load(inspect(folder), machine, self._config, progress)
        model.status = replace(
            model.status, name=source.name, revision=revision, demonstration=source.demonstration
        )
        return model

    def _folder(
        self, source: ModelSource, status: ModelStatus, step: Callable[[ModelStatus], None]
    ) -> tuple[Path, str]:
        """The checkpoint's folder and revision."""
        if source.repo is None:
            if source.folder is None:
                return _demonstration(self._config.demo_folder)
            return source.folder, _fingerprint(source.folder)

        def progress(done: int, total: int, eta: float | None) -> None:
            step(
                replace(
                    status,
                    stage=ModelStage.DOWNLOADING,
                    detail="Downloading",
                    bytes_done=done,
                    bytes_total=total,
                    eta_seconds=eta,
                )
            )

        from inference.download import fetch  # the hub library is loaded only when a model comes from there

        step(replace(status, stage=ModelStage.DOWNLOADING, detail="Asking the hub"))
        fetched = fetch(
            source.repo,
            progress,
            cache_dir=self._config.hub_cache,
            endpoint=self._config.endpoint,
            token=self._config.token,
        )
        return fetched.folder, fetched.revision


def _shown(name: str) -> str:
    """A name for people while nothing is known of it yet; never a path."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _demonstration(folder: Path | None) -> tuple[Path, str]:
    """The demonstration model's checkpoint folder, written out on first use, and its revision."""
    from inference.demonstration import pack

    if folder is not None and (folder / "config.json").is_file():
        return folder, _fingerprint(folder)
    return pack.unpack(folder or Path.home() / ".cache" / "gpt-oss-playground" / "demo"), pack.revision()


def _fingerprint(folder: Path) -> str:
    """Tells one state of a local folder from another without reading its weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.name == "config.json":
            digest.update(path.read_bytes())
        elif path.suffix in {".json", ".safetensors"}:
            digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return f"local-{digest.hexdigest()[:12]}"


def _failed(status: ModelStatus, error: Exception) -> ModelStatus:
    if isinstance(error, ModelLoadError):
        logger.warning("A model could not be loaded: %s", error)
        return replace(status, stage=ModelStage.FAILED, note=str(error), error_code=error.code)
    logger.error("A model could not be loaded.", exc_info=error)
    if isinstance(error, InferenceError):
        return replace(status, stage=ModelStage.FAILED, note=str(error), error_code="load_failed")
    note = "The model could not be loaded. The server's log says more."
    return replace(status, stage=ModelStage.FAILED, note=note, error_code="load_failed")
