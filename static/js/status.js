/** The status panel: what the engine does and how fast, asked for only while somebody looks. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { bytes, count, isDemo, modelName, shortSeconds } from "./format.js";
import { createPanel } from "./panel.js";

const EVERY_MS = 2000;

export class StatusPanel {
  /** @param {HTMLButtonElement} button */
  constructor(button) {
    this.panel = createPanel({
      button,
      label: "Engine status",
      testid: "status-panel",
      opened: () => this.open(),
      closed: () => clearTimeout(this.timer),
    });
    this.note = el("p", { class: "pg-panel-note", role: "status", testid: "status-note" });
    this.list = el("dl", { class: "pg-figures-list" });
    this.panel.body.append(this.note, this.list);
    this.drawn = "";
    this.round = 0;
    document.addEventListener("visibilitychange", () => this.panel.isOpen() && this.ask());
  }

  open() {
    if (!this.drawn) this.say("Asking the server…");
    this.ask();
  }

  async ask() {
    clearTimeout(this.timer);
    if (document.hidden || !this.panel.isOpen()) return;
    this.round += 1;
    const round = this.round;
    try {
      const status = await api.status();
      if (round === this.round) this.draw(status);
    } catch (error) {
      if (round === this.round) this.fail(error);
    }
    if (round === this.round && this.panel.isOpen()) this.timer = setTimeout(() => this.ask(), EVERY_MS);
  }

  /** The last figures stay, and are marked as old. */
  fail(error) {
    this.list.dataset.pgOld = "";
    this.say(`${error.message}${this.drawn ? " These are the last figures." : ""}`);
  }

  draw(status) {
    delete this.list.dataset.pgOld;
    this.say(remark(status));
    const text = JSON.stringify(status);
    if (text === this.drawn) return;
    this.drawn = text;
    this.list.replaceChildren(...rows(status).flatMap(row));
  }

  /** Said only when it changes, so that a screen reader is not told the same every two seconds. */
  say(text) {
    if (this.note.textContent !== text) this.note.textContent = text;
    this.note.hidden = !text;
  }
}

function remark({ alive, model, prompts }) {
  if (!alive) return "The model stopped working. Restart the app.";
  if (!model) return "No model answers yet.";
  if (!prompts) return "The engine has not measured anything yet.";
  return prompts.tokens ? "" : "Speed and cache are shown once something was asked.";
}

/** @returns {{name: string, value: string, hint?: string, title?: string, bar?: {share: number, kind: string}[]}[]} */
function rows(status) {
  return [...modelRows(status), ...useRows(status), ...speedRows(status), ...troubleRows(status)];
}

function modelRows({ model, machine }) {
  if (!model) return machine ? [{ name: "Device", value: device(machine, null) }] : [];
  const found = [{ name: "Model", value: isDemo(model) ? modelName(model.name, true) : model.name }];
  if (model.revision) found.push({ name: "Revision", value: model.revision.slice(0, 18), title: model.revision });
  const where = device(machine, model);
  if (where) found.push({ name: "Device", value: where });
  const kind = precision(model);
  if (kind) found.push({ name: "Weights", value: kind });
  return found;
}

/** @returns {string} "bfloat16 · mxfp4", "dequantised to float32", "float32" */
function precision({ dtype, quantization }) {
  const packed = quantization === "none" ? "" : quantization;
  return packed.includes(dtype) ? packed || dtype : [dtype, packed].filter(Boolean).join(" · ");
}

function device(machine, model) {
  const kind = { cpu: "CPU", cuda: "GPU" }[machine?.device ?? model?.device] ?? "";
  const name = machine?.name ?? "";
  return name && name !== kind ? `${name} (${kind})` : kind;
}

function useRows({ memory, running, waiting, pages }) {
  const found = [
    {
      name: memory.of === "gpu" ? "GPU memory" : "Memory",
      value: `${bytes(memory.used)} of ${bytes(memory.total)}`,
      hint: memory.of === "process" ? "this process" : "",
      bar: [{ share: part(memory.used, memory.total), kind: "used" }],
    },
    { name: "Requests", value: `${count(running)} running · ${count(waiting)} waiting` },
  ];
  if (pages?.total) {
    found.push({
      name: "Cache pages",
      value: `${count(pages.used)} in use · ${count(pages.cached)} kept · ${count(pages.free)} free`,
      bar: [
        { share: part(pages.used, pages.total), kind: "used" },
        { share: part(pages.cached, pages.total), kind: "kept" },
      ],
    });
  }
  return found;
}

function speedRows({ prompts, speed }) {
  const found = [];
  if (prompts?.tokens) {
    const percent = Math.round(100 * part(prompts.cached, prompts.tokens));
    found.push({ name: "Prefix hits", value: `${percent} %`, hint: `of ${count(prompts.tokens)} prompt tokens` });
  }
  const first = speed?.first_token_seconds;
  if (first) found.push({ name: "First token", value: brief(first), hint: "median" });
  const gap = speed?.between_tokens_seconds;
  if (gap) {
    const rate = speed.tokens_per_second;
    const each = `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))} tokens/s`;
    found.push({ name: "Speed of a reply", value: each, hint: `${brief(gap)} a token` });
  }
  return found;
}

function troubleRows({ restarts, preemptions }) {
  const found = [];
  if (preemptions) found.push({ name: "Set aside", value: times(preemptions), hint: "the cache was full" });
  if (restarts) found.push({ name: "Restarts", value: times(restarts), hint: "after a fault" });
  return found;
}

const part = (some, all) => (all ? Math.min(1, some / all) : 0);
const times = (number) => (number === 1 ? "once" : `${count(number)} times`);
const brief = (seconds) => (seconds < 0.1 ? `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms` : shortSeconds(seconds));

/** The bar repeats what the words say, so it is not read out. */
function row({ name, value, hint, title, bar }) {
  const words = el("dd", { title }, value, hint && el("span", { class: "pg-figure-hint", text: ` ${hint}` }));
  if (bar) {
    const fills = bar.map(({ share, kind }) => {
      const fill = el("div", { data: { kind } });
      fill.style.width = `${(100 * share).toFixed(1)}%`;
      return fill;
    });
    words.append(el("div", { class: "pg-bar pg-bar-parts", "aria-hidden": "true" }, ...fills));
  }
  return [el("dt", { text: name }), words];
}
