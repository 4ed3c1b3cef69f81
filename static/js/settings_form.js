/** One level of settings as a form that saves as you go: a conversation's own, or the user's defaults. */

import { el } from "./dom.js";
import { count } from "./format.js";
import { choice, numberBox, slider, textBox, Unusable } from "./settings_fields.js";
import { functionList } from "./settings_functions.js";
import { operatorSwitches } from "./settings_operator.js";
import { schemaBox } from "./settings_schema.js";
import { alike } from "./values.js";

const PAUSE_MS = 600;
const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const FROM = { user: "from your defaults", recommended: "recommended" };

/** @type {Record<string, {label: string, help: string, make: (limits: any, key: string) => import("./settings_fields.js").Maker}>} */
const PLAN = {
  instructions: {
    label: "Instructions",
    help: "What the model should keep to. They are sent as harmony's developer message, before the conversation.",
    make: (limits) => textBox({ lines: 5, most: limits.max_instructions_chars ?? 32_000, hint: "None", testid: "set-instructions" }),
  },
  effort: {
    label: "Reasoning effort",
    help: "How long the model thinks before it answers.",
    make: () => choice({ name: "Reasoning effort", choices: [["low", "Low"], ["medium", "Medium"], ["high", "High"]], testid: "set-effort" }),
  },
  show_reasoning: {
    label: "Reasoning",
    help: "Whether new reasoning is shown open. A click on “Thought for…” opens or closes it in any case.",
    make: () => choice({ name: "Reasoning", choices: [["false", "Closed"], ["true", "Open"]], testid: "set-reasoning" }),
  },
  temperature: {
    label: "Temperature",
    help: "How freely the next word is drawn. 1 is recommended; 0 takes the likeliest word each time.",
    make: () => slider({ least: 0, most: 2, step: 0.05, mark: 1, name: "Temperature", testid: "set-temperature" }),
  },
  top_p: {
    label: "Top p",
    help: "Draw only from the likeliest words that together have this probability. 1 is recommended.",
    make: () => slider({ least: 0.01, most: 1, step: 0.01, mark: 1, name: "Top p", testid: "set-top-p" }),
  },
  max_tokens: {
    label: "Longest reply",
    help: "In tokens, reasoning and answer together.",
    make: (limits) =>
      numberBox({
        least: 1,
        most: 1_000_000,
        name: "The longest reply",
        hint: (inherited) => count(inherited ?? limits.max_tokens_default ?? 0) + " tokens",
        testid: "set-max-tokens",
      }),
  },
  seed: {
    label: "Seed",
    help: "The same seed with the same prompt gives the same reply. Leave it empty to draw one for each reply.",
    make: () => numberBox({ least: 0, most: LARGEST_SEED, name: "The seed", hint: (inherited) => String(inherited ?? "Drawn"), testid: "set-seed" }),
  },
  when_full: {
    label: "When the context is full",
    help: "Nothing is ever left out without a word: the reply's receipt says what was.",
    make: () => choice({ name: "When the context is full", choices: [["ask", "Ask me"], ["drop_oldest", "Leave out the oldest turns"]], testid: "set-when-full" }),
  },
  functions: {
    label: "Functions",
    help: "What the model may call. You see each call in the conversation and type there what it gives back.",
    make: () => functionList({ testid: "set-functions" }),
  },
  operator_functions: {
    label: "Functions of this server",
    help: "The server answers these calls itself, and the reply goes on.",
    make: () => operatorSwitches({ testid: "set-operator-functions" }),
  },
  response_schema: {
    label: "Answer as JSON",
    help: "Every answer is kept to this JSON schema. The reasoning stays free.",
    make: (_, key) => schemaBox({ testid: "set-schema", key }),
  },
  model_identity: {
    label: "Model identity",
    help: "The first line of harmony's system message, in place of the one that the model was trained with.",
    make: (limits) => textBox({ lines: 1, most: limits.max_identity_chars ?? 1000, hint: "You are ChatGPT, a large language model trained by OpenAI.", testid: "set-identity" }),
  },
};

/** What could not be saved when the form was closed: it stands there again next time. */
const unsaved = new Map();

export class SettingsForm {
  /**
   * @param {{key: string, limits: any, own: () => Record<string, any>, inherited: (field: string) => {value: any, from: string},
   *   save: (change: Record<string, any>) => Promise<void>, noted: (text: string) => void, levels: boolean}} level
   *   `key` names what is being set; `levels`: say where a value comes from
   */
  constructor(level) {
    this.level = level;
    this.rows = new Map();
    this.node = el("div", { class: "pg-fields" });
    for (const field of Object.keys(PLAN)) this.node.append(this.build(field));
    this.draw();
    for (const [field, row] of this.rows) this.recall(field, row);
  }

