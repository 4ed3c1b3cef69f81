/** A text that may be JSON: a tree where it is, the text itself on demand, and a button to copy it. */

import { copyButton, el } from "./dom.js";
import { isTree, pretty, tryJson } from "./json.js";
import { jsonTree } from "./json_tree.js";

/** A longer text is shown as it is: to read it as a tree would take longer than a reader waits. */
const LONGEST = 500_000;
const FOLDED_LINES = 14;
const FOLDED_CHARS = 1200;

export class JsonView {
  /** @param {{label: string, testid: string, folds?: boolean}} options `folds`: what is long is closed at first */
  constructor({ label, testid, folds = false }) {
    this.text = "";
    this.folds = folds;
    this.node = null;
    this.code = el("code");
    this.pre = el("pre", { tabindex: "0", role: "group", "aria-label": label }, this.code);
    this.body = el("div", { class: "pg-json-view", testid }, this.pre);
    this.raw = el("button", { class: "pg-quiet", type: "button", testid: `${testid}-raw`, "aria-pressed": "false", "aria-label": `Raw text: ${label}`, hidden: true, text: "Raw" });
    this.raw.addEventListener("click", () => this.show(this.raw.getAttribute("aria-pressed") !== "true"));
    this.unfold = el("button", { class: "pg-quiet pg-json-more", type: "button", testid: `${testid}-unfold`, "aria-expanded": "false", hidden: true, text: "Show all of it" });
    this.unfold.addEventListener("click", () => this.fold(this.unfold.getAttribute("aria-expanded") === "true"));
    // What takes the focus is to be seen.
    this.body.addEventListener("focusin", () => this.body.classList.contains("pg-folded") && this.fold(false));
    this.copy = copyButton(() => this.text, `Copy: ${label}`);
    this.tools = el("div", { class: "pg-json-tools" }, this.raw, this.copy);
    this.element = el("div", {}, this.body, this.unfold);
  }

  append(text) {
    this.text += text;
    this.code.append(text);
  }

  replace(text) {
    this.text = text;
    this.node = null;
    this.code.textContent = text;
    this.body.replaceChildren(this.pre);
  }

  /** No more text will come. @returns {boolean} whether it is JSON with something in it to open */
  finish() {
    this.node = this.text.length <= LONGEST ? tryJson(this.text) : null;
    this.raw.hidden = !this.node || !isTree(this.node);
    if (!this.raw.hidden) this.show(false);
    const long = this.text.length > FOLDED_CHARS || this.lines() > FOLDED_LINES;
    if (this.folds) {
      this.unfold.hidden = !long;
      this.fold(long);
    }
    return !this.raw.hidden;
  }

  lines() {
    return (this.node ? pretty(this.node) : this.text).split("\n").length;
  }

  /** @param {boolean} raw */
  show(raw) {
    this.raw.setAttribute("aria-pressed", String(raw));
    this.body.replaceChildren(raw ? this.pre : jsonTree(this.node));
  }

  /** @param {boolean} closed */
  fold(closed) {
    this.body.classList.toggle("pg-folded", closed);
    this.unfold.setAttribute("aria-expanded", String(!closed));
    this.unfold.textContent = closed ? "Show all of it" : "Show less";
  }
}
