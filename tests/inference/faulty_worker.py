"""The real worker, in which prompts that begin with certain ids set off a fault."""

from __future__ import annotations

import threading
import time

from inference.types import FinishReason, Timings, TokensFinished, TokensGenerated, Usage
from inference.worker.core import DeviceLost
from inference.worker.main import Worker
from inference.worker.messages import Submit

HANG, LOSE_DEVICE = 319, 318

go_on = threading.Event()
"""Set by a test, it ends the hang of a worker that runs in the test's own process."""


class FaultyWorker(Worker):
    """Answers as the real one does, but for the prompts above."""

    def _submit(self, command: Submit) -> None:
        match command.request.prompt_ids[0]:
            case 319:
                go_on.wait()
                self._disturb(command.request.request_id)
            case 318:
                raise DeviceLost
            case _:
                super()._submit(command)

    def _disturb(self, request_id: str) -> None:
        """What a worker that was given up may still say."""
        time.sleep(0.01)
        self._emit(TokensGenerated(request_id, (7, 7, 7)))
        self._emit(TokensFinished(request_id, FinishReason.STOP, Usage(), Timings()))
        self._board.set_target(None)
