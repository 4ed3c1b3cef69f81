/** Where a person types what a function gives back: a box in each waiting call, and one button for all of them. */

import { el } from "./dom.js";
import { JsonError, parseJson } from "./json.js";

const DRAFT = "pg-draft:result:";

/**
 * @typedef {{message_id: string, content: string}} Result
 */

export class ResultForm {
  /**
   * @param {import("./call.js").CallCard[]} calls the ones that wait, in order; each has its message
   * @param {(results: Result[]) => Promise<void>} send
   */
  constructor(calls, send) {
    this.calls = calls;
    this.send = send;
    this.busy = false;
    /** Whether it was said that something is empty. */
    this.warned = false;
    this.boxes = calls.map((call) => this.box(call));
    const many = calls.length > 1;
    this.words = many ? `Send ${calls.length} results` : "Send result";
    this.button = el("button", { class: "pg-button", type: "button", testid: "result-send", text: this.words });
    this.button.addEventListener("click", () => this.submit());
    this.problem = el("p", { class: "pg-problem", role: "alert", testid: "result-problem" });
    const key = navigator.platform.startsWith("Mac") ? "⌘ Enter" : "Ctrl+Enter";
    const hint = el("p", { class: "pg-result-hint", text: `JSON or text. ${key} sends ${many ? "them" : "it"}.` });
    const row = el("div", { class: "pg-result-row" }, hint, this.button);
    this.foot = el("div", { class: many ? "pg-result-foot pg-result-all" : "pg-result-foot", testid: "result-form" }, this.problem, row);
    const last = calls.at(-1);
    if (many) last.element.after(this.foot);
    else last.below.append(this.foot);
    this.grow();
  }

  box(call) {
    const id = `pg-result-${call.message.id}`;
    const input = /** @type {HTMLTextAreaElement} */ (
      el("textarea", { class: "pg-result-input", id, rows: "2", spellcheck: "false", autocapitalize: "off", "aria-describedby": `${id}-kind`, testid: "result-input" })
    );
    input.value = recalled(call.message.id);
    const kind = el("p", { class: "pg-result-kind", id: `${id}-kind`, role: "status", testid: "result-kind" });
    const label = el("label", { class: "pg-result-name", for: id }, "Result", el("span", { class: "pg-vh", text: ` of ${call.name}` }));
    input.addEventListener("input", () => {
      this.warned = false;
      this.problem.textContent = "";
      remember(call.message.id, input.value);
      kind.textContent = kindOf(input.value);
      fit(input);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    kind.textContent = kindOf(input.value);
    call.show("waiting");
    call.below.replaceChildren(el("div", { class: "pg-result-box" }, label, input, kind));
    return input;
  }

  /** Boxes are as tall as their text; asked again once they are in the document. */
  grow() {
    this.boxes.forEach(fit);
  }

  async submit() {
    if (this.busy || this.askedAboutEmpty()) return;
    this.wait(true);
    this.problem.textContent = "";
    const results = this.calls.map((call, index) => ({ message_id: call.message.id, content: this.boxes[index].value }));
    try {
      await this.send(results);
      for (const call of this.calls) remember(call.message.id, "");
    } catch (error) {
      this.say(error.message);
    } finally {
      this.wait(false);
    }
  }

  /** An empty result is one, too, but seldom meant. @returns {boolean} whether somebody has to say it again */
  askedAboutEmpty() {
    const empty = this.boxes.find((input) => !input.value.trim());
    if (!empty || this.warned) return false;
    this.warned = true;
    this.say(`${this.boxes.length > 1 ? "Not every result is written yet" : "The result is empty"}. Send once more to send it like this.`);
    empty.focus();
    return true;
  }

  say(text) {
    this.problem.textContent = text;
    this.foot.scrollIntoView({ block: "nearest" });
  }

  wait(busy) {
    this.busy = busy;
    this.button.setAttribute("aria-disabled", String(busy));
    this.button.textContent = busy ? "Sending…" : this.words;
    for (const input of this.boxes) input.readOnly = busy;
  }

  remove() {
    this.foot.remove();
    for (const call of this.calls) if (!call.result) call.below.replaceChildren();
  }
}

/** @param {string} text @returns {string} what may not be meant */
function kindOf(text) {
  if (!/^\s*[[{]/.test(text)) return "";
  try {
    parseJson(text);
    return "";
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return `Not JSON yet, so it would be sent as text. ${error.message}`;
  }
}

function fit(input) {
  input.style.height = "auto";
  if (input.scrollHeight) input.style.height = `${input.scrollHeight + 2}px`;
}

function recalled(id) {
  try {
    return sessionStorage.getItem(DRAFT + id) ?? "";
  } catch {
    return "";
  }
}

function remember(id, text) {
  try {
    if (text) sessionStorage.setItem(DRAFT + id, text);
    else sessionStorage.removeItem(DRAFT + id);
  } catch {
    // Storage may be full or forbidden; the draft then lives only as long as the page.
  }
}
