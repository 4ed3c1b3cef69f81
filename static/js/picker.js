/** The model picker: what there is, what it needs, whether it fits here, and the change to another. */

import * as api from "./api.js";
import { el, icon } from "./dom.js";
import { bytes, isDemo, modelName } from "./format.js";
import { confirm } from "./menu.js";
import { createPanel } from "./panel.js";

const MARKS = { fits: "check", tight: "alert", too_large: "close", unknown: "question" };
const weights = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export class ModelPicker {
  /**
   * @param {HTMLButtonElement} button
   * @param {import("./state.js").Store<any>} store
   * @param {{toast: (text: string) => void, chosen: () => void}} on `chosen`: another model is on its way
   */
  constructor(button, store, on) {
    this.button = button;
    this.store = store;
    this.on = on;
    this.items = [];
    this.panel = createPanel({ button, label: "Models", testid: "model-picker", opened: () => this.ask() });
    this.note = el("p", { class: "pg-panel-note", role: "status", testid: "picker-note" });
    this.list = el("ul", { class: "pg-offers" });
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.panel.body.append(this.list, this.note);
    store.on(["model"], () => this.panel.isOpen() && this.ask());
  }

  async ask() {
    if (!this.items.length) this.note.textContent = "Asking the server…";
    try {
      const { items, may_choose: mayChoose, why_not: whyNot } = await api.models();
      this.note.textContent = whyNot;
      this.draw(items, mayChoose);
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  draw(items, mayChoose) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.items = items;
    this.list.replaceChildren(...items.map((item) => el("li", {}, this.entry(item, mayChoose))));
    if (focused) [...this.list.querySelectorAll("button")].find((each) => each.dataset.name === focused)?.focus();
  }

  /** An entry that cannot be chosen can still be read and reached by keyboard. */
  entry(item, mayChoose) {
    const open = mayChoose && !item.active;
    const state = item.active ? "Answers now" : item.wanted && this.underWay() ? "On its way" : "";
    const props = {
      class: "pg-offer",
      type: "button",
      testid: "model-offer",
      data: { name: item.name, verdict: item.fit.verdict },
      "aria-current": item.active ? "true" : null,
      "aria-disabled": open ? null : "true",
    };
    const head = el("span", { class: "pg-offer-head" }, el("span", { class: "pg-offer-name", text: title(item) }));
    if (state) head.append(el("span", { class: "pg-badge", text: state }));
    const fit = el("span", { class: "pg-offer-fit" }, icon(MARKS[item.fit.verdict] ?? "question"), item.fit.sentence);
    const node = el("button", props, head, el("span", { class: "pg-offer-size", text: size(item) }), fit);
    if (open) node.addEventListener("click", () => this.choose(item));
    return node;
  }

  underWay() {
    const { target } = this.store.get().model;
    return Boolean(target && target.stage !== "failed" && target.stage !== "ready");
  }

  async choose(item) {
    this.panel.hide();
    const tooLarge = item.fit.verdict === "too_large";
    if (!item.demonstration && !(await confirm(question(item, tooLarge)))) {
      this.button.focus();
      return;
    }
    this.button.focus();
    try {
      await api.chooseModel(item.name, tooLarge);
      this.on.chosen();
    } catch (error) {
      this.on.toast(error.message);
    }
  }

  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.list.querySelectorAll("button")];
    buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length].focus();
  }
}

function title(item) {
  return isDemo(item) ? modelName(item.name, true) : modelName(item.name, false);
}

function size(item) {
  if (!item.parameters) return item.name;
  const to = item.download_bytes ? `${bytes(item.download_bytes)} to fetch` : "nothing to fetch";
  const fetched = item.active ? "in memory" : to;
  return `${weights.format(item.parameters)} weights · ${fetched}`;
}

function question(item, tooLarge) {
  const name = title(item);
  if (tooLarge) {
    const text = `${item.fit.sentence} Loading it will most likely fail. Do you want to try it anyway?`;
    return { title: `Load ${name} anyway?`, text, action: "Load anyway" };
  }
  const fetched = item.download_bytes ? ` If it is not here yet, ${bytes(item.download_bytes)} are fetched first.` : "";
  const text = `${item.fit.sentence}${fetched} From then on it answers everybody who uses this playground.`;
  return { title: `Change to ${name}?`, text, action: "Change", danger: false };
}
