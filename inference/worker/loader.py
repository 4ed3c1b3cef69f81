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
from inference.worker.checkpoint import Checkpoint, inspect
from inference.worker.device import Machine, give_memory_back, look
from inference.worker.loading import check_tensors, fits_beside, load
from inference.worker.messages import Board, EngineConfig, Stopped
from inference.worker.network import LoadedModel

logger = logging.getLogger(__name__)


CHANGING = "The model is being changed. Try again in a moment."
NOTHING_LOADED = "No model is loaded. Choose one first."


@dataclass(frozen=True, slots=True)
class ModelReady:
    """To the worker: this model is loaded and warm. ``meanwhile``: it stands in for the wanted one."""

    model: LoadedModel
    meanwhile: bool


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """To the worker: take no new requests (they are told ``why``), give up all models, then call ``done``.

    Replies that are being written may take a while to end, but not for ever.
    """

    why: str
    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class InUse:
    """The model that was delivered last."""

    source: ModelSource
    held_bytes: int


class Loader:
    """Loads one model after another; a newer wish replaces an older one that is still on its way.

    A model is loaded beside the one in use, which answers until then, where there is memory for both. Else
    the one in use is given up first, and loaded again if the new one turns out not to load.
    """

    def __init__(
        self, config: EngineConfig, board: Board, deliver: Callable[[ModelReady | MakeRoom], None]
    ) -> None:
        self._config = config
        self._board = board
        self._deliver = deliver
        self._wishes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._machine: Machine | None = None
        self._in_use: InUse | None = None
        self._given_up: ModelSource | None = None
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    @property
    def machine(self) -> Machine | None:
        """What models run on, once it was looked at."""
        return self._machine

    def start(self) -> None:
        """Begin to wait for wishes."""
        self._thread.start()

    def want(self, model: str) -> None:
        """Load this model as soon as possible, or give up the one in use for ``none``."""
        self._wishes.put(model)

    def close(self) -> None:
        """Stop at the next opportunity."""
        self._closed.set()
        self._room.set()
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
            machine = self._look()
            if name.strip().lower() == catalog.NONE:
                self._unload(shown)
                return
            source = catalog.resolve(self._choose(name, machine))
            shown = replace(shown, name=source.name, demonstration=source.demonstration)
            self._board.set_target(shown)
            if catalog.answers_meanwhile(source):
                self._stand_in()
            self._hand_over(source, machine, self._board.set_target, meanwhile=False)
            return
        except Stopped:
            failed = None  # another wish has come
        except Exception as error:
            failed = _failed(shown, error)
        # Only now, for the exception held what was half loaded.
        give_memory_back(nothing_loaded=False)
        if failed is not None:
            self._recover(failed)

    def _look(self) -> Machine:
        if self._machine is None:
            self._machine = look(self._config.device)
            self._board.set_machine(self._machine.info())
        return self._machine

    def _choose(self, name: str, machine: Machine) -> str:
        if name.strip().lower() != catalog.AUTO:
            return name
        free = machine.free_alone(self._loaded_bytes()) if machine.is_gpu else None
        return catalog.choose_auto(free, machine.native_mxfp4)

    def _loaded_bytes(self) -> int:
        return 0 if self._in_use is None else self._in_use.held_bytes

    def _unload(self, shown: ModelStatus) -> None:
        """Give up the model in use, and load no other."""
        self._make_room(shown, NOTHING_LOADED)
        self._given_up = None
        self._board.set_target(None)

    def _recover(self, failed: ModelStatus) -> None:
        """Let what had to go for the model that failed answer again, or else the demonstration model."""
        source, self._given_up = self._given_up, None
        if source is None or self._superseded():
            self._given_up = source
            self._board.set_target(failed)
            self._stand_in()
            return
        self._board.set_target(replace(failed, note=f"{failed.note} {source.name} is loaded again."))
        if not self._substitute(source):
            self._board.set_target(failed)
            self._board.close("")
            self._stand_in()

    def _stand_in(self) -> None:
        """Let the demonstration model answer, if nothing does yet."""
        if self._config.fallback and self._in_use is None:
            self._substitute(catalog.resolve(catalog.DEMO))

    def _substitute(self, source: ModelSource) -> bool:
        """Let a model answer in the place of the wanted one, which stays the target; False if it cannot."""
        if self._machine is None or self._superseded():
            return True
        try:
            self._hand_over(source, self._machine, lambda _status: None, meanwhile=True)
            return True
        except Stopped:
            given_up = True
        except Exception:
            logger.exception("The model %s could not be loaded.", source.name)
            given_up = False
        give_memory_back(nothing_loaded=False)
        return given_up

    def _hand_over(
        self, source: ModelSource, machine: Machine, show: Callable[[ModelStatus], None], *, meanwhile: bool
    ) -> None:
        """Fetch and load, and give the model to the worker; ``show`` is told each step."""
        ready = ModelReady(self._make(source, machine, show), meanwhile)
        self._in_use, self._given_up = InUse(source, ready.model.held_bytes), None
        self._deliver(ready)

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

        model = self._load(inspect(folder), machine, status, progress)
        model.status = replace(
            model.status, name=source.name, revision=revision, demonstration=source.demonstration
        )
        return model

    def _load(
        self, checkpoint: Checkpoint, machine: Machine, status: ModelStatus, progress: Callable[[str], None]
    ) -> LoadedModel:
        """Load a checkpoint beside the model in use, or in its place."""
        if self._in_use is not None:
            check_tensors(checkpoint)  # a damaged folder is no reason to give anything up
            if not fits_beside(checkpoint, machine, self._config, self._loaded_bytes()):
                self._make_room(status, CHANGING)
        try:
            return load(checkpoint, machine, self._config, progress)
        except ModelLoadError as error:
            if self._in_use is None or error.code != "not_enough_memory":
                raise
        self._make_room(status, CHANGING)  # it was to fit, but something else had taken the memory
        return load(checkpoint, machine, self._config, progress)

    def _make_room(self, status: ModelStatus, why: str) -> None:
        """Have the worker give up what is loaded, and wait until its memory is free.

        Raises:
            Stopped: the worker ends.
        """
        self._room.clear()
        self._board.set_target(
            replace(status, stage=ModelStage.LOADING, detail="Waiting for running replies to end")
        )
        if not self._closed.is_set():
            self._deliver(MakeRoom(why, self._room.set))
            self._room.wait()
        if self._closed.is_set():
            raise Stopped
        if self._in_use is not None:
            self._given_up, self._in_use = self._in_use.source, None

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
