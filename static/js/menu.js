/** The small menu of one conversation, and the questions that it asks. */

import { byId, el, icon } from "./dom.js";

/**
 * Open a menu beside a button.
 * @param {HTMLElement} button
 * @param {{label: string, run: () => void, icon: string, danger?: boolean, testid: string}[]} entries
 * @param {() => void} [closed]
 */
export function openMenu(button, entries, closed) {
  const menu = el("div", { class: "pg-menu", role: "menu", popover: "auto", testid: "menu" });
  for (const { label, run, icon: picture, danger, testid } of entries) {
    const props = { class: danger ? "pg-danger" : "", role: "menuitem", type: "button", tabindex: "-1", testid };
    const item = el("button", props, icon(picture), el("span", { text: label }));
    item.addEventListener("click", () => {
      menu.hidePopover();
      run();
    });
    menu.append(item);
  }
  menu.addEventListener("keydown", (event) => arrows(event, menu));
  menu.addEventListener("toggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "open") return;
    if (menu.contains(document.activeElement)) button.focus();
    menu.remove();
    closed?.();
  });
  byId("pg-side").append(menu);
  menu.showPopover();
  place(menu, button.getBoundingClientRect());
  menu.querySelector("button")?.focus();
}

function place(menu, anchor) {
  const { width, height } = menu.getBoundingClientRect();
  const below = anchor.bottom + 4;
  menu.style.left = `${Math.max(8, Math.min(anchor.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${below + height > innerHeight - 8 ? anchor.top - height - 4 : below}px`;
}

function arrows(event, menu) {
  if (event.key === "Tab") menu.hidePopover();
  const items = [...menu.querySelectorAll("button")];
  const here = items.indexOf(document.activeElement);
  const next = { ArrowDown: here + 1, ArrowUp: here - 1 + items.length, Home: 0, End: -1 + items.length }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  items[next % items.length].focus();
}

/**
 * Ask before something is lost, or takes long.
 * @param {{title: string, text: string, action: string, danger?: boolean}} words
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, action, danger = true }) {
  return ask(title, el("p", { text }), action, danger ? "pg-button-danger" : "").then((answer) => answer !== null);
}

/**
 * @param {{title: string, value: string, action: string}} words
 * @returns {Promise<string|null>} the new text, or null
 */
export function askText({ title, value, action }) {
  const input = el("input", { class: "pg-input", name: "value", maxlength: "200", "aria-label": title, testid: "dialog-input" });
  input.value = value;
  const answer = ask(title, input, action, "");
  input.select();
  return answer.then((done) => (done === null ? null : input.value.trim() || null));
}

function ask(title, body, action, kind) {
  const cancel = el("button", { class: "pg-button pg-button-plain", type: "button", text: "Cancel" });
  const go = el("button", { class: `pg-button ${kind}`, type: "submit", value: "yes", testid: "dialog-confirm", text: action });
  const row = el("div", { class: "pg-dialog-row" }, cancel, go);
  const form = el("form", { method: "dialog" }, el("h2", { text: title }), body, row);
  const dialog = el("dialog", { class: "pg-dialog", "aria-label": title, testid: "dialog" }, form);
  cancel.addEventListener("click", () => dialog.close(""));
  byId("pg-app").append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? "yes" : null);
    });
  });
}
