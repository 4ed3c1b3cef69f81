/** Everybody who uses the playground, for administrators: counts, roles and bans. */

import * as api from "./api.js";
import { ago } from "./dates.js";
import { segments } from "./dialog.js";
import { el } from "./dom.js";
import { count } from "./format.js";
import { confirm } from "./menu.js";
import { announce } from "./toast.js";

const PAGE = 50;
/** A search goes on to later pages until it has found so many. */
const ENOUGH = 20;
/** @type {[string, string][]} */
const KINDS = [
  ["accounts", "Accounts"],
  ["guests", "Guests"],
  ["banned", "Banned"],
];
const NOBODY = { accounts: "Nobody has signed in yet.", guests: "There are no guests.", banned: "Nobody is banned." };
const BAN = "They are signed out everywhere at once, and can neither read nor write here until the ban is lifted. Nothing of theirs is deleted.";
const BAN_GUEST = "Guests may use this playground, so they can still come back as a guest, without their account.";
const PROMOTE = "They see what you see here: use, health and the names of the users; and they can ban others.";

export class UserList {
  /** @param {any} me who looks @param {any} signIn how people come in */
  constructor(me, signIn) {
    this.me = me;
    this.banText = signIn.required ? BAN : `${BAN} ${BAN_GUEST}`;
    /** @type {any[]} */
    this.users = [];
    /** @type {string|null} */
    this.next = null;
    this.complete = false;
    this.asking = false;
    /** Guests are many, and most of them have looked once: they are shown apart. */
    this.kind = "accounts";
    /** @type {Record<string, number>|null} how many there are of each */
    this.counts = null;
    this.kinds = segments({ name: "users", legend: "Which users", choices: KINDS, value: this.kind, changed: (kind) => this.show(kind) }).node;
    this.input = /** @type {HTMLInputElement} */ (
      el("input", { class: "pg-input", type: "search", placeholder: "Search by name", "aria-label": "Search users", autocomplete: "off", testid: "users-search" })
    );
    this.list = el("ul", { class: "pg-rows", "aria-label": "Users", testid: "users" });
    this.note = el("p", { class: "pg-sheet-note", role: "status", testid: "users-note" });
    this.more = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "users-more", text: "Show more", hidden: true });
    this.node = el("div", {}, this.kinds, this.input, this.list, this.note, this.more);
    this.input.addEventListener("input", () => {
      this.draw();
      this.fill();
    });
    this.more.addEventListener("click", () => this.load());
  }

  async start() {
    this.note.textContent = "Loading…";
    await this.load();
  }

  /** Begin anew with others. @param {string} kind */
  show(kind) {
    Object.assign(this, { kind, users: [], next: null, complete: false, asking: false });
    // A guest has no name to be found by.
    this.input.hidden = kind === "guests";
    this.list.replaceChildren();
    this.more.hidden = true;
    this.start();
  }

  showCounts(counts) {
    this.counts = counts;
    for (const [kind, words] of KINDS) {
      this.kinds.querySelector(`[value=${kind}]`).nextElementSibling.textContent = `${words} ${count(counts[kind])}`;
    }
  }

  /** The next page. */
  async load() {
    if (this.asking || this.complete) return;
    this.asking = true;
    const { kind } = this;
    this.more.textContent = "Show more";
    try {
      const { users, next, counts } = await api.adminUsers(kind, this.next, PAGE);
      if (this.kind !== kind) return;
      this.showCounts(counts);
      const known = new Set(this.users.map((user) => user.id));
      this.users.push(...users.filter((user) => !known.has(user.id)));
      this.next = next;
      this.complete = next === null;
      this.draw();
    } catch (error) {
      if (this.kind !== kind) return;
      this.more.textContent = "Try again";
      this.more.hidden = false;
      this.note.textContent = error.message;
      return;
    } finally {
      if (this.kind === kind) this.asking = false;
    }
    await this.fill();
  }

  /** While somebody searches, later pages are looked through as well. */
  async fill() {
    if (this.query() && this.found().length < ENOUGH) await this.load();
  }

  query() {
    return this.input.hidden ? "" : this.input.value.trim().toLowerCase();
  }

  found() {
    const words = this.query();
    return this.users.filter((user) => nameOf(user).toLowerCase().includes(words) || user.handle?.toLowerCase().includes(words));
  }

  draw() {
    const found = this.found();
    this.list.replaceChildren(...found.map((user) => this.row(user)));
    this.more.hidden = this.complete;
    this.note.textContent = found.length || !this.complete ? "" : this.query() ? "Nobody has such a name." : NOBODY[this.kind];
  }

  row(user) {
    const name = nameOf(user);
    const head = el("div", { class: "pg-row-head" }, el("span", { class: "pg-row-name", text: name }));
    if (user.role === "admin") head.append(el("span", { class: "pg-badge", text: "Admin" }));
    if (user.banned_at) head.append(el("span", { class: "pg-badge pg-badge-bad", text: "Banned" }));
    if (user.id === this.me.id) head.append(el("span", { class: "pg-badge", text: "You" }));
    const handle = user.handle && user.handle !== name ? `${user.handle} · ` : "";
    const has = `${plural(user.conversations, "conversation")} · ${plural(user.messages, "message")}`;
    const did = `${plural(user.requests, "request")} and ${plural(user.tokens, "token")} in 30 days`;
    const words = el(
      "div",
      { class: "pg-row-words" },
      head,
      el("small", { text: `${handle}last seen ${ago(user.last_seen_at)} · ${has}` }),
      el("small", { text: did }),
    );
    const node = el("li", { class: "pg-row", testid: "user", data: { user: user.id } }, words);
    // A guest has no account that could be banned, and nobody shuts himself out.
    if (user.handle !== null && user.id !== this.me.id) node.append(this.acts(user, name));
    return node;
  }

  acts(user, name) {
    const act = (text, testid, run, danger = false) => {
      const button = el("button", { class: `pg-quiet${danger ? " pg-danger" : ""}`, type: "button", testid, "aria-label": `${text}: ${name}`, text });
      button.addEventListener("click", run);
      return button;
    };
    const ban = user.banned_at
      ? act("Lift ban", "user-unban", () => this.change(user, () => api.setBan(user.id, false)))
      : act("Ban", "user-ban", () => this.ask(`Ban ${name}?`, this.banText, "Ban", () => this.change(user, () => api.setBan(user.id, true))), true);
    const admin = user.role === "admin";
    const role = admin
      ? act("Make member", "user-member", () => this.change(user, () => api.setRole(user.id, "member")))
      : act("Make admin", "user-admin", () => this.ask(`Make ${name} an administrator?`, PROMOTE, "Make admin", () => this.change(user, () => api.setRole(user.id, "admin")), false));
    return el("div", { class: "pg-row-acts" }, user.banned_at ? null : role, ban);
  }

  async ask(title, text, action, run, danger = true) {
    if (await confirm({ title, text, action, danger })) await run();
  }

  async change(user, run) {
    try {
      const { user: changed } = await run();
      const more = Number(Boolean(changed.banned_at)) - Number(Boolean(user.banned_at));
      this.showCounts({ ...this.counts, banned: this.counts.banned + more });
      this.users = this.users.map((each) => (each.id === user.id ? changed : each));
      this.draw();
      announce("Saved.");
    } catch (error) {
      this.note.textContent = error.message;
    }
    const row = [...this.list.children].find((each) => /** @type {HTMLElement} */ (each).dataset.user === user.id);
    row?.querySelector("button")?.focus();
  }
}

function nameOf(user) {
  return user.display_name || user.handle || "Guest";
}

/** @param {number} number @param {string} one @returns {string} */
function plural(number, one) {
  return `${count(number)} ${one}${number === 1 ? "" : "s"}`;
}
