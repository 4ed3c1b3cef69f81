/** A dialog over the page: the focus stays in it, Escape closes it, and the focus goes back to its opener. */

import { byId, el, icon } from "./dom.js";

let serial = 0;

/**
 * @param {{title: string, testid: string, kind?: string, closed?: () => void, hold?: () => Promise<boolean>|null}} options
 *   `kind` is a class of its own; `hold` is asked before somebody closes it: null, or a question and whether to close then
 * @returns {{body: HTMLElement, head: HTMLElement, dialog: HTMLDialogElement, close: () => void}} `body` is to be
 *   filled before `show`
 */
export function createDialog({ title, testid, kind = "", closed, hold = () => null }) {
  const id = `pg-dialog-${(serial += 1)}`;
  const away = el("button", { class: "pg-icon-button", type: "button", "aria-label": "Close", testid: "dialog-close" }, icon("close"));
  const head = el("div", { class: "pg-sheet-head" }, el("h2", { id, text: title }), away);
  const body = el("div", { class: "pg-sheet-body" });
  const props = { class: `pg-sheet ${kind}`.trim(), "aria-labelledby": id, tabindex: "-1", testid };
  const dialog = /** @type {HTMLDialogElement} */ (el("dialog", props, head, body));
  const close = () => dialog.close();
  const leave = (event) => {
    const question = hold();
    if (question) {
      event.preventDefault();
      question.then((yes) => yes && close());
    } else if (event.type === "click") close();
  };
  away.addEventListener("click", leave);
  // Chromium asks `cancel` once only, so the key is watched as well; a phone's way back has no key.
  dialog.addEventListener("keydown", (event) => event.key === "Escape" && leave(event));
  dialog.addEventListener("cancel", (event) => event.target === dialog && leave(event));
  // A press that began inside (selecting text) and ended outside is no wish to close.
  let outside = false;
  dialog.addEventListener("pointerdown", (event) => (outside = event.target === dialog));
  dialog.addEventListener("click", (event) => event.target === dialog && outside && leave(event));
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed?.();
  });
  byId("pg-app").append(dialog);
  dialog.showModal();
  // Else the first button gets the focus, and that is the one that closes.
  dialog.focus();
  return { body, head, dialog, close };
}

/**
 * A choice of a few, as radio buttons in a row.
 * @param {{name: string, legend: string, choices: [string, string][], value: string, changed?: (value: string) => void,
 *   testid?: string}} options `choices` are pairs of value and words
 * @returns {{node: HTMLElement, get: () => string|null, set: (value: string|null) => void}}
 */
export function segments({ name, legend, choices, value, changed, testid = name }) {
  const group = `${name}-${(serial += 1)}`;
  const box = el("fieldset", { class: "pg-segments" }, el("legend", { class: "pg-vh", text: legend }));
  const radios = choices.map(([each, words]) => {
    const radio = /** @type {HTMLInputElement} */ (
      el("input", { type: "radio", name: group, value: each, testid: `${testid}-${each}` })
    );
    radio.addEventListener("change", () => radio.checked && changed?.(each));
    box.append(el("label", {}, radio, el("span", { text: words })));
    return radio;
  });
  const set = (next) => radios.forEach((radio) => (radio.checked = radio.value === next));
  set(value);
  return { node: box, get: () => radios.find((radio) => radio.checked)?.value ?? null, set };
}
