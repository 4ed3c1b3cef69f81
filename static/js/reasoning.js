/** One stretch of reasoning: a quiet line that opens to small grey text. Hidden text is not in the document. */

import { el, icon } from "./dom.js";
import { count, duration } from "./format.js";

let serial = 0;

export class Reasoning {
  /** @param {{open: boolean, live: boolean, since: number}} how `since` is a `performance.now()` time */
  constructor({ open, live, since }) {
    this.text = "";
    this.tokens = null;
    this.seconds = null;
    this.live = live;
    this.since = since;
    this.body = el("div", { class: "pg-thought", id: `pg-thought-${(serial += 1)}`, testid: "reasoning-body", hidden: true });
    this.label = el("span", { class: live ? "pg-shimmer" : "" });
    this.button = el(
      "button",
      {
        class: "pg-thought-toggle",
        type: "button",
        testid: "reasoning-toggle",
        "aria-expanded": "false",
        "aria-controls": this.body.id,
        on: { click: () => this.open(this.body.hidden) },
      },
      this.label,
      icon("chevron"),
    );
    this.element = el("div", { class: "pg-reasoning" }, this.button, this.body);
    this.timer = live ? setInterval(() => this.caption(), 1000) : 0;
    this.caption();
    this.open(open);
  }

  /** @param {boolean} open */
  open(open) {
    if (open && this.body.hidden) this.fill();
    if (!open) this.body.replaceChildren();
    this.body.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
  }

  fill() {
    this.body.replaceChildren();
    this.write(this.text);
  }

  /** @param {string} text */
  append(text) {
    this.text += text;
    if (!this.body.hidden) this.write(text);
  }

  /** @param {string} text */
  replace(text) {
    this.text = text;
    if (!this.body.hidden) this.fill();
  }

  /** Each paragraph is its own element, so that new text lays out one paragraph and not all. */
  write(text) {
    const parts = text.split("\n\n");
    parts.forEach((part, index) => {
      if (index > 0 || !this.body.lastChild) this.body.append(el("p"));
      const paragraph = this.body.lastChild;
      if (paragraph.firstChild) paragraph.firstChild.appendData(part);
      else paragraph.append(document.createTextNode(part));
    });
  }

  /**
   * The reasoning is over.
   * @param {{tokens?: number|null, seconds?: number|null}} figures
   */
  finish({ tokens = this.tokens, seconds = this.seconds }) {
    clearInterval(this.timer);
    this.live = false;
    this.tokens = tokens;
    this.seconds = seconds;
    this.label.className = "";
    this.caption();
  }

  /** @returns {number} seconds since the thinking began */
  elapsed() {
    return (performance.now() - this.since) / 1000;
  }

  caption() {
    if (this.live) {
      this.label.textContent = `Thinking… ${duration(Math.floor(this.elapsed()))}`;
      return;
    }
    const thought =
      this.seconds === null ? "Thought" : this.seconds < 1 ? "Thought for a moment" : `Thought for ${duration(this.seconds)}`;
    this.label.textContent = this.tokens ? `${thought} · ${count(this.tokens)} tokens` : thought;
  }

  /** Stop the clock of a reply that leaves the page. */
  dispose() {
    clearInterval(this.timer);
  }
}
