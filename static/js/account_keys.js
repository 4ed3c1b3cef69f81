/** API keys: make one, see it once, and take it back. */

import * as api from "./api.js";
import { gone } from "./account_sessions.js";
import { ago } from "./dates.js";
import { copyButton, el } from "./dom.js";
import { confirm } from "./menu.js";
import { signInLink } from "./sign_in.js";
import { announce } from "./toast.js";

const LEAD = "A key lets a program act for you. Give each program its own, so that you can take it back alone.";
const ONCE = "Copy the key now. It is shown this once, and nobody can read it afterwards.";
const LOST = "Programs that use it are refused from now on, and what is being written for them stops. This cannot be undone.";
const NAME_CHARS = 60;

/** @param {import("./account.js").View} view @returns {Node[]} */
export function keysView({ answer, store, draw }) {
  const { me, signIn } = store.get();
  if (me.kind !== "account" && signIn.available) return stranger(store);
  const made = el("div", { class: "pg-secret", hidden: true, testid: "key-made" });
  const list = el("div", {}, ...rows(answer, draw));
  const form = keyForm(answer.scopes, async (name, scopes) => {
    const { key, secret } = await api.createKey(name, scopes);
    answer.keys = [key, ...answer.keys];
    list.replaceChildren(...rows(answer, draw));
    reveal(made, secret);
  });
  return [el("p", { class: "pg-sheet-lead", text: LEAD }), form, made, list];
}

function stranger(store) {
  const link = signInLink(() => store.get().signIn, { testid: "keys-sign-in" });
  return [el("p", { class: "pg-sheet-lead", text: `${LEAD} Keys belong to accounts.` }), link];
}

/** @param {any[]} offered @param {(name: string, scopes: string[]) => Promise<void>} create @returns {HTMLElement} */
function keyForm(offered, create) {
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input", id: "pg-key-name", maxlength: NAME_CHARS, placeholder: "For example: my notebook", autocomplete: "off", "aria-describedby": "pg-key-problem", testid: "key-name" })
  );
  const checks = offered.map(({ id, label }) => {
    const box = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", value: id, testid: `scope-${id}` }));
    // What most keys are for; everything else is given on purpose.
    box.checked = id === "inference";
    return { box, node: el("label", { class: "pg-check" }, box, el("span", { text: label })) };
  });
  const scopes = el("fieldset", { class: "pg-scopes" }, el("legend", { class: "pg-vh", text: "What the key may do" }), ...checks.map(({ node }) => node));
  const go = /** @type {HTMLButtonElement} */ (el("button", { class: "pg-button", type: "submit", testid: "key-create", text: "Create key" }));
  const problem = el("p", { class: "pg-problem", id: "pg-key-problem", role: "alert", testid: "key-problem" });
  const label = el("label", { class: "pg-field-name", for: input.id, text: "New key" });
  const form = el("form", { class: "pg-field pg-key-form" }, el("div", { class: "pg-field-head" }, label), el("div", { class: "pg-join" }, input, go), scopes, problem);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = input.value.trim();
    const chosen = checks.filter(({ box }) => box.checked).map(({ box }) => box.value);
    problem.textContent = name ? (chosen.length ? "" : "Choose what the key may do.") : "Give the key a name first.";
    if (!name) input.focus();
    else if (!chosen.length) checks[0]?.box.focus();
    if (problem.textContent) return;
    go.disabled = true;
    try {
      await create(name, chosen);
      input.value = "";
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      go.disabled = false;
    }
  });
  return form;
}

function reveal(box, secret) {
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-mono", readonly: true, "aria-label": "The new key", spellcheck: "false", testid: "key-secret" })
  );
  input.value = secret;
  input.addEventListener("focus", () => input.select());
  const copy = copyButton(() => secret, "Copy the key");
  copy.dataset.testid = "key-copy";
  const done = el("button", { class: "pg-quiet", type: "button", testid: "key-done", text: "Done" });
  done.addEventListener("click", () => {
    box.replaceChildren();
    box.hidden = true;
    document.getElementById("pg-key-name")?.focus();
  });
  box.replaceChildren(el("p", { text: ONCE }), el("div", { class: "pg-join" }, input, copy, done));
  box.hidden = false;
  input.focus();
  announce("The key was made. Copy it now.");
}

function rows({ keys, scopes }, draw) {
  const note = el("p", { class: "pg-sheet-note", role: "status", testid: "keys-note", text: keys.length ? "" : "There is no key yet." });
  // A row has room for what a scope is called, not for all that it means.
  const names = Object.fromEntries(scopes.map(({ id, label }) => [id, label.split(":")[0]]));
  const revoke = async (key) => {
    if (!(await confirm({ title: `Revoke “${key.name}”?`, text: LOST, action: "Revoke" }))) return;
    try {
      await gone(api.revokeKey(key.id));
    } catch (error) {
      note.textContent = error.message;
      return;
    }
    announce("The key was revoked.");
    await draw();
    document.getElementById("pg-key-name")?.focus();
  };
  return [el("ul", { class: "pg-rows", "aria-label": "API keys" }, ...keys.map((key) => row(key, names, revoke))), note];
}

function row(key, names, revoke) {
  const head = el("div", { class: "pg-row-head" }, el("span", { class: "pg-row-name", text: key.name }), el("code", { class: "pg-key-hint", text: key.hint }));
  const used = key.last_used_at ? `last used ${ago(key.last_used_at)}` : "never used";
  const may = key.scopes.map((scope) => names[scope] ?? scope).join(" · ");
  const words = el("div", { class: "pg-row-words" }, head, el("small", { text: `Made ${ago(key.created_at)} · ${used}` }), el("small", { text: may }));
  const button = el("button", { class: "pg-quiet pg-danger", type: "button", testid: "key-revoke", "aria-label": `Revoke ${key.name}`, text: "Revoke" });
  button.addEventListener("click", () => revoke(key));
  return el("li", { class: "pg-row", testid: "key" }, words, el("div", { class: "pg-row-acts" }, button));
}
