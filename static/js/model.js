/** What answers now, and how far the model that was asked for has come. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { bytes, isDemo, modelName, remaining } from "./format.js";

const BUSY_MS = 1000;
const CALM_MS = 15_000;
const HURRY_MS = 5000;
const UNDER_WAY = ["queued", "downloading", "loading", "warming"];
const STAGES = {
  queued: "waits to be loaded",
  downloading: "is being downloaded",
  loading: "is being loaded into memory",
  warming: "is warming up",
};
const ABOUT_DEMO = "Demonstration model: tiny, made by this project, knows a few tasks";

export class ModelStatus {
  /**
   * @param {{chip: HTMLElement, banner: HTMLElement, label: HTMLElement}} nodes
   * @param {import("./state.js").Store<any>} store
   */
  constructor({ chip, banner, label }, store) {
    this.chip = chip;
    this.banner = banner;
    this.label = label;
    this.store = store;
    this.drawn = "";
    this.hurryUntil = 0;
    store.on(["ready", "model"], (state) => this.draw(state));
    document.addEventListener("visibilitychange", () => document.hidden || this.poll());
    let last = "ok";
    store.on(["connection"], ({ connection }) => {
      // A server that is back may have been started anew, with its model still on the way.
      if (connection === "ok" && last !== "ok") this.poll();
      last = connection;
    });
  }

  /** Ask again and again, often only while something is under way. */
  async poll() {
    clearTimeout(this.timer);
    let least = 0;
    if (!document.hidden) {
      try {
        this.take(await api.model());
      } catch (error) {
        this.lost(error);
        least = 1000 * (error.retryAfter ?? 0);
      }
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), Math.max(least, this.busy() ? BUSY_MS : CALM_MS));
  }

  /** Another model was chosen: it is on its way, or will be in a moment. */
  expect() {
    this.hurryUntil = Date.now() + HURRY_MS;
    return this.poll();
  }

  take(model) {
    const { model: known, suggestions, connection, running } = this.store.get();
    if (JSON.stringify(model) !== JSON.stringify(known)) {
      // What is proposed depends on what will answer.
      this.store.set({ model, suggestions: model.suggestions ?? suggestions });
    }
    if (["reconnecting", "restarting"].includes(connection) && !running) this.store.set({ connection: "ok" });
  }

  /** While a reply runs its stream tells about the connection. */
  lost(error) {
    const { connection, running } = this.store.get();
    if (api.isRestarting(error)) this.store.set({ connection: "restarting" });
    if (error.code === "network" && connection === "ok" && !running) this.store.set({ connection: "reconnecting" });
  }

  busy() {
    const { model, connection } = this.store.get();
    if (["reconnecting", "restarting"].includes(connection) || Date.now() < this.hurryUntil) return true;
    const { active, target } = model;
    const underWay = Boolean(target && UNDER_WAY.includes(target.stage));
    return underWay || (active?.stage !== "ready" && (active ?? target)?.stage !== "failed");
  }

  draw({ ready, model: { active, target } }) {
    const shown = active ?? target;
    const stage = shown?.stage ?? "none";
    this.chip.dataset.stage = ready ? stage : "connecting";
    const name = shown ? (isDemo(shown) ? "Demo model" : modelName(shown.name, false)) : "No model";
    const words = { ready: "", failed: " · failed", none: "" }[stage] ?? ` · ${stage}`;
    const text = ready ? `${name}${words}` : "Connecting";
    this.chip.querySelector("[data-pg-text]").textContent = text;
    this.chip.setAttribute("aria-label", `Model: ${text}. Show all models`);
    this.chip.title = shown ? facts(shown) : "";
    this.label.hidden = !(isDemo(active) && active.stage === "ready");
    this.label.textContent = ABOUT_DEMO;
    this.drawBanner(active, target);
  }

  drawBanner(active, target) {
    const subject = target ?? (active && active.stage !== "ready" ? active : null);
    const note = !subject && active?.note ? active.note : "";
    const show = note || (subject && (UNDER_WAY.includes(subject.stage) || subject.stage === "failed"));
    const key = JSON.stringify([subject, note, active?.demonstration]);
    this.banner.hidden = !show;
    if (!show || key === this.drawn) return;
    this.drawn = key;
    if (note) this.banner.replaceChildren(el("p", { text: note }));
    else this.banner.replaceChildren(...this.progress(subject, active));
    this.banner.dataset.stage = subject?.stage ?? "note";
  }

  progress(subject, active) {
    const name = isDemo(subject) ? "The demonstration model" : modelName(subject.name, false);
    const helped = isDemo(active) && active.stage === "ready" && !isDemo(subject);
    if (subject.stage === "failed") {
      const text = subject.note || `${name} could not be loaded.`;
      return [el("p", { text: helped ? `${text} The demonstration model answers instead.` : text })];
    }
    const words = [`${name} ${STAGES[subject.stage]}.`, helped ? "The demonstration model answers meanwhile." : ""];
    const nodes = [el("p", { text: words.join(" ").trim() })];
    const { bytes_done: done, bytes_total: total, eta_seconds: eta } = subject;
    if (subject.stage === "downloading" && total) {
      const percent = Math.min(100, Math.floor((100 * (done ?? 0)) / total));
      const left = eta === null || eta === undefined ? "" : ` · ${remaining(eta)}`;
      nodes.push(
        bar(percent, name),
        el("p", { class: "pg-banner-detail", text: `${bytes(done ?? 0)} of ${bytes(total)} · ${percent} %${left}` }),
      );
    } else {
      nodes.push(bar(null, name));
      if (subject.detail) nodes.push(el("p", { class: "pg-banner-detail", text: subject.detail }));
    }
    return nodes;
  }
}

function bar(percent, name) {
  const props = { class: "pg-bar", role: "progressbar", "aria-label": `Progress of ${name}` };
  if (percent === null) return el("div", { ...props, data: { pgBusy: "" } }, el("div"));
  const fill = el("div");
  fill.style.width = `${percent}%`;
  return el("div", { ...props, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent }, fill);
}

function facts(model) {
  const size = model.parameters ? `${new Intl.NumberFormat("en-US", { notation: "compact" }).format(model.parameters)} weights` : "";
  const context = model.context_length ? `${new Intl.NumberFormat("en-US").format(model.context_length)} tokens of context` : "";
  return [model.name, size, model.quantization || model.dtype, model.device, context].filter(Boolean).join(" · ");
}
