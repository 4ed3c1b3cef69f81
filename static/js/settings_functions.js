/** The person's own functions as a field of the settings: a list to add to, edit, switch, and delete from. */

import { el } from "./dom.js";
import { editFunction } from "./function_editor.js";
import { alike } from "./values.js";

const MOST = 32;

/** @typedef {import("./function_editor.js").Fn} Fn */

/** @param {{testid: string}} options @returns {import("./settings_fields.js").Maker} */
export const functionList = ({ testid }) => (change) => new OwnFunctions(testid, change);

class OwnFunctions {
  /** @param {string} testid @param {() => Promise<Error|null>} change saves; gives what went wrong */
  constructor(testid, change) {
    this.change = change;
    this.label = null;
    this.quick = true;
    /** What is set at this level. @type {Fn[]|null} */
    this.own = null;
    /** What counts where nothing is set, and can be switched off and on here. @type {Fn[]} */
    this.known = [];
    /** @type {{fn: Fn, at: number}|null} the last one that was deleted */
    this.deleted = null;
    this.drawn = false;
    /** @type {{draft: any, name: string|null}|null} what was typed and not kept */
    this.left = null;
    this.list = el("ul", { class: "pg-rows", "aria-label": "Functions" });
    this.note = el("div", { class: "pg-undone", role: "status", testid: "function-note" });
    this.add = el("button", { class: "pg-button pg-button-plain pg-function-add", type: "button", testid: "function-add", text: "Add a function" });
    this.add.addEventListener("click", () => this.edit(null));
    this.node = el("div", { class: "pg-functions", role: "group", "aria-label": "Functions", testid }, this.list, this.note, this.add);
  }

  get shown() {
    return this.own ?? this.known;
  }

  get() {
    return this.own;
  }

  set(value, inherited) {
    // What has the focus, or is about to get it, is not to be drawn again without need.
    if (this.drawn && alike(value, this.own) && alike(inherited ?? [], this.known)) return;
    this.own = value ?? null;
    this.known = inherited ?? [];
    this.draw();
  }

  draw() {
    this.drawn = true;
    const names = new Set(this.shown.map((fn) => fn.name));
    const off = this.known.filter((fn) => !names.has(fn.name));
    const at = [...this.list.querySelectorAll("button")].indexOf(/** @type {any} */ (document.activeElement));
    this.list.replaceChildren(...this.shown.map((fn) => this.row(fn, true)), ...off.map((fn) => this.row(fn, false)));
    this.list.hidden = !this.list.children.length;
    const full = this.shown.length >= MOST;
    this.add.hidden = full;
    this.notes(full);
    if (at >= 0) (this.list.querySelectorAll("button")[at] ?? this.add).focus({ preventScroll: true });
  }

  row(fn, on) {
    const words = el(
      "div",
      { class: "pg-row-words" },
      el("span", { class: "pg-row-name pg-function-name", text: fn.name }),
      el("small", { text: fn.description || (fn.parameters ? "No description" : "No description, no arguments") }),
    );
    const act = (text, testid, run, kind = "") => {
      const button = el("button", { class: `pg-quiet ${kind}`.trim(), type: "button", testid, "aria-label": `${text} ${fn.name}`, text });
      button.addEventListener("click", run);
      return button;
    };
    const acts = el("div", { class: "pg-row-acts" });
    if (on) {
      acts.append(
        act("Edit", "function-edit", () => this.edit(fn)),
        act("Duplicate", "function-duplicate", () => this.duplicate(fn)),
        act("Delete", "function-delete", () => this.remove(fn), "pg-danger"),
      );
    }
    if (this.known.some((each) => each.name === fn.name)) acts.append(switchOf(fn.name, on, () => this.turn(fn, !on)));
    return el("li", { class: on ? "pg-row" : "pg-row pg-row-off", testid: "function" }, words, acts);
  }

  notes(full) {
    const nodes = [];
    const offer = (text, action, testid, run) => {
      const button = el("button", { class: "pg-quiet", type: "button", testid, text: action });
      button.addEventListener("click", run);
      nodes.push(el("p", {}, el("span", { text }), button));
    };
    if (this.deleted) offer(`“${this.deleted.fn.name}” was deleted.`, "Undo", "function-undo", () => this.restore());
    if (this.left) {
      const { name, draft } = this.left;
      offer(`What you typed for ${name ? `“${name}”` : "a new function"} was not kept.`, "Go on with it", "function-resume", () =>
        this.edit(this.shown.find((fn) => fn.name === name) ?? null, draft));
    }
    if (full) nodes.push(el("p", { text: `These are ${MOST} functions; there is no room for more.` }));
    const held = /** @type {HTMLElement|null} */ (document.activeElement)?.dataset.testid;
    const focused = this.note.contains(document.activeElement);
    this.note.replaceChildren(...nodes);
    if (focused) /** @type {HTMLElement} */ (this.note.querySelector(`[data-testid="${held}"]`) ?? this.add).focus({ preventScroll: true });
  }

  /** @param {Fn[]} next @returns {Promise<Error|null>} */
  put(next) {
    this.own = next;
    this.draw();
    return this.change();
  }

  /** @param {Fn|null} fn @param {any} [draft] */
  edit(fn, draft = null) {
    const before = this.own;
    let refused = false;
    this.left = null;
    editFunction({
      fn,
      draft,
      taken: this.shown.filter((each) => each !== fn).map((each) => each.name),
      save: async (value) => {
        const now = refused ? (before ?? this.known) : this.shown;
        const at = now.findIndex((each) => each.name === fn?.name);
        const error = await this.put(at < 0 ? [...now, value] : now.with(at, value));
        refused = error !== null;
        return error;
      },
      left: (typed) => {
        this.left = typed && { draft: typed, name: fn?.name ?? null };
        // What the server refused is not to be tried again.
        if (refused) {
          this.own = before;
          this.change();
        }
        this.draw();
        this.add.focus({ preventScroll: true });
      },
    });
  }

  duplicate(fn) {
    const names = new Set([...this.shown, ...this.known].map((each) => each.name));
    let number = 2;
    while (names.has(`${fn.name.slice(0, 60)}_${number}`)) number += 1;
    this.put(this.shown.toSpliced(this.shown.indexOf(fn) + 1, 0, { ...fn, name: `${fn.name.slice(0, 60)}_${number}` }));
  }

  remove(fn) {
    this.deleted = { fn, at: this.shown.indexOf(fn) };
    this.put(this.shown.filter((each) => each !== fn));
    /** @type {HTMLElement|null} */ (this.note.querySelector("[data-testid=function-undo]"))?.focus({ preventScroll: true });
  }

  restore() {
    const { fn, at } = this.deleted;
    this.deleted = null;
    this.put(this.shown.some((each) => each.name === fn.name) ? this.shown : this.shown.toSpliced(at, 0, fn));
    /** @type {HTMLElement|undefined} */ (this.list.children[at]?.querySelector("button"))?.focus({ preventScroll: true });
  }

  turn(fn, on) {
    this.put(on ? [...this.shown, fn] : this.shown.filter((each) => each.name !== fn.name));
  }
}

/**
 * @param {string} name @param {boolean} on @param {() => void} turn
 * @returns {HTMLElement} a switch for one function
 */
export function switchOf(name, on, turn) {
  const track = el("span", { class: "pg-switch-track", "aria-hidden": "true" });
  const props = { class: "pg-switch pg-function-switch", type: "button", role: "switch", "aria-checked": String(on), "aria-label": name, testid: "function-switch" };
  return el("button", { ...props, on: { click: turn } }, track);
}
