/** The search dialog: type, choose where to look, go through what was found with the arrow keys, open one with Enter. */

import * as api from "./api.js";
import { shortDate } from "./dates.js";
import { createDialog } from "./dialog.js";
import { el, icon } from "./dom.js";
import { isPlainClick, pathOf } from "./router.js";

const KINDS = [
  ["title", "Titles", "Title"],
  ["question", "Questions", "Question"],
  ["answer", "Answers", "Answer"],
  ["reasoning", "Reasoning", "Reasoning"],
  ["tool", "Tools", "Tool"],
];
const USUAL = ["title", "question", "answer"];
const KEY = "pg-search-kinds";
const PAUSE_MS = 140;
const PAGE = 20;
/** So near to the end (in pixels) the next page is asked for. */
const NEAR = 240;

const LABELS = Object.fromEntries(KINDS.map(([kind, , label]) => [kind, label]));

/** @typedef {{open: (id: string, hit: {message: string, kind: string}|null) => void, latest: () => any[]}} On */

/** @type {SearchDialog|null} */
let shown = null;

/** @param {On} on */
export function openSearch(on) {
  shown ??= new SearchDialog(on);
}

class SearchDialog {
  /** @param {On} on */
  constructor(on) {
    this.on = on;
    this.kinds = remembered();
    this.query = "";
    this.cursor = null;
    this.options = [];
    this.chosen = -1;
    this.timer = 0;
    /** @type {AbortController|null} */
    this.asking = null;
    /** The answer to what was typed. @type {Promise<void>} */
    this.answered = Promise.resolve();
    const { dialog, head, body, close } = createDialog({
      title: "Search",
      testid: "search-dialog",
      kind: "pg-search",
      closed: () => this.closed(),
    });
    this.close = close;
    this.build();
    head.querySelector("h2").classList.add("pg-vh");
    head.prepend(icon("search"), this.input);
    body.append(this.chips, this.status, this.list, this.tail);
    this.scroller = body;
    body.addEventListener("scroll", () => this.scrolled(), { passive: true });
    dialog.addEventListener("keydown", (event) => this.key(event));
    this.input.focus();
    this.draw();
  }

  build() {
    this.input = el("input", {
      class: "pg-search-input",
      type: "text",
      role: "combobox",
      placeholder: "Search your conversations",
      "aria-label": "Search your conversations",
      "aria-controls": "pg-found",
      "aria-expanded": "true",
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      enterkeyhint: "search",
      maxlength: "200",
      testid: "search-input",
    });
    this.input.addEventListener("input", () => this.typed());
    this.chips = el("div", { class: "pg-search-kinds", role: "group", "aria-label": "Where to search" });
    for (const [kind, name] of KINDS) {
      const chip = el("button", { class: "pg-search-kind", type: "button", testid: `search-${kind}`, data: { kind } }, icon("check"), name);
      chip.addEventListener("click", () => this.toggle([kind]));
      this.chips.append(chip);
    }
    this.markChips();
    this.status = el("div", { class: "pg-search-status", role: "status", testid: "search-status" });
    this.list = el("div", { class: "pg-found", id: "pg-found", role: "listbox", "aria-label": "Results", testid: "search-results" });
    this.tail = el("div", { class: "pg-search-tail" });
  }

  closed() {
    shown = null;
    clearTimeout(this.timer);
    this.asking?.abort();
  }

  markChips() {
    for (const chip of this.chips.children) chip.setAttribute("aria-pressed", String(this.kinds.includes(chip.dataset.kind)));
  }

