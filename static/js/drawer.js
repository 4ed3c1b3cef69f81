/** The sidebar as a drawer: beside the page on a desktop, over it on a phone. */

import { byId } from "./dom.js";

const KEY = "pg-sidebar";
const wide = matchMedia("(min-width: 768px)");

/** @returns {{toggle: () => void, close: () => boolean, leave: () => void}} */
export function createDrawer() {
  const root = document.documentElement;
  const side = byId("pg-side");
  const buttons = document.querySelectorAll("[data-pg-drawer]");
  let open = wide.matches && remembered() !== "closed";

  function draw() {
    root.dataset.pgSidebar = open ? "open" : "closed";
    side.inert = !open;
    byId("pg-app").inert = open && !wide.matches;
    for (const button of buttons) button.setAttribute("aria-expanded", String(open));
  }

  function set(next) {
    open = next;
    if (wide.matches) remember(open ? "open" : "closed");
    draw();
  }

  function toggle() {
    set(!open);
    if (open && !wide.matches) byId("pg-new").focus();
    else if (!open) byId("pg-open-sidebar").focus();
  }

  for (const button of buttons) button.addEventListener("click", toggle);
  byId("pg-scrim").addEventListener("click", () => set(false));
  wide.addEventListener("change", () => {
    open = wide.matches && remembered() !== "closed";
    draw();
  });
  draw();

  /** Close it where it covers the page; says whether it did. */
  function leave() {
    if (!open || wide.matches) return false;
    set(false);
    return true;
  }
  return { toggle, close: leave, leave };
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // It opens as usual next time.
  }
}
