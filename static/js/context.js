/** The context meter: how full the context is, what the conversation has cost, and what happens when it is full. */

import { segments } from "./dialog.js";
import { el } from "./dom.js";
import { count, shortSeconds } from "./format.js";
import { createPanel } from "./panel.js";
import { effective } from "./values.js";

/** From these parts on the meter warns. */
const HIGH = 0.8;
const FULL = 0.95;

/** @param {{used: number, limit: number|null}|null} context @returns {number|null} the part that is used, at most 1 */
export function share(context) {
  return context?.limit ? Math.min(1, context.used / context.limit) : null;
}

/**
 * @param {any} state the store's
 * @returns {string} what somebody who writes should know about the context; "" while there is room
 */
export function warning(state) {
  const part = share(state.context);
  if (part === null || part < HIGH) return "";
  const percent = `${Math.floor(100 * part)} %`;
  if (effective(state, "when_full") === "drop_oldest") return `The context is ${percent} full. When it is full, the oldest turns are left out.`;
  return part < FULL ? `The context is ${percent} full.` : `The context is ${percent} full. The next message may not fit.`;
}

export class ContextMeter {
  /**
   * @param {HTMLButtonElement} button
   * @param {import("./state.js").Store<any>} store
   * @param {{change: (change: any) => Promise<void>}} on
   */
  constructor(button, store, on) {
    this.button = button;
    this.store = store;
    this.on = on;
    this.fill = /** @type {SVGElement} */ (button.querySelector("[data-pg-fill]"));
    this.words = button.querySelector("[data-pg-text]");
    this.panel = createPanel({ button, label: "Context", testid: "context-panel", opened: () => this.draw() });
    this.line = el("p", { class: "pg-context-line", testid: "context-line" });
    this.bar = el("div");
    this.list = el("dl", { class: "pg-figures-list", testid: "context-totals" });
    this.problem = el("p", { class: "pg-problem", role: "alert" });
    this.choice = segments({
      name: "pg-when-full",
      legend: "When the context is full",
      choices: [["ask", "Ask me"], ["drop_oldest", "Leave out the oldest"]],
      value: "ask",
      testid: "when-full",
      changed: (value) => this.choose(value),
    });
    const full = el("div", { class: "pg-context-full" }, el("p", { text: "When it is full" }), this.choice.node, this.problem);
    const bar = el("div", { class: "pg-bar", "aria-hidden": "true" }, this.bar);
    this.panel.body.append(el("div", { class: "pg-context-head" }, this.line, bar), this.list, full);
    store.on(["context", "totals", "settings", "preferences", "view"], () => this.draw());
  }

  draw() {
    const state = this.store.get();
    const part = share(state.context);
    this.button.hidden = part === null || state.view !== "open";
    if (part === null) return;
    const percent = Math.floor(100 * part);
    const { used, limit } = state.context;
    this.button.dataset.level = part >= FULL ? "full" : part >= HIGH ? "high" : "room";
    this.button.setAttribute("aria-label", `Context: ${percent} % used. Show what it is made of`);
    this.button.title = `${count(used)} of ${count(limit)} tokens`;
    this.words.textContent = `${percent} %`;
    this.fill.style.strokeDasharray = `${Math.max(1, 100 * part)} 100`;
    if (!this.panel.isOpen()) return;
    this.line.textContent = `${count(used)} of ${count(limit)} tokens · ${percent} %`;
    this.bar.style.width = `${100 * part}%`;
    this.bar.parentElement.dataset.level = this.button.dataset.level;
    this.choice.set(effective(state, "when_full"));
    this.list.replaceChildren(...rows(state.totals).flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
  }

  async choose(value) {
    this.problem.textContent = "";
    try {
      await this.on.change({ when_full: value });
    } catch (error) {
      this.problem.textContent = error.message;
      this.draw();
    }
  }
}

/** @returns {[string, string][]} */
function rows(totals) {
  if (!totals) return [];
  const { turns, prompt_tokens: input, cached_tokens: cached, completion_tokens: output, reasoning_tokens: reasoning, seconds } = totals;
  const part = (some, words) => (some ? ` · ${count(some)} ${words}` : "");
  return [
    ["Turns", count(turns)],
    ["Tokens read", count(input) + part(cached, "from the cache")],
    ["Tokens written", count(output) + part(reasoning, "reasoning")],
    ["Time", shortSeconds(seconds)],
  ];
}
