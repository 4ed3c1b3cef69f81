/**
 * Markdown that grows while it is read. Finished blocks are drawn once and left alone; only the last block is drawn
 * again, at most once a frame, less often when it has become expensive, and only what differs enters the document.
 */

import { loadedMarkdown, loadMarkdown } from "./markdown.js";
import { patch } from "./patch.js";

/** A last line such as "2." may still turn into the next item of the list above it. */
const UNDECIDED = /^[ \t]*(?:\d{0,9}[.)]?|[-*+>#`~=|]*)[ \t]*$/;
/** After a drawing that took t ms the next one waits at least this many times t. */
const REST = 6;

export class GrowingMarkdown {
  /** @param {HTMLElement} box receives the blocks */
  constructor(box) {
    this.box = box;
    this.source = "";
    this.done = 0;
    this.env = {};
    this.tail = document.createElement("div");
    this.tail.className = "pg-tail";
    box.append(this.tail);
    this.library = loadedMarkdown();
    this.waiting = null;
    this.frame = 0;
    this.timer = 0;
    this.notBefore = 0;
    this.complete = false;
  }

  /** @param {string} text */
  append(text) {
    this.source += text.replaceAll("\r", "");
    this.schedule();
  }

  /** @param {string} text the whole text, in place of what was there */
  replace(text) {
    this.source = text.replaceAll("\r", "");
    this.restart();
    this.schedule();
  }

  /** No more text will come. */
  finish() {
    this.complete = true;
    this.notBefore = 0;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = this.timer = 0;
    this.render();
  }

  restart() {
    this.done = 0;
    this.env = {};
    this.box.replaceChildren(this.tail);
  }

  schedule() {
    if (this.frame || this.timer) return;
    const wait = this.notBefore - performance.now();
    if (wait > 20) {
      this.timer = setTimeout(() => {
        this.timer = 0;
        this.schedule();
      }, wait);
      return;
    }
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    if (!this.library) {
      this.plain();
      return;
    }
    const begin = performance.now();
    const fresh = this.source.slice(this.done);
    const tokens = this.library.parser.parse(fresh, this.env);
    const split = this.complete ? null : lastBlock(tokens, fresh);
    if (split) {
      this.tail.before(this.library.draw(tokens.slice(0, split.token), this.env));
      this.done += split.offset;
    }
    patch(this.tail, this.library.draw(split ? tokens.slice(split.token) : tokens, this.env));
    if (this.complete) this.settle();
    this.notBefore = performance.now() + (performance.now() - begin) * REST;
  }

  /** At the end: a link whose address was defined below its use needs one drawing of the whole. */
  settle() {
    if (this.done && Object.keys(this.env.references ?? {}).length) {
      this.restart();
      this.tail.replaceChildren(this.library.draw(this.library.parser.parse(this.source, this.env), this.env));
    }
    this.tail.replaceWith(...this.tail.childNodes);
  }

  /** Until the libraries are here the text stands as it is. */
  plain() {
    this.tail.textContent = this.source;
    this.tail.classList.add("pg-plain");
    this.waiting ??= loadMarkdown().then(
      (library) => {
        this.library = library;
        this.tail.classList.remove("pg-plain");
        this.render();
      },
      () => {},
    );
  }
}

/**
 * Where the last top-level block begins: its index in `tokens` and its offset in `text`; null when there is only one
 * or when it is too early to say that the one before is over.
 */
function lastBlock(tokens, text) {
  let index = tokens.length - 1;
  while (index > 0 && !(tokens[index].level === 0 && tokens[index].nesting >= 0)) index -= 1;
  const line = tokens[index]?.map?.[0] ?? 0;
  if (index <= 0 || line === 0) return null;
  let offset = 0;
  for (let passed = 0; passed < line; passed += 1) offset = text.indexOf("\n", offset) + 1;
  return UNDECIDED.test(text.slice(offset)) ? null : { token: index, offset };
}
