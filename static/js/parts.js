/** What a reply is made of: text for the user. (Reasoning, calls and answers as JSON have their own modules.) */

import { el } from "./dom.js";
import { GrowingMarkdown } from "./growing.js";
import { plainText } from "./plain.js";

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

  /** @returns {string} for the clipboard */
  plain() {
    return plainText(this.box);
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
