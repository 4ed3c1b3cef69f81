/** One stretch of reasoning: a quiet line that opens to small grey text. Hidden text is not in the document. */

import { el, icon } from "./dom.js";
import { count, duration } from "./format.js";

/** A block of about so many characters is laid out only when it is seen. */
const BLOCK_CHARS = 3000;
/** A paragraph that is longer goes on as another one after a sentence, so that growing text lays out little. */
const LONG_PARAGRAPH = 4000;

let serial = 0;

export class Reasoning {
  /** @param {{open: boolean, live: boolean, since: number}} how `since` is a `performance.now()` time */
  constructor({ open, live, since }) {
    this.text = "";
    this.tokens = null;
    this.seconds = null;
    this.live = live;
    this.since = since;
    /** @type {(() => Promise<string>)|null} */
    this.fetch = null;
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
    this.wanted = open;
    this.caption();
    this.open(open);
  }

  /** @param {boolean} open */
  async open(open) {
    this.wanted = open;
    if (open && this.body.hidden) this.fill();
    if (!open) this.body.replaceChildren();
    this.body.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (open && this.fetch) await this.load();
  }

  /** The text was left out: it is fetched when it is opened. @param {() => Promise<string>} fetch */
  later(fetch) {
    this.fetch = fetch;
    if (this.wanted) this.load();
  }

  async load() {
    const fetch = this.fetch;
    this.body.replaceChildren(el("p", { role: "status", text: "Asking the server…" }));
    try {
      const text = await fetch();
      this.fetch = null;
      this.replace(text);
    } catch (error) {
      this.body.replaceChildren(el("p", { role: "status", text: error.message }));
    }
  }

  fill() {
    this.body.replaceChildren();
    if (!this.fetch) this.write(this.text);
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
    parts.forEach((part, index) => this.continued(part, index > 0));
  }

  continued(text, fresh) {
    let paragraph = fresh ? null : this.body.lastElementChild?.lastElementChild;
    let rest = text;
    while (rest || !paragraph) {
      paragraph ??= this.paragraph("");
      const room = LONG_PARAGRAPH - paragraph.firstChild.length;
      const end = rest.length <= room ? -1 : rest.indexOf(". ", Math.max(0, room));
      const piece = end < 0 ? rest : rest.slice(0, end + 2);
      paragraph.firstChild.appendData(piece);
      rest = rest.slice(piece.length);
      if (!rest) break;
      paragraph = this.paragraph("pg-goes-on");
    }
  }

  paragraph(kind) {
    let block = this.body.lastElementChild;
    if (!block || block.textContent.length > BLOCK_CHARS) {
      block = el("div", { class: "pg-thought-block" });
      this.body.append(block);
    }
    const node = el("p", { class: kind });
    node.append(document.createTextNode(""));
    block.append(node);
    return node;
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
