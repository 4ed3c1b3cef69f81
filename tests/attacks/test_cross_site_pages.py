"""A6: real pages of other sites in a real Chromium, where a victim is at home: forms, fetches, frames."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from playground.security import OriginCheck
from tests.browser import TIMEOUT_MS, chromium_running
from tests.playground.ui.served import Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.long]

EVIL = """<!doctype html><title>evil</title><body><script>
const home = HOME, chat = CHAT, read = [];
const form = (path, fields, kind) => {
  const element = document.createElement("form");
  Object.assign(element, { method: "POST", action: home + path, enctype: kind, target: "sink" });
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, { name, value });
    element.append(input);
  }
  document.body.append(element);
  element.submit();
};
const sink = document.createElement("iframe");
sink.name = "sink";
document.body.append(sink);
const steal = async (path, options) => {
  try {
    const answer = await fetch(home + path, { credentials: "include", ...options });
    if (answer.type !== "opaque") read.push(`${path} ${answer.status} ${(await answer.text()).slice(0, 80)}`);
  } catch { /* the browser kept it */ }
};
window.done = (async () => {
  const body = JSON.stringify({ text: "evil" });
  for (const kind of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    form("/api/turns", { [body.slice(0, -1) + ',"x":"']: '"}' }, kind);
  for (const mode of ["no-cors", "cors"]) for (const path of ["/api/turns", "/api/presets", "/api/import",
      `/api/conversations/${chat}`, "/api/account", "/api/account/sign-out"]) {
    for (const method of ["POST", "PATCH", "DELETE", "PUT"])
      for (const type of ["text/plain", "application/json"])
        await steal(path, { mode, method, body, headers: { "content-type": type } });
  }
  await steal("/api/import", { mode: "no-cors", method: "POST", body: '[{"role":"user","content":"evil"}]' });
  for (const path of ["/", "/api/conversations", "/api/bootstrap", `/api/conversations/${chat}`,
      "/api/export", "/gradio_api/info", "/config"]) {
    await steal(path, {});
    await steal(path, { mode: "no-cors" });
  }
  const preset = new Blob([JSON.stringify({ name: "evil", settings: {} })]);
  navigator.sendBeacon(home + "/api/presets", preset);
  const frame = document.createElement("iframe");
  const loaded = new Promise((done) => { frame.onload = frame.onerror = done; });
  frame.src = home + "/";
  document.body.append(frame);
  await loaded;
  await new Promise((done) => setTimeout(done, 500));
  return read;
})();
</script>"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("sites")) as running:
        yield running


@contextmanager
def evil_site(home: str, chat: str) -> Iterator[int]:
    """A server of the page above; its port."""
    page = EVIL.replace("HOME", json.dumps(home)).replace("CHAT", json.dumps(chat)).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def victim(chromium: Browser, served: Served) -> tuple[BrowserContext, str]:
    """Somebody with a conversation, and its id."""
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_selector("html[data-pg-ready]")
    chat = page.evaluate(
        """async () => {
          const body = JSON.stringify([{ role: "user", content: "mine" }]);
          const answer = await fetch("/api/import", { method: "POST", body });
          return (await answer.json()).conversations[0].id;
        }"""
    )
    page.close()
    return context, chat


def everything(context: BrowserContext, served: Served) -> list[Any]:
    """All that is the victim's."""
    cookies = {str(each["name"]): str(each["value"]) for each in context.cookies(served.url)}
    with httpx.Client(base_url=served.url, cookies=cookies) as client:
        addresses = ("/api/conversations", "/api/presets", "/api/shares", "/api/preferences")
        return [client.get(address).json() for address in addresses]


def visit(context: BrowserContext, address: str) -> tuple[list[str], Page]:
    """Open the evil page; what it could read."""
    page = context.new_page()
    page.goto(address)
    return page.evaluate("window.done"), page


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_another_site_changes_and_reads_nothing(
    chromium: Browser, served: Served, host: str
) -> None:
    """``localhost`` is another site; ``127.0.0.1`` at another port the same one, where cookies come along."""
    context, chat = victim(chromium, served)
    before = everything(context, served)
    assert before[0]["items"]
    with evil_site(served.url, chat) as port:
        read, page = visit(context, f"http://{host}:{port}/")
        assert read == []
        framed = [frame for frame in page.frames if frame.url.startswith(served.url) and frame.name != "sink"]
        assert not [frame for frame in framed if frame.query_selector("#pg-app")], "it cannot be framed"
    assert everything(context, served) == before
    context.close()


def test_without_the_check_a_page_of_the_same_site_changes_things(
    chromium: Browser, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: every origin counts as the page's own."""
    monkeypatch.setattr(OriginCheck, "_is_own", lambda self, headers: True)
    context, chat = victim(chromium, served)
    before = everything(context, served)
    with evil_site(served.url, chat) as port:
        visit(context, f"http://127.0.0.1:{port}/")
    assert everything(context, served) != before
    context.close()
