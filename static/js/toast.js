/** Short messages: seen for a while (toast), or only heard (announce). One that can be taken back says so. */

import { byId, el } from "./dom.js";

const SHOWN_MS = 6000;
const UNDO_MS = 8000;

/** What can be taken back now, the latest last. @type {(() => void)[]} */
const undoable = [];

/** Outside of the page's frame: a message is also there for somebody who is in the sidebar of a phone. */
function place() {
  const box = byId("pg-toasts");
  if (box.parentElement !== document.body) document.body.append(box);
  return box;
}

/**
 * @param {string} text
 * @param {{action?: string, run?: () => void, lasts?: number, closed?: () => void}} [offer] a button that does something
 *   about it
 * @returns {() => void} take it away
 */
export function toast(text, { action, run, lasts = SHOWN_MS, closed } = {}) {
  const node = el("div", { class: "pg-toast", role: "status", testid: "toast" }, el("span", { text }));
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    node.remove();
    closed?.();
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(close, lasts);
  };
  if (action && run) {
    const button = el("button", { class: "pg-toast-action", type: "button", testid: "toast-action", text: action });
    button.addEventListener("click", () => {
      close();
      run();
    });
    node.append(button);
    // Nobody loses an offer while reaching for it.
    for (const name of ["pointerenter", "focusin"]) node.addEventListener(name, () => clearTimeout(timer));
    for (const name of ["pointerleave", "focusout"]) node.addEventListener(name, () => node.isConnected && wait());
  }
  place().append(node);
  wait();
  return close;
}

/**
 * Say what was done, and offer to take it back: by the button, or by Ctrl+Z as long as it is shown.
 * @param {string} text
 * @param {() => void} run takes it back
 */
export function offerUndo(text, run) {
  const forget = () => undoable.includes(undo) && undoable.splice(undoable.indexOf(undo), 1);
  const close = toast(text, { action: "Undo", run, lasts: UNDO_MS, closed: forget });
  const undo = () => {
    close();
    run();
  };
  undoable.push(undo);
}

/** @returns {boolean} whether there was something to take back */
export function undoLatest() {
  const undo = undoable.at(-1);
  undo?.();
  return Boolean(undo);
}

/**
 * Tell a screen reader; called once for a whole reply, never for a token.
 * @param {string} text
 */
export function announce(text) {
  byId("pg-live").textContent = text;
}
