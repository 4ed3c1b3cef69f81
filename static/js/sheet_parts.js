/** Parts of the sheets that ask the server for what they show. */

import { el } from "./dom.js";

/** What stands where an answer will be. @returns {HTMLElement[]} */
export function bones() {
  const widths = ["45%", "70%", "60%", "35%"];
  const box = el("div", { role: "status", testid: "loading" }, el("span", { class: "pg-vh", text: "Loading…" }));
  for (const width of widths) {
    const bone = el("div", { class: "pg-bone" });
    bone.style.width = width;
    box.append(bone);
  }
  return [box];
}

/** @param {any} error @param {() => void} retry @returns {HTMLElement} */
export function failed(error, retry) {
  const again = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "sheet-retry", text: "Try again" });
  again.addEventListener("click", retry);
  return el("div", { class: "pg-sheet-failed", role: "alert", testid: "sheet-problem" }, el("p", { text: error.message }), again);
}

/** A part of a sheet with a name. @param {string} title @param {...(Node|string|null)} nodes */
export function section(title, ...nodes) {
  return el("section", { class: "pg-section" }, el("h3", { text: title }), ...nodes);
}
