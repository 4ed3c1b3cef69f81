/** A call of a function with its arguments, and what the function gave back, as cards. */

import { el, icon } from "./dom.js";
import { count } from "./format.js";
import { isTree, sizeOf } from "./json.js";
import { JsonView } from "./json_view.js";

/** @param {string} recipient @returns {string} "functions.get_weather" → "get_weather" */
export function toolName(recipient) {
  return recipient.replace(/^functions\./, "");
}

/** A part of a reply whose text may be JSON, and may have been left out. */
class JsonPart {
  /** @param {JsonView} view */
  constructor(view) {
    this.view = view;
    /** @type {(() => Promise<string>)|null} */
    this.fetch = null;
  }

  get text() {
    return this.view.text;
  }

  append(text) {
    this.view.append(text);
  }

  replace(text) {
    this.view.replace(text);
  }

  finish() {
    if (!this.fetch) this.view.finish();
    this.view.tools.hidden = Boolean(this.fetch);
  }

  /** The text was left out: it is fetched when somebody wants it. @param {() => Promise<string>} fetch @param {number} chars */
  later(fetch, chars) {
    this.fetch = fetch;
    this.view.element.hidden = true;
    this.shower = el("button", { class: "pg-quiet", type: "button", testid: "tool-show" }, `Show ${count(chars)} characters`);
    this.shower.addEventListener("click", () => this.open());
    this.view.element.before(this.shower);
  }

  async open() {
    if (!this.fetch) return;
    this.shower.textContent = "Asking the server…";
    try {
      this.replace(await this.fetch());
    } catch (error) {
      this.shower.textContent = error.message;
      return;
    }
    this.fetch = null;
    this.finish();
    this.view.element.hidden = false;
    if (document.activeElement === this.shower) this.view.copy.focus({ preventScroll: true });
    this.shower.remove();
  }
}

export class CallCard extends JsonPart {
  /** @param {string} name of the function */
  constructor(name) {
    super(new JsonView({ label: `arguments of ${name}`, testid: "call-arguments" }));
    this.name = name;
    /** @type {ResultCard|null} */
    this.result = null;
    this.state = el("span", { class: "pg-call-state", testid: "call-state" });
    const title = el("p", { class: "pg-call-name" }, el("span", { class: "pg-vh", text: "Call of " }), el("span", { text: name }));
    const head = el("div", { class: "pg-call-head" }, icon("tool"), title, this.state, this.view.tools);
    this.below = el("div", { class: "pg-call-below" });
    this.element = el("div", { class: "pg-tool", role: "group", testid: "tool-call", "aria-label": `Call of ${name}` }, head, this.view.element, this.below);
  }

  finish() {
    super.finish();
    const { node, body } = this.view;
    const none = node && isTree(node) && !sizeOf(node);
    if (!none) return;
    this.view.raw.hidden = true;
    body.replaceChildren(el("p", { class: "pg-result-empty", text: "No arguments" }));
  }

  /** @param {""|"running"|"waiting"} state */
  show(state) {
    const words = { running: "Running…", waiting: "Waits for its result" }[state] ?? "";
    this.state.textContent = words;
    this.element.dataset.state = state;
  }

  /** @param {ResultCard} result */
  give(result) {
    this.result = result;
    this.show("");
    this.below.replaceChildren(result.element);
  }
}

export class ResultCard extends JsonPart {
  /** @param {string} name of the function @param {boolean} alone its call is not here */
  constructor(name, alone) {
    super(new JsonView({ label: `result of ${name}`, testid: "result-text", folds: true }));
    this.name = name;
    const title = el("p", { class: "pg-result-name", text: alone ? `Result of ${name}` : "Result" });
    this.head = el("div", { class: "pg-call-head" }, title, this.view.tools);
    const kind = alone ? "pg-tool pg-result" : "pg-result";
    this.element = el("div", { class: kind, role: "group", testid: "tool-result", "aria-label": `Result of ${name}` }, this.head, this.view.element);
  }

  finish() {
    super.finish();
    if (this.text === "" && !this.fetch) this.view.body.replaceChildren(el("p", { class: "pg-result-empty", text: "Empty" }));
  }
}
