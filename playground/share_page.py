"""The page of a shared conversation: a file of its own, without Gradio; its script reads ``/api/shared``."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

from playground.api.dependencies import StoreDep
from storage.errors import NotFound

router = APIRouter()

PAGE = Path(__file__).resolve().parent.parent / "static" / "share" / "page.html"


@router.api_route("/s/{token}", methods=["GET", "HEAD"])
def share_page(token: str, store: StoreDep) -> FileResponse:
    """The same page for every link; for one that leads nowhere, or no longer, with status 404."""
    try:
        store.shared_snapshot(token)
    except NotFound:
        return FileResponse(PAGE, status_code=404, media_type="text/html")
    return FileResponse(PAGE, media_type="text/html")
