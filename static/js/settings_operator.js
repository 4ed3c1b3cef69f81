/** The functions that this server answers itself, as switches. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { switchOf } from "./settings_functions.js";
import { alike } from "./values.js";

/** @type {Promise<any[]>|null} */
let asked = null;

/** What the operator offers; asked once, and again after a failure. @returns {Promise<any[]>} */
export function offered() {
  asked ??= api.functions().then(
    ({ items }) => items,
    (error) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

/** @param {{testid: string}} options @returns {import("./settings_fields.js").Maker} */
export const operatorSwitches = ({ testid }) => (change) => new OperatorSwitches(testid, change);

class OperatorSwitches {
  constructor(testid, change) {
    this.change = change;
    this.label = null;
    this.quick = true;
    /** @type {string[]|null} */
    this.own = null;
    /** @type {string[]} */
    this.inherited = [];
    /** @type {any[]|null} */
    this.items = null;
    this.list = el("ul", { class: "pg-rows", "aria-label": "Functions of this server" });
    this.note = el("p", { class: "pg-sheet-note", role: "status", testid: "operator-note", text: "Asking the server…" });
    this.again = el("button", { class: "pg-quiet", type: "button", hidden: true, testid: "operator-retry", text: "Try again" });
    this.again.addEventListener("click", () => this.load());
    this.node = el("div", { class: "pg-functions", role: "group", "aria-label": "Functions of this server", testid }, this.list, this.note, this.again);
    this.load();
  }

  get shown() {
    return this.own ?? this.inherited;
  }

  get() {
    return this.own;
  }

  set(value, inherited) {
    if (alike(value, this.own) && alike(inherited ?? [], this.inherited)) return;
    this.own = value ?? null;
    this.inherited = inherited ?? [];
    this.draw();
  }

  async load() {
    this.again.hidden = true;
    try {
      this.items = await offered();
      this.note.textContent = "";
    } catch (error) {
      this.note.textContent = error.message;
      this.again.hidden = false;
    }
    this.draw();
  }

  draw() {
    if (!this.items) return;
    const offered = this.items.map((each) => each.name);
    // A name that is not offered any more counts for nothing, and can still be taken away.
    const gone = this.shown.filter((name) => !offered.includes(name)).map((name) => ({ name, description: "Not offered any more." }));
    const at = [...this.list.querySelectorAll("button")].indexOf(/** @type {any} */ (document.activeElement));
    const all = [...this.items, ...gone];
    this.list.replaceChildren(...all.map((each) => this.row(each)));
    this.list.hidden = !all.length;
    if (!all.length) this.note.textContent = "This server has none.";
    if (at >= 0) this.list.querySelectorAll("button")[at]?.focus({ preventScroll: true });
  }

  row({ name, description }) {
    const on = this.shown.includes(name);
    const words = el(
      "div",
      { class: "pg-row-words" },
      el("span", { class: "pg-row-name pg-function-name", text: name }),
      el("small", { text: description || "No description" }),
    );
    const turn = () => {
      this.own = on ? this.shown.filter((each) => each !== name) : [...this.shown, name];
      this.draw();
      this.change();
    };
    return el("li", { class: on ? "pg-row pg-row-short" : "pg-row pg-row-short pg-row-off", testid: "operator-function" }, words, el("div", { class: "pg-row-acts" }, switchOf(name, on, turn)));
  }
}
