/** A box for JSON, such as a schema: it says at once where a mistake is, offers an example, and tidies up. */

import { el } from "./dom.js";
import { JsonError, parseJson, pretty, written } from "./json.js";
import { Unusable } from "./settings_fields.js";

/** Nobody wants to be told about a mistake in the middle of a word. */
const PAUSE_MS = 350;

export class JsonBox {
  /**
   * @param {{label: string, testid: string, rows: number, example: object, placeholder: string, changed?: () => void,
   *   check?: (value: any) => string}} options `check` gives a sentence about JSON that is not what is wanted, or ""
   */
  constructor({ label, testid, rows, example, placeholder, changed = () => {}, check = wantsObject }) {
    this.check = check;
    this.changed = changed;
    this.input = /** @type {HTMLTextAreaElement} */ (
      el("textarea", { class: "pg-input pg-input-json", rows, placeholder, testid, "aria-label": label, spellcheck: "false", autocapitalize: "off", autocomplete: "off" })
    );
    this.problem = el("p", { class: "pg-problem", role: "status", id: `${testid}-check`, testid: `${testid}-check` });
    this.input.setAttribute("aria-describedby", this.problem.id);
    const button = (words, name, run) => {
      const node = el("button", { class: "pg-quiet", type: "button", testid: `${testid}-${name}`, text: words });
      node.addEventListener("click", run);
      return node;
    };
    this.tidy = button("Tidy up", "tidy", () => this.put(pretty(parseJson(this.input.value))));
    this.example = button("Insert an example", "example", () => this.put(written(example)));
    this.empty = button("Clear", "clear", () => this.put(""));
    this.tools = el("div", { class: "pg-json-acts" }, this.example, this.tidy, this.empty);
    this.input.addEventListener("input", () => this.edited());
    this.input.addEventListener("blur", () => this.look());
    this.draw();
  }

  /** @param {string} text put there by a button: the browser's own undo takes it back */
  put(text) {
    this.input.focus();
    this.input.select();
    // The old way is the only one that the browser's undo knows.
    if (!document.execCommand(text ? "insertText" : "delete", false, text)) this.input.value = text;
    this.input.setSelectionRange(0, 0);
    this.input.scrollTop = 0;
    this.edited();
    this.look();
  }

  edited() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE_MS);
    if (!this.mistake()) this.problem.textContent = "";
    this.draw();
    this.changed();
  }

  draw() {
    const text = this.input.value.trim();
    this.example.hidden = text !== "";
    this.empty.hidden = text === "";
    let tidied = text;
    try {
      tidied = text && pretty(parseJson(text));
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
    }
    this.tidy.hidden = tidied === text;
  }

  /** Say what is wrong now. */
  look() {
    clearTimeout(this.timer);
    this.problem.textContent = this.mistake();
    if (this.problem.textContent) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** @returns {string} */
  mistake() {
    try {
      this.get();
      return "";
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      return error.message;
    }
  }

  /** @returns {any} what the text says; null where it is empty @throws {Unusable} */
  get() {
    const text = this.input.value.trim();
    if (!text) return null;
    try {
      parseJson(this.input.value);
    } catch (error) {
      if (error instanceof JsonError) throw new Unusable(error.message);
      throw error;
    }
    const value = JSON.parse(text);
    const wrong = this.check(value);
    if (wrong) throw new Unusable(wrong);
    return value;
  }

  /** @param {any} value what is the same stays as it was written */
  set(value) {
    const text = value === null || value === undefined ? "" : written(value);
    let now = null;
    try {
      now = this.get();
    } catch {
      now = undefined;
    }
    if (JSON.stringify(now ?? null) !== JSON.stringify(value ?? null) || now === undefined) this.input.value = text;
    this.look();
    this.draw();
  }
}

function wantsObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? "" : "A schema is a JSON object: it begins with { and ends with }.";
}
