/** Short messages: seen for a while (toast), or only heard (announce). */

import { byId, el } from "./dom.js";

const SHOWN_MS = 6000;

/** @param {string} text */
export function toast(text) {
  const node = el("div", { class: "pg-toast", role: "status", testid: "toast", text });
  byId("pg-toasts").append(node);
  setTimeout(() => node.remove(), SHOWN_MS);
}

/**
 * Tell a screen reader; called once for a whole reply, never for a token.
 * @param {string} text
 */
export function announce(text) {
  byId("pg-live").textContent = text;
}