  build(field) {
    const { label, help, make } = PLAN[field];
    const control = make(this.level.limits, this.level.key)(() => this.edited(field));
    const id = `pg-field-${this.level.key.replace(/\W/g, "")}-${field}`;
    const name = el(control.label ? "label" : "span", { class: "pg-field-name", for: control.label ? id : null, text: label });
    const origin = el("span", { class: "pg-field-from", testid: `from-${field}` });
    const reset = el("button", { class: "pg-quiet", type: "button", testid: `reset-${field}`, "aria-label": `Reset ${label.toLowerCase()}`, text: "Reset" });
    const hint = el("p", { class: "pg-field-help", id: `${id}-help`, text: help });
    const problem = el("p", { class: "pg-problem", id: `${id}-problem`, role: "alert", testid: `problem-${field}` });
    if (control.label) control.label.id = id;
    (control.label ?? control.node).setAttribute("aria-describedby", `${hint.id} ${problem.id}`);
    reset.addEventListener("click", () => this.reset(field));
    control.node.addEventListener("focusout", () => this.flush(field));
    const row = { field, control, origin, reset, problem, timer: 0, dirty: false, recalled: false, round: 0 };
    this.rows.set(field, row);
    const head = el("div", { class: "pg-field-head" }, name, origin, reset);
    return el("div", { class: "pg-field", data: { field } }, head, control.node, hint, problem);
  }

  /** Show what is set; what somebody is changing stays as it is. */
  draw() {
    const own = this.level.own();
    for (const row of this.rows.values()) {
      // What the form before this one could not save was saved after all.
      if (row.recalled && !unsaved.has(this.keyOf(row.field))) this.forget(row);
      const { field, control, origin, reset, dirty } = row;
      const { value, from } = this.level.inherited(field);
      const mine = own[field] ?? null;
      reset.hidden = mine === null && !dirty;
      origin.textContent = mine !== null || dirty ? "" : this.level.levels ? FROM[from] : FROM.recommended;
      if (!dirty) control.set(mine, value);
    }
  }

  recall(field, row) {
    const kept = unsaved.get(this.keyOf(field));
    if (kept === undefined) return;
    row.control.set(kept.value, this.level.inherited(field).value);
    row.dirty = row.recalled = true;
    row.problem.textContent = kept.problem;
    row.reset.hidden = false;
  }

  keyOf(field) {
    return `${this.level.key}:${field}`;
  }

  edited(field) {
    const row = this.rows.get(field);
    row.dirty = true;
    row.recalled = false;
    row.round += 1;
    row.problem.textContent = "";
    row.reset.hidden = false;
    row.origin.textContent = "";
    clearTimeout(row.timer);
    if (row.control.quick) return this.flush(field);
    row.timer = setTimeout(() => this.flush(field), PAUSE_MS);
    return Promise.resolve(null);
  }

  /** Save what was changed and not saved yet. @returns {Promise<Error|null>} why it could not be */
  async flush(field) {
    const row = this.rows.get(field);
    clearTimeout(row.timer);
    if (!row.dirty) return null;
    let value;
    try {
      value = row.control.get();
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      row.problem.textContent = error.message;
      return error;
    }
    if (!alike(value, this.level.own()[field])) return this.send(row, value);
    this.clean(row);
    return null;
  }

  clean(row) {
    unsaved.delete(this.keyOf(row.field));
    this.forget(row);
    this.draw();
  }

  forget(row) {
    row.dirty = row.recalled = false;
    row.problem.textContent = "";
  }

  async send(row, value) {
    const round = (row.round += 1);
    this.level.noted("Saving…");
    const problem = unsaved.get(this.keyOf(row.field))?.problem ?? "This was not saved yet.";
    unsaved.set(this.keyOf(row.field), { value, problem });
    try {
      await this.level.save({ [row.field]: value });
      this.level.noted("Saved");
      if (round === row.round) this.clean(row);
      return null;
    } catch (error) {
      this.level.noted("");
      if (round !== row.round) return error;
      row.problem.textContent = `Not saved. ${error.message}`;
      unsaved.set(this.keyOf(row.field), { value, problem: row.problem.textContent });
      return error;
    }
  }

  async reset(field) {
    const row = this.rows.get(field);
    clearTimeout(row.timer);
    this.forget(row);
    row.control.set(null, this.level.inherited(field).value);
    (row.control.label ?? row.control.node.querySelector("input:checked, input, textarea, button:not([hidden])"))?.focus();
    if ((this.level.own()[field] ?? null) === null) this.clean(row);
    else await this.send(row, null);
  }

  /** Forget what is being changed and show what is set: all of it was set at once. */
  refresh() {
    for (const row of this.rows.values()) {
      clearTimeout(row.timer);
      row.round += 1;
      this.forget(row);
      unsaved.delete(this.keyOf(row.field));
    }
    this.draw();
  }

  /** The form goes away: what is still unsaved is saved now. */
  leave() {
    for (const field of this.rows.keys()) this.flush(field);
  }
}
