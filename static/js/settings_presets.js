/** Presets: save the settings of this conversation under a name, use them in another, rename, delete. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { askText, confirm } from "./menu.js";
import { FIELDS, nothing, summary } from "./values.js";

export class PresetList {
  /**
   * @param {import("./state.js").Store<any>} store
   * @param {{apply: (settings: any) => Promise<void>, noted: (text: string) => void}} on
   */
  constructor(store, on) {
    this.store = store;
    this.on = on;
    this.list = el("ul", { class: "pg-rows", "aria-label": "Presets" });
    this.note = el("p", { class: "pg-sheet-note", role: "status", testid: "preset-note" });
    this.current = el("p", { class: "pg-field-help", id: "pg-preset-current" });
    this.problem = el("p", { class: "pg-problem", role: "alert", testid: "preset-problem" });
    this.node = el("div", {}, this.saver(store), this.problem, this.list, this.note);
    this.drawCurrent();
  }

  saver(store) {
    const input = /** @type {HTMLInputElement} */ (
      el("input", { class: "pg-input", id: "pg-preset-name", maxlength: store.get().limits.max_preset_chars ?? 100, placeholder: "Name of the preset", "aria-describedby": "pg-preset-current", autocomplete: "off", testid: "preset-name" })
    );
    const save = el("button", { class: "pg-button", type: "submit", testid: "preset-save", text: "Save" });
    const label = el("label", { class: "pg-field-name", for: "pg-preset-name", text: "Save this conversation's settings as" });
    const form = el("form", { class: "pg-field" }, el("div", { class: "pg-field-head" }, label), el("div", { class: "pg-join" }, input, save), this.current);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (!name) {
        this.problem.textContent = "Give the preset a name first.";
        input.focus();
        return;
      }
      const done = await this.attempt(() => api.createPreset(name, this.settings()));
      if (!done) return;
      input.value = "";
      this.on.noted("Saved");
    });
    return form;
  }

  settings() {
    const own = this.store.get().settings ?? {};
    return Object.fromEntries(FIELDS.map((field) => [field, own[field] ?? null]));
  }

  drawCurrent() {
    this.current.textContent = summary(this.settings());
  }

  async load() {
    try {
      const { items } = await api.presets();
      const focused = this.list.contains(document.activeElement);
      this.list.replaceChildren(...items.map((preset) => this.row(preset)));
      if (focused) this.list.querySelector("button")?.focus();
      this.note.textContent = items.length ? "" : "There is no preset yet.";
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  row(preset) {
    const act = (words, testid, run, kind = "") => {
      const button = el("button", { class: `pg-quiet ${kind}`.trim(), type: "button", testid, "aria-label": `${words} ${preset.name}`, text: words });
      button.addEventListener("click", run);
      return button;
    };
    const words = el(
      "div",
      { class: "pg-row-words" },
      el("span", { class: "pg-row-name", text: preset.name }),
      el("small", { text: summary(preset.settings) }),
    );
    const acts = el(
      "div",
      { class: "pg-row-acts" },
      act("Use", "preset-use", () => this.use(preset)),
      act("Rename", "preset-rename", () => this.rename(preset)),
      act("Delete", "preset-delete", () => this.remove(preset), "pg-danger"),
    );
    return el("li", { class: "pg-row", testid: "preset" }, words, acts);
  }

  /** A preset is a whole: what it does not set follows the defaults again. */
  async use(preset) {
    this.problem.textContent = "";
    try {
      await this.on.apply({ ...nothing(), ...preset.settings });
      this.on.noted(`“${preset.name}” is in use here`);
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }

  async rename(preset) {
    const name = await askText({ title: "Rename preset", value: preset.name, action: "Rename" });
    if (name && name !== preset.name) await this.attempt(() => api.changePreset(preset.id, { name }));
  }

  async remove(preset) {
    const text = `Conversations that use “${preset.name}” keep their settings.`;
    if (await confirm({ title: "Delete this preset?", text, action: "Delete" })) await this.attempt(() => api.deletePreset(preset.id));
  }

  async attempt(run) {
    this.problem.textContent = "";
    try {
      await run();
      await this.load();
      return true;
    } catch (error) {
      this.problem.textContent = error.message;
      return false;
    }
  }
}
