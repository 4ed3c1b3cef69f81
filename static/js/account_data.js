/** One's data: take it along, or delete it for good. */

import * as api from "./api.js";
import { createDialog } from "./dialog.js";
import { el } from "./dom.js";
import { section } from "./sheet_parts.js";
import { startAnew } from "./sign_in.js";
import { exportForm } from "./transfer.js";

const WORD = "delete";
const BACKUPS = "Backups of this server that were made before still hold it, until newer ones take their place.";
const LOST = [
  "all conversations, with every branch and all reasoning",
  "links that you shared: they lead nowhere from then on",
  "presets, settings and API keys",
];

/** @param {import("./account.js").View} view @returns {Node[]} */
export function dataView({ answer, identity }) {
  const known = Boolean(answer.account);
  const open = el("button", { class: "pg-button pg-button-plain pg-danger", type: "button", testid: "delete-account", text: known ? "Delete account…" : "Delete everything…" });
  open.addEventListener("click", () => askToDelete(known, identity));
  const words = known
    ? "Removes the account and everything in it from this server, at once and for good."
    : "Removes everything that this browser has on this server, at once and for good.";
  return [
    section("Export everything", exportForm(null)),
    section(known ? "Delete account" : "Delete everything", el("p", { class: "pg-sheet-lead", testid: "delete-lead", text: `${words} ${BACKUPS}` }), open),
  ];
}

/** @param {boolean} known whether there is an account @param {import("./identity.js").Identity} identity */
function askToDelete(known, identity) {
  const title = known ? "Delete your account?" : "Delete everything?";
  const { body, close } = createDialog({ title, testid: "delete-dialog", kind: "pg-sheet-small" });
  const save = el("a", { class: "pg-link", href: api.exportUrl(null, "json", true), download: "", testid: "delete-export", text: "Export everything first" });
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input", id: "pg-delete-word", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "pg-delete-problem", testid: "delete-word" })
  );
  const go = /** @type {HTMLButtonElement} */ (el("button", { class: "pg-button pg-button-danger", type: "submit", disabled: true, testid: "delete-confirm", text: known ? "Delete account" : "Delete everything" }));
  const cancel = el("button", { class: "pg-button pg-button-plain", type: "button", text: "Cancel" });
  const problem = el("p", { class: "pg-problem", id: "pg-delete-problem", role: "alert", testid: "delete-problem" });
  const label = el("label", { class: "pg-field-name", for: input.id, text: `Type “${WORD}” to go on` });
  const form = el(
    "form",
    {},
    el("p", { class: "pg-sheet-lead", text: "This cannot be undone. You lose:" }),
    el("ul", { class: "pg-lost" }, ...LOST.map((text) => el("li", { text }))),
    el("p", { class: "pg-sheet-lead" }, save, ", and keep the file."),
    el("div", { class: "pg-field-head" }, label),
    input,
    problem,
    el("div", { class: "pg-sheet-row" }, cancel, go),
  );
  const typed = () => input.value.trim().toLowerCase() === WORD;
  input.addEventListener("input", () => (go.disabled = !typed()));
  cancel.addEventListener("click", close);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!typed()) return;
    go.disabled = true;
    problem.textContent = "";
    try {
      await api.deleteAccount(WORD);
      startAnew(identity, known ? "account" : "guest");
    } catch (error) {
      problem.textContent = error.message;
      go.disabled = false;
    }
  });
  body.append(form);
  input.focus();
}