  /** @param {string[]} kinds */
  toggle(kinds) {
    for (const kind of kinds) {
      this.kinds = this.kinds.includes(kind) ? this.kinds.filter((each) => each !== kind) : [...this.kinds, kind];
    }
    remember(this.kinds);
    this.markChips();
    this.draw();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.draw(), PAUSE_MS);
  }

  /** What stands there for the text and the chips as they are now. */
  draw() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.asking = null;
    this.query = this.input.value.trim();
    this.cursor = null;
    this.tail.replaceChildren();
    this.answered = Promise.resolve();
    if (!this.query) this.recent();
    else if (!this.kinds.length) this.nothing("Choose where to search.");
    else this.answered = this.ask();
  }

  recent() {
    const latest = this.on.latest().slice(0, 12);
    this.fill(latest.map((conversation) => ({ conversation, kind: "title", created_at: conversation.updated_at, snippet: null })));
    this.say(latest.length ? "Recent conversations" : "You have no conversations yet.");
  }

  async ask() {
    const asking = new AbortController();
    this.asking = asking;
    const first = this.cursor === null;
    const slow = setTimeout(() => this.wait(first), 200);
    const kinds = KINDS.map(([kind]) => kind).filter((kind) => this.kinds.includes(kind)).join(",");
    try {
      const { items, next_cursor: next } = await api.search({ q: this.query, kinds, limit: PAGE, cursor: this.cursor }, asking.signal);
      if (asking.signal.aborted) return;
      this.cursor = next;
      this.found(items, first);
    } catch (error) {
      if (!asking.signal.aborted) this.failed(error, first);
    } finally {
      clearTimeout(slow);
      if (this.asking === asking) {
        this.asking = null;
        delete this.list.dataset.pgOld;
        this.scrolled();
      }
    }
  }

  wait(first) {
    if (!first) return this.tail.replaceChildren(el("p", { class: "pg-search-more", text: "More…" }));
    this.list.dataset.pgOld = "";
    this.say("Searching…");
  }

  found(items, first) {
    this.tail.replaceChildren();
    if (first) this.fill(items);
    else this.add(items);
    const total = this.options.length;
    if (total) this.say(`${total}${this.cursor ? "+" : ""} ${total === 1 ? "result" : "results"}`);
    else this.none();
  }

  none() {
    this.nothing(`Nothing was found for “${this.query}”.`);
    const more = ["reasoning", "tool"].filter((kind) => !this.kinds.includes(kind));
    if (!more.length) return;
    const button = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "search-deeper", text: "Search reasoning and tools, too" });
    button.addEventListener("click", () => {
      this.toggle(more);
      this.input.focus();
    });
    this.tail.replaceChildren(button);
  }

  failed(error, first) {
    const again = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "search-again", text: "Try again" });
    again.addEventListener("click", () => {
      this.tail.replaceChildren();
      this.input.focus();
      this.ask();
    });
    if (first) this.nothing(error.message);
    else this.say(error.message);
    this.tail.replaceChildren(again);
  }

  nothing(text) {
    this.fill([]);
    this.say(text);
  }

  say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  fill(items) {
    this.options = [];
    this.list.replaceChildren();
    this.scroller.scrollTop = 0;
    this.add(items);
    this.choose(items.length ? 0 : -1);
  }

  add(items) {
    for (const item of items) {
      const node = this.option(item, this.options.length);
      this.options.push({ item, node });
      this.list.append(node);
    }
    this.list.hidden = !this.options.length;
  }

  option({ conversation, kind, created_at: at, snippet }, place) {
    const named = kind === "title";
    const title = el("span", { class: "pg-found-title" });
    if (named && snippet) marked(title, snippet);
    else title.textContent = conversation.title || "Untitled";
    const head = el("span", { class: "pg-found-head" }, title, el("time", { datetime: at, text: shortDate(at) }));
    const node = el(
      "a",
      { class: "pg-found-item", role: "option", id: `pg-found-${place}`, href: pathOf(conversation.id), tabindex: "-1", "aria-selected": "false", testid: "search-result", data: { kind } },
      head,
    );
    if (conversation.archived) title.after(el("span", { class: "pg-badge", text: "Archived" }));
    if (!named) {
      const line = el("span", { class: "pg-found-snippet" }, el("span", { class: "pg-found-kind", text: LABELS[kind] ?? "" }));
      marked(line, snippet ?? []);
      node.append(line);
    }
    node.addEventListener("click", (event) => {
      if (!isPlainClick(event)) return;
      event.preventDefault();
      this.open(place);
    });
    node.addEventListener("pointermove", () => this.chosen === place || this.choose(place));
    return node;
  }

  choose(place, show = false) {
    this.options[this.chosen]?.node.setAttribute("aria-selected", "false");
    this.chosen = place;
    const node = this.options[place]?.node;
    if (!node) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    node.setAttribute("aria-selected", "true");
    this.input.setAttribute("aria-activedescendant", node.id);
    if (show) node.scrollIntoView({ block: "nearest" });
  }

  key(event) {
    if (event.isComposing || event.target !== this.input) return;
    const end = this.options.length - 1;
    const next = { ArrowDown: Math.min(end, this.chosen + 1), ArrowUp: Math.max(0, this.chosen - 1) }[event.key];
    if (next !== undefined && end >= 0) this.choose(next, true);
    else if (event.key === "Enter") this.enter();
    else return;
    event.preventDefault();
  }

  /** Enter before the answer is there means the answer to what was typed. */
  async enter() {
    if (this.input.value.trim() !== this.query) this.draw();
    const { query } = this;
    await this.answered;
    if (shown === this && query === this.query) this.open(this.chosen);
  }

  open(place) {
    const item = this.options[place]?.item;
    if (!item) return;
    this.close();
    this.on.open(item.conversation.id, item.message_id ? { message: item.message_id, kind: item.kind } : null);
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (this.asking || !this.cursor || this.tail.firstChild || scrollHeight - scrollTop - clientHeight > NEAR) return;
    this.ask();
  }
}

/** The text with its hits marked; text is never read as markup. */
function marked(node, snippet) {
  for (const { text, hit } of snippet) node.append(hit ? el("mark", { text }) : text);
}

function remembered() {
  try {
    const kinds = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return Array.isArray(kinds) ? KINDS.map(([kind]) => kind).filter((kind) => kinds.includes(kind)) : USUAL;
  } catch {
    return USUAL;
  }
}

function remember(kinds) {
  try {
    localStorage.setItem(KEY, JSON.stringify(kinds));
  } catch {
    // The usual ones next time.
  }
}
