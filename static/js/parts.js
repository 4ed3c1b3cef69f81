/** What a reply is made of: answers, tool calls and tool results. (Reasoning has its own module.) */

import { el, icon } from "./dom.js";
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

  /** A saved answer stands as plain text until its turn to be drawn comes. */
  show(text) {
    this.markdown.source = text.replaceAll("\r", "");
    this.markdown.plain();
  }
}

/** A call of a tool, or what the tool gave back, as a compact card. */
export class ToolCard {
  /** @param {string} title @param {"call"|"result"} kind */
  constructor(title, kind) {
    this.text = "";
    this.code = el("code");
    this.element = el(
      "section",
      { class: "pg-tool", testid: `tool-${kind}`, "aria-label": title },
      el("div", { class: "pg-tool-name" }, icon("tool"), el("span", { text: title })),
      el("pre", { tabindex: "0" }, this.code),
    );
  }

  append(text) {
    this.text += text;
    this.code.append(text);
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
