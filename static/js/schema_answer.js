/** An answer that was asked for as JSON: a tree, and whether it matches its schema. */

import { el, icon } from "./dom.js";
import { JsonView } from "./json_view.js";

export class SchemaAnswer {
  constructor() {
    this.final = true;
    this.view = new JsonView({ label: "the answer", testid: "answer" });
    this.badge = el("p", { class: "pg-schema-badge", testid: "schema-badge", hidden: true });
    const head = el("div", { class: "pg-call-head" }, this.badge, this.view.tools);
    this.element = el("div", { class: "pg-part pg-tool pg-schema-answer", role: "group", "aria-label": "Answer as JSON" }, head, this.view.element);
  }

  get text() {
    return this.view.text;
  }

  /** @returns {string} for the clipboard */
  plain() {
    return this.text;
  }

  append(text) {
    this.view.append(text);
  }

  replace(text) {
    this.view.replace(text);
  }

  finish() {
    this.view.finish();
  }

  /** @param {{valid: boolean, reason: string|null}|null|undefined} schema what the server found */
  judge(schema) {
    this.badge.hidden = !schema;
    if (!schema) return;
    this.badge.dataset.valid = String(schema.valid);
    const words = schema.valid ? "Matches the schema" : schema.reason || "The answer does not match its schema.";
    this.badge.replaceChildren(icon(schema.valid ? "check" : "alert"), el("span", { text: words }));
  }

  /** Answers are never left out of a conversation; one that is fetched later comes by itself. */
  later(fetch) {
    fetch().then((text) => {
      this.replace(text);
      this.finish();
    }, () => {});
  }
}
