"""``chat``: talk to the model in the terminal."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from inference.types import ReasoningEffort
from playground.cli import common
from playground.cli.asking import Target, answering
from playground.cli.backend import Backend, BackendError
from playground.cli.progress import telling
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.cli.chat_loop import Chat
    from playground.cli.chat_tools import Tools
    from storage.store import Store

IN_USE = (
    "A playground is running on this data folder. Talk to it "
    "(python app.py chat --url http://localhost:{port}, or the port that it was given), "
    "or begin without the stored conversations (--no-history)."
)


def chat(
    model: common.Model = None,
    url: common.Url = None,
    api_key: common.ApiKey = None,
    effort: common.Effort = ReasoningEffort.MEDIUM,
    system: Annotated[
        str | None, typer.Option(help="Instructions for the model.", show_default=False)
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(
            help="A JSON file of functions whose results you type; demo is a pair that answers by itself.",
            show_default=False,
        ),
    ] = None,
    show_reasoning: Annotated[
        bool, typer.Option("--reasoning", help="Show the reasoning from the start.")
    ] = False,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 1.0,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest reply, in tokens.", show_default=False)
    ] = None,
    seed: common.Seed = None,
    history: Annotated[bool, typer.Option(help="Store the conversations in the database.")] = True,
    go_on: Annotated[
        str | None,
        typer.Option(
            "--continue",
            help="Go on with a stored conversation: last, or the beginning of its id.",
            show_default=False,
        ),
    ] = None,
    data_dir: common.DataDir = None,
) -> None:
    # long because every option is an argument
    """Talk to the model in this terminal: streaming, with its reasoning on demand, functions and commands.

    Conversations are stored in the playground's database under an owner of the terminal's own, for each
    browser has a private identity: /history and --continue find them again, and a file of /save FILE.json is
    imported in the page. With --url nothing is stored here. Ctrl-C stops a reply, Ctrl-D ends; /help lists
    the commands.
    """
    settings = common.settings_or_stop(model=None if url else model, data_dir=data_dir)
    functions = _functions(tools)
    store = _store(settings, lasting=history and url is None)
    target = Target(model, url, api_key)
    try:
        with asyncio.Runner() as runner:
            held = AsyncExitStack()
            try:
                with telling() as tell:
                    backend = runner.run(held.enter_async_context(answering(target, settings, tell)))
                chatting = _chat(
                    runner, backend, store, functions, settings, history and url is None, show_reasoning
                )
                manner = chatting.session.manner
                manner.effort, manner.instructions, manner.temperature = effort, system, temperature
                manner.max_tokens, manner.seed, manner.tools = max_tokens, seed, functions.specs
                if go_on is not None and chatting.session.open(go_on) is None:
                    raise common.stop("There is no one such conversation. /history in the chat lists them.")
                chatting.opened()
                chatting.loop()
            finally:
                runner.run(held.aclose())
    except BackendError as error:
        raise common.stop(error) from None
    except KeyboardInterrupt:
        raise common.stop("Stopped.", 130) from None
    finally:
        store.close()


def _functions(name: str | None) -> Tools:
    from playground.cli.chat_tools import Tools, ToolsError, read_tools

    try:
        return Tools() if name is None else read_tools(name)
    except ToolsError as error:
        raise common.stop(error, common.WRONG_USE) from None


def _store(settings: Settings, *, lasting: bool) -> Store:
    """The database, or one that ends with the program; the end of the command where it cannot be opened."""
    from storage.errors import StorageError, StorageInUse
    from storage.store import Store

    try:
        return Store.open(settings.database_path) if lasting else Store.open_in_memory()
    except StorageInUse:
        raise common.stop(IN_USE.format(port=settings.port)) from None
    except StorageError as error:
        raise common.stop(error) from None


def _chat(
    runner: asyncio.Runner,
    backend: Backend,
    store: Store,
    functions: Tools,
    settings: Settings,
    stored: bool,
    show_reasoning: bool,
) -> Chat:
    """Put the parts together."""
    from rich.console import Console

    from playground.cli.chat_lines import Lines
    from playground.cli.chat_loop import Chat
    from playground.cli.chat_screen import Screen
    from playground.cli.chat_session import Manner, Session

    return Chat(
        runner,
        Session(backend, store, Manner(), settings.date_told),
        Screen(Console(highlight=False), show_reasoning=show_reasoning),
        Lines(),
        functions,
        stored=stored,
        message_chars=settings.max_message_chars,
    )
