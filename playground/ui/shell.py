"""The Gradio shell: a sidebar and a page of static markup; the scripts in ``static/js`` bring it to life.

Nothing that a user or a model wrote ever enters a Gradio component: ``gr.HTML`` evaluates its templates as
code, so both templates are constants of this package and take no value. All data comes from the HTTP API.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from playground import errors
from playground.ui.theme import build_theme

TITLE = "gpt-oss Playground"
MAX_FILE_SIZE = "1mb"
_TEMPLATES = Path(__file__).parent / "templates"
_STATIC = Path(__file__).parents[2] / "static"
_STYLES = (
    "fonts",
    "main",
    "overlays",
    "sidebar",
    "search",
    "controls",
    "panel",
    "sheets",
    "settings",
    "account",
    "admin",
    "functions",
    "transcript",
    "turns",
    "tools",
    "prose",
)


def build_shell() -> gr.Blocks:
    """Return the page's frame: a sidebar and the main part, each one static component."""
    shell = gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True, fill_height=True)
    with shell:
        with gr.Sidebar(open=False, elem_id="pg-side"):
            _static_html("sidebar.html")
        _static_html("page.html")
    shell.queue(api_open=False, max_size=1, default_concurrency_limit=1)
    return shell


def mount(app: FastAPI, *, blocked_paths: list[str]) -> FastAPI:
    """Mount the shell at ``/`` of ``app``, which must already have its own routes, and return ``app``.

    ``blocked_paths`` are folders that Gradio must never serve a file from (the data folder).
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Gradio makes locks now; without a running loop it would open four loops and close none of them.
        asyncio.run(_mount_in_loop(app, blocked_paths))
    else:
        _mount(app, blocked_paths)
    return app


async def _mount_in_loop(app: FastAPI, blocked_paths: list[str]) -> None:
    _mount(app, blocked_paths)


def _mount(app: FastAPI, blocked_paths: list[str]) -> None:
    gr.mount_gradio_app(
        app,
        build_shell(),
        path="",
        theme=build_theme(),
        head=head_markup(),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        max_file_size=MAX_FILE_SIZE,
        allowed_paths=[],
        blocked_paths=blocked_paths,
    )
    for route in app.routes:
        # A file that Gradio does not have is told in the one shape, too; other parts tell their own errors.
        if isinstance(route, Mount) and not route.path and isinstance(route.app, FastAPI):
            errors.install(route.app)


def head_markup() -> str:
    """Return the tags for the document's head; scripts are named there so that they load side by side."""
    modules = sorted(path.name for path in (_STATIC / "js").glob("*.js") if path.name != "early.js")
    styles = "".join(f'<link rel="stylesheet" href="/static/css/{name}.css">' for name in _STYLES)
    preload = "".join(f'<link rel="modulepreload" href="/static/js/{name}">' for name in modules)
    return (
        '<script src="/static/js/early.js"></script>'
        '<link rel="icon" type="image/svg+xml" href="/static/favicon.svg">'
        f"{styles}"
        '<meta name="theme-color" content="#ffffff" media="(prefers-color-scheme: light)">'
        '<meta name="theme-color" content="#171717" media="(prefers-color-scheme: dark)">'
        f'{preload}<script type="module" src="/static/js/main.js"></script>'
    )


def _static_html(name: str) -> gr.HTML:
    """Return one template as a component without value, script, or Gradio's default styles."""
    template = (_TEMPLATES / name).read_text(encoding="utf-8")
    return gr.HTML(html_template=template, js_on_load=None, apply_default_css=False)
