/** The controls of the settings: each shows a value or what is inherited, and gives a value or a sentence. */

import { segments } from "./dialog.js";
import { el } from "./dom.js";

/** What a control cannot take; `message` is made for people. */
export class Unusable extends Error {}

/**
 * @typedef {{node: HTMLElement, label: HTMLElement|null, get: () => any, set: (value: any, inherited: any) => void,
 *   quick: boolean}} Control `get` gives null for "not set" and throws Unusable; `quick`: a change is a decision (a
 *   click), not a letter
 */

/** @typedef {(change: () => void) => Control} Maker */

/** @param {{lines: number, most: number, hint: string, testid: string}} options @returns {Maker} */
export const textBox = ({ lines, most, hint, testid }) => (change) => {
  const tag = lines > 1 ? "textarea" : "input";
  const props = { class: "pg-input", rows: lines > 1 ? lines : null, maxlength: most, testid, autocomplete: "off" };
  const box = /** @type {HTMLTextAreaElement} */ (el(tag, props));
  box.addEventListener("input", change);
  return {
    node: box,
    label: box,
    quick: false,
    get: () => (box.value.trim() ? box.value : null),
    set: (value, inherited) => {
      if (box.value !== (value ?? "")) box.value = value ?? "";
      box.placeholder = inherited ? String(inherited).slice(0, 200) : hint;
    },
  };
};

/**
 * A whole number that may be left empty.
 * @param {{least: number, most: number, name: string, hint: (inherited: any) => string, testid: string}} options
 * @returns {Maker}
 */
export const numberBox = ({ least, most, name, hint, testid }) => (change) => {
  const box = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-input-number", inputmode: "numeric", autocomplete: "off", testid })
  );
  box.addEventListener("input", change);
  return {
    node: box,
    label: box,
    quick: false,
    get: () => {
      const text = box.value.replace(/[\s,_]/g, "");
      if (!text) return null;
      const value = /^\d+$/.test(text) ? Number(text) : NaN;
      if (!(value >= least && value <= most)) {
        throw new Unusable(`${name} is a whole number from ${least.toLocaleString("en-US")} to ${most.toLocaleString("en-US")}.`);
      }
      return value;
    },
    set: (value, inherited) => {
      const text = value === null || value === undefined ? "" : String(value);
      if (box.value !== text) box.value = text;
      box.placeholder = hint(inherited);
    },
  };
};

/**
 * A slider and a number that show the same value; the recommended one has a mark.
 * @param {{least: number, most: number, step: number, mark: number, name: string, testid: string}} options
 * @returns {Maker}
 */
export const slider = ({ least, most, step, mark, name, testid }) => (change) => {
  const bounds = { min: least, max: most, step };
  const range = /** @type {HTMLInputElement} */ (el("input", { type: "range", ...bounds, "aria-label": `${name}, slider`, testid: `${testid}-slider` }));
  const box = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-input-short", inputmode: "decimal", autocomplete: "off", testid })
  );
  const at = (100 * (mark - least)) / (most - least);
  const tick = el("span", { class: "pg-slider-mark", "aria-hidden": "true" });
  tick.style.setProperty("--pg-at", String(at / 100));
  let own = false;
  const paint = () => range.style.setProperty("--pg-fill", `${(100 * (Number(range.value) - least)) / (most - least)}%`);
  range.addEventListener("input", () => {
    own = true;
    box.value = range.value;
    paint();
    change();
  });
  box.addEventListener("input", () => {
    own = box.value.trim() !== "";
    if (Number.isFinite(Number(box.value))) range.value = box.value;
    paint();
    change();
  });
  return {
    node: el("div", { class: "pg-slider" }, el("div", { class: "pg-slider-track" }, range, tick), box),
    label: box,
    quick: false,
    get: () => {
      const text = box.value.trim().replace(",", ".");
      if (!own || !text) return null;
      const value = Number(text);
      if (!(value >= least && value <= most)) throw new Unusable(`${name} is a number from ${least} to ${most}.`);
      return value;
    },
    set: (value, inherited) => {
      own = value !== null && value !== undefined;
      const text = String(own ? value : inherited);
      if (box.value !== text) box.value = text;
      range.value = text;
      paint();
    },
  };
};

/** @param {{name: string, choices: [string, string][], testid: string}} options @returns {Maker} */
export const choice = ({ name, choices, testid }) => (change) => {
  let own = false;
  const group = segments({
    name: `pg-set-${testid}`,
    legend: name,
    choices,
    value: "",
    testid,
    changed: () => {
      own = true;
      change();
    },
  });
  return {
    node: group.node,
    label: null,
    quick: true,
    get: () => (own ? decode(group.get()) : null),
    set: (value, inherited) => {
      own = value !== null && value !== undefined;
      group.set(String(own ? value : inherited));
    },
  };
};

const decode = (value) => (value === "true" || value === "false" ? value === "true" : value);
