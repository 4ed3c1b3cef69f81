"""The application in a process of its own, as talkative as an operator can make it.

``python -m tests.attacks.loud_app PORT [--access-log]`` serves with the settings of the environment, the
product's own logging, and the scripted engine, which breaks on a question that says so.
"""

from __future__ import annotations

import logging
import sys

from inference.harmony import HarmonyCodec
from inference.types import GenerationRequest
from playground import server
from playground.cli import serve
from playground.settings import load_settings, quiet_libraries
from playground.ui import shell
from playground.web import create_app
from storage.store import Store
from tests.playground.scripted import Script, ScriptedEngine

BREAK = "break in the middle"


def main(port: int, access_log: bool) -> None:
    """Serve until SIGTERM."""
    settings = load_settings(port=port)
    serve._set_up_logs(settings.log_level.upper())
    quiet_libraries()
    codec = HarmonyCodec.load()
    engine = ScriptedEngine(codec)

    def choose(request: GenerationRequest) -> Script:
        breaks = BREAK in codec.decode(list(request.prompt_ids))
        return Script(crash_at=2) if breaks else Script()

    engine.choose = choose
    app = create_app(settings, Store.open(settings.database_path), engine, codec)
    shell.mount(app, blocked_paths=[str(settings.data_dir)])

    async def on_ready() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    config = server.configure(app, settings)
    if access_log:  # a planted hole: the product has none
        config.access_log = True
        logger = logging.getLogger("uvicorn.access")
        logger.addHandler(logging.StreamHandler())
        logger.setLevel("INFO")
    server.Server(config, on_ready, app.state.turns.close).run(sockets=[server.listen(settings)])


if __name__ == "__main__":
    main(int(sys.argv[1]), "--access-log" in sys.argv)
