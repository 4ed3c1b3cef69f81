/** Short messages: seen for a while (toast), or only heard (announce). One that can be taken back says so. */

import { byId, el } from "./dom.js";

const SHOWN_MS = 6000;
const UNDO_MS = 8000;

/** What can be taken back, the latest last. @type {{wanted: boolean, undo: () => void}[]} */
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
 * Keep a place for something that is about to be done and can be taken back: Ctrl+Z goes by the order in which things
 * were asked for, not by the order in which the server answered. What is taken back before its answer came is taken back
 * as soon as it is there.
 * @param {(offer: (text: string, run: () => void) => void) => Promise<void>} work does it, and then calls `offer` with what
 *   was done and what takes it back: by a button, or by Ctrl+Z as long as that is shown. Without `offer` it was not done.
 */
export async function undoably(work) {
  const slot = { wanted: false, undo: () => void (slot.wanted = true) };
  let offered = false;
  const drop = () => undoable.includes(slot) && undoable.splice(undoable.indexOf(slot), 1);
  const offer = (text, run) => {
    offered = true;
    if (slot.wanted) {
      drop();
      run();
      return;
    }
    const close = toast(text, { action: "Undo", run, lasts: UNDO_MS, closed: drop });
    slot.undo = () => {
      close();
      run();
    };
  };
  undoable.push(slot);
  try {
    await work(offer);
  } finally {
    if (!offered) drop();
  }
}

/** @returns {boolean} whether there was something to take back */
export function undoLatest() {
  const slot = undoable.findLast(({ wanted }) => !wanted);
  slot?.undo();
  return Boolean(slot);
}

/**
 * Tell a screen reader; called once for a whole reply, never for a token.
 * @param {string} text
 */
export function announce(text) {
  byId("pg-live").textContent = text;
}
