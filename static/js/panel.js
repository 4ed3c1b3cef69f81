/** A panel that a button opens: Escape and a click beside it close it, and the focus goes back to the button. */

import { byId, el, icon } from "./dom.js";

const GAP = 8;

/**
 * @param {{button: HTMLButtonElement, label: string, testid: string, opened: () => void, closed?: () => void}} options
 *   `opened` runs each time that the panel is shown
 * @returns {{body: HTMLElement, hide: () => void, isOpen: () => boolean}} `body` is to be filled
 */
export function createPanel({ button, label, testid, opened, closed }) {
  const close = el("button", { class: "pg-icon-button", type: "button", "aria-label": "Close" }, icon("close"));
  const head = el("div", { class: "pg-panel-head" }, el("h2", { text: label }), close);
  const body = el("div", { class: "pg-panel-body" });
  const props = { class: "pg-panel", role: "dialog", "aria-label": label, popover: "auto", tabindex: "-1", testid };
  const panel = el("div", props, head, body);
  const isOpen = () => panel.matches(":popover-open");
  const hide = () => isOpen() && panel.hidePopover();

  byId("pg-app").append(panel);
  button.popoverTargetElement = panel;
  close.addEventListener("click", hide);
  panel.addEventListener("beforetoggle", (event) => event.newState === "open" && place(panel, button));
  panel.addEventListener("toggle", (event) => {
    const shown = event.newState === "open";
    button.setAttribute("aria-expanded", String(shown));
    if (!shown) return closed?.();
    panel.focus();
    opened();
  });
  window.addEventListener("resize", () => isOpen() && place(panel, button));
  return { body, hide, isOpen };
}

/** On the side of the button with more room; on a phone the styles put it at the bottom. */
function place(panel, button) {
  const { top, bottom, right } = button.getBoundingClientRect();
  const above = top > innerHeight - bottom;
  const set = (name, value) => panel.style.setProperty(`--pg-panel-${name}`, value);
  set("right", `${Math.max(GAP, innerWidth - right)}px`);
  set("top", above ? "auto" : `${bottom + GAP}px`);
  set("bottom", above ? `${innerHeight - top + GAP}px` : "auto");
  set("height", `${(above ? top : innerHeight - bottom) - 2 * GAP}px`);
}
