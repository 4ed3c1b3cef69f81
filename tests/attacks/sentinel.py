"""A page of Chromium that notes what a hostile text brings about: scripts, requests, covers, addresses."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, Route

from tests.attacks.payloads import HOME
from tests.browser import TIMEOUT_MS

# Runs in every document, frames included, before the document's own scripts.
EARLY = """
for (const name of ["alert", "confirm", "prompt", "print", "open"])
  window[name] = (...values) => { window.pgCaught(`${name}(${values.join(", ")}) ran`); return null; };
document.addEventListener("securitypolicyviolation", (event) =>
  window.pgCaught(`the policy stopped ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# Elements and attributes that no text may bring, outside of what KaTeX and the page itself draw.
BAD = """(box) => {
  const ELEMENTS = new RegExp("^(script|iframe|frame|object|embed|base|form|video|audio|link|meta|style|img"
    + "|marquee|template|dialog)$", "i");
  const found = [];
  for (const root of document.querySelectorAll(box)) for (const node of root.querySelectorAll("*")) {
    if (node.closest("svg.pg-icon")) continue;
    const say = (what) => found.push(`${what}: ${node.outerHTML.slice(0, 160)}`);
    const inMaths = Boolean(node.closest(".katex"));
    if (ELEMENTS.test(node.tagName)) say("element");
    for (const { name, value } of node.attributes) {
      if (name.startsWith("on")) say("handler");
      const own = name === "id" && /^pg-[a-z0-9-]+$/.test(value)
        && document.querySelectorAll(`#${value}`).length === 1;
      if (/^(id|name|is|slot|part)$/.test(name) && !own) say("name");
      if (/^(href|src|action|formaction|data|poster|srcset|background|xlink:href)$/.test(name)
          && !/^(https?:\\/\\/|mailto:|#|\\/)/i.test(value)) say("address");
    }
    if (inMaths && /^(a|img)$/i.test(node.tagName)) say("in a formula");
    const dressed = /^pg-/.test(node.className) && !node.hasAttribute("style");
    if (!dressed && /fixed|sticky/.test(getComputedStyle(node).position)) say("fixed");
  }
  return found;
}"""
# Whether what is at this place of the window belongs to one of the page's own parts.
COVERED = """(own) => own.flatMap((selector) => [...document.querySelectorAll(selector)].flatMap((part) => {
  const { left, top, width, height } = part.getBoundingClientRect();
  if (!width || !height || top + height < 0 || top > innerHeight) return [];
  return [0.1, 0.5, 0.9].flatMap((x) => [0.2, 0.5, 0.8].flatMap((y) => {
    const above = document.elementFromPoint(left + width * x, top + height * y);
    return !above || part.contains(above) || above.contains(part) ? [] :
      [`${selector} is covered by ${above.outerHTML.slice(0, 120)}`];
  }));
}))"""
TOUCH = """(box) => document.querySelectorAll(`${box} *`).forEach((node) => {
  for (const name of ["mouseover", "pointerover", "mouseenter", "animationstart", "toggle"])
    node.dispatchEvent(new Event(name, { bubbles: true }));
  if (node.matches("a, [tabindex], [autofocus], input, button:not([data-testid])"))
    node.focus?.({ preventScroll: true });
})"""


class Sentinel:
    """One person's browser, with its one page."""

    def __init__(
        self, browser: Browser, origin: str, *, without_policy: bool = False, **options: Any
    ) -> None:
        self.origin = origin
        self.caught: list[str] = []
        self.context: BrowserContext = browser.new_context(bypass_csp=without_policy, **options)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.context.expose_function("pgCaught", self._note)
        self.context.add_init_script(EARLY)
        self.context.route(lambda url: not self._at_home(url), self._stop)
        self.page: Page = self.context.new_page()
        self.page.on("dialog", self._dialog)
        self.context.on("request", self._request)
        self.context.on("page", lambda page: self.caught.append(f"a window opened: {page.url}"))

    def look(self, box: str, own: tuple[str, ...] = ()) -> list[str]:
        """Touch all that stands in ``box``, and return all that was caught since the last look.

        ``own`` are the page's parts that nothing may cover.
        """
        page, address = self.page, self.page.url
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.evaluate(TOUCH, box)
        page.wait_for_timeout(200)
        found = [*page.evaluate(BAD, box), *page.evaluate(COVERED, list(own))]
        if page.url != address or len(page.frames) > 1:
            found.append(f"another document: {[frame.url for frame in page.frames]}")
        found += page.evaluate("Object.keys(window).filter((name) => ['hit', 'broken'].includes(name))")
        caught = [*self.caught, *found]
        self.caught.clear()
        return caught

    def close(self) -> None:
        """Leave the browser."""
        self.context.close()

    def _at_home(self, url: str) -> bool:
        return url.startswith((self.origin, "data:", "blob:"))

    def _note(self, what: str) -> None:
        self.caught.append(what)

    def _request(self, request: Request) -> None:
        url = request.url
        if urlsplit(url).path.startswith(HOME) or not self._at_home(url):
            self.caught.append(f"{request.method} {url}")

    def _dialog(self, dialog: Dialog) -> None:
        self.caught.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _stop(self, route: Route) -> None:
        # What the policy blocks is told as a request, too, but does not come so far.
        self.caught.append(f"{route.request.url} left the page")
        route.abort()
