/** What a reply is made of: answers, tool calls and tool results. (Reasoning has its own module.) */

import { el, icon } from "./dom.js";
import { count } from "./format.js";
import { GrowingMarkdown } from "./growing.js";

/** Text for the user: the answer, or a preamble before a tool call. */
export class Answer {
  /** @param {boolean} final false for a preamble */
  constructor(final) {
    this.final = final;
    this.box = el("div", { class: "pg-prose", testid: final ? "answer" : "preamble" });
    this.element = el("div", { class: "pg-part" }, this.box);
    this.markdown = new GrowingMarkdown(this.box);
  }

  get text() {
    return this.markdown.source;
  }

  append(text) {
    this.markdown.append(text);
  }

  replace(text) {
    this.markdown.replace(text);
  }

  finish() {
    this.markdown.finish();
  }

  /** Answers are never left out of a conversation; one that is fetched later comes by itself. */
  later(fetch) {
    fetch().then((text) => {
      this.replace(text);
      this.finish();
    }, () => {});
  }
}

/** A call of a tool, or what the tool gave back, as a compact card. */
export class ToolCard {
  /** @param {string} title @param {"call"|"result"} kind */
  constructor(title, kind) {
    this.text = "";
    this.code = el("code");
    this.pre = el("pre", { tabindex: "0", "aria-label": title }, this.code);
    this.element = el(
      "section",
      { class: "pg-tool", testid: `tool-${kind}`, "aria-label": title },
      el("div", { class: "pg-tool-name" }, icon("tool"), el("span", { text: title })),
      this.pre,
    );
  }

  append(text) {
    this.text += text;
    this.code.append(text);
  }

  /** The text was left out: it is fetched when somebody wants it. @param {() => Promise<string>} fetch @param {number} chars */
  later(fetch, chars) {
    this.fetch = fetch;
    this.pre.hidden = true;
    this.shower = el("button", { class: "pg-quiet", type: "button", testid: "tool-show" }, `Show ${count(chars)} characters`);
    this.shower.addEventListener("click", () => this.open());
    this.pre.before(this.shower);
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
    this.pre.hidden = false;
    if (document.activeElement === this.shower) this.pre.focus();
    this.shower.remove();
  }

  replace(text) {
    this.text = text;
    this.code.textContent = text;
  }

  finish() {
    this.code.textContent = pretty(this.text);
  }
}

/** @param {string} text @returns {string} JSON with indentation, other text as it is */
function pretty(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

/** @param {string} recipient @returns {string} "functions.get_weather" → "get_weather" */
export function toolName(recipient) {
  return recipient.replace(/^functions\./, "");
}
