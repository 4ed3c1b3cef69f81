/** Bars under the top of the page: what stays until somebody has read it, or done something about it. */

import { byId, el, icon } from "./dom.js";

/**
 * @param {string} text
 * @param {{testid: string, actions?: Node[], dismiss?: boolean, kind?: string}} options
 * @returns {() => void} take it away
 */
export function notice(text, { testid, actions = [], dismiss = false, kind = "" }) {
  const words = el("p", { text });
  const node = el("div", { class: "pg-notice", testid, data: kind ? { kind } : {} }, words, ...actions);
  const close = () => node.remove();
  if (dismiss) {
    const away = el("button", { class: "pg-icon-button", type: "button", "aria-label": "Dismiss", testid: "notice-dismiss" }, icon("close"));
    away.addEventListener("click", () => {
      close();
      byId("pg-input").focus();
    });
    node.append(away);
  }
  byId("pg-notices").append(node);
  return close;
}
