"""The application as ``app.run`` puts it together, but for its engine, which plays scripts at leisure.

    python -m tests.faults.slow_app PORT FOLDER

A question with "short" in it is answered up to its third word, and the rest once there is a file ``release``
in the folder; any other gets a word now and then, for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import app
from inference import engine
from inference.harmony import HarmonyCodec
from inference.types import GenerationRequest
from playground import server
from playground.settings import load_settings
from tests.playground.scripted import Script, ScriptedEngine

PAUSE = 0.4
SHORT_TEXT = "one two three four five six seven eight"
LONG_TEXT = "word " * 3000


class Leisure(ScriptedEngine):
    """Takes the place of the engine on this machine."""

    def __init__(self, folder: Path, codec: HarmonyCodec) -> None:
        super().__init__(codec, context_length=20_000)
        self._release = folder / "release"
        self._released = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._short = Script([("final", SHORT_TEXT)], hold=self._released, hold_at=6)
        self._long = Script([("final", LONG_TEXT)], pause=PAUSE)
        self.choose = self._choice

    def start(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await super().close()

    def _choice(self, request: GenerationRequest) -> Script:
        asked = self.codec.decode(request.prompt_ids).rpartition("<|start|>user")[2]
        return self._short if "short" in asked else self._long

    async def _watch(self) -> None:
        while not self._release.exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(0.05)
        self._released.set()


def main() -> None:
    """Serve until asked to stop."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])

    def leisure(*_: Any) -> Leisure:
        return Leisure(folder, HarmonyCodec.load())

    engine.LocalEngine = leisure  # type: ignore[assignment, misc]
    settings = load_settings(host="127.0.0.1", port=port, data_dir=folder, max_tokens_default=10_000)
    app.run(settings, server.listen(settings))


if __name__ == "__main__":
    main()
