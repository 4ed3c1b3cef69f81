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
const UNREAD = "A new key was not copied yet. Nobody can read it once this is closed; you would have to make another one.";
const NAME_CHARS = 60;

/**
 * What a new key opens with. Nobody else keeps it, so it lasts until its person has done with it.
 * @typedef {{id: string, name: string, secret: string, copied: boolean}} Secret
 */

/**
 * Ask before a secret is lost that nobody has read.
 * @param {Secret[]} secrets
 * @returns {Promise<boolean>|null} null where nothing would be lost
 */
export function askToLose(secrets) {
  if (secrets.every(({ copied }) => copied)) return null;
  return confirm({ title: "Close without copying the key?", text: UNREAD, action: "Close" });
}

/** @param {import("./account.js").View} view @returns {Node[]} */
export function keysView({ answer, store, draw, secrets }) {
  const { me, signIn } = store.get();
  if (me.kind !== "account" && signIn.available) return stranger(store);
  const made = el("div", {}, ...secrets.map((each) => secretBox(each, secrets)));
  const list = el("div", {}, ...rows(answer, draw, secrets));
  const form = keyForm(answer.scopes, async (name, scopes) => {
    const { key, secret } = await api.createKey(name, scopes);
    answer.keys = [key, ...answer.keys];
    list.replaceChildren(...rows(answer, draw, secrets));
    const latest = { id: key.id, name: key.name, secret, copied: false };
    secrets.unshift(latest);
    made.prepend(secretBox(latest, secrets));
    made.querySelector("input")?.focus();
    announce("The key was made. Copy it now.");
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

/** @param {Secret} shown @param {Secret[]} secrets all of them @returns {HTMLElement} */
function secretBox(shown, secrets) {
  const { name, secret } = shown;
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-mono", readonly: true, "aria-label": `The new key: ${name}`, spellcheck: "false", testid: "key-secret" })
  );
  input.value = secret;
  input.addEventListener("focus", () => input.select());
  const taken = () => (shown.copied = true);
  input.addEventListener("copy", taken);
  const copy = copyButton(() => secret, `Copy the key: ${name}`, "Copy", taken);
  copy.dataset.testid = "key-copy";
  const done = el("button", { class: "pg-quiet", type: "button", testid: "key-done", "aria-label": `Done: ${name}`, text: "Done" });
  const words = el("p", {}, el("strong", { text: name }), ` – ${ONCE}`);
  const box = el("div", { class: "pg-secret", testid: "key-made" }, words, el("div", { class: "pg-join" }, input, copy, done));
  done.addEventListener("click", () => {
    drop(secrets, shown.id);
    box.remove();
    document.getElementById("pg-key-name")?.focus();
  });
  return box;
}

/** @param {Secret[]} secrets @param {string} id */
function drop(secrets, id) {
  const place = secrets.findIndex((each) => each.id === id);
  if (place >= 0) secrets.splice(place, 1);
}

function rows({ keys, scopes }, draw, secrets) {
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
    drop(secrets, key.id);
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
