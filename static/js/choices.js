/** A menu of grouped choices that a button in the transcript opens. */

import { byId, el } from "./dom.js";

const GAP = 4;

/**
 * @param {HTMLElement} button gets the focus back
 * @param {string} label
 * @param {{name?: string, inline?: boolean, entries: {label: string, hint?: string, testid: string, run: () => void}[]}[]} groups
 */
export function openChoices(button, label, groups) {
  const menu = el("div", { class: "pg-choices", role: "menu", "aria-label": label, popover: "auto", testid: "choices" });
  for (const { name, inline, entries } of groups) {
    const heading = name && el("p", { class: "pg-choices-name", role: "presentation", text: name });
    const items = entries.map((entry) => choice(menu, entry));
    const row = el("div", { class: inline ? "pg-choices-row" : "", role: "group", "aria-label": name }, ...items);
    menu.append(...[heading, row].filter(Boolean));
  }
  menu.addEventListener("keydown", (event) => walk(event, menu));
  menu.addEventListener("toggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "open") return;
    if (menu.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    menu.remove();
  });
  byId("pg-app").append(menu);
  menu.showPopover();
  place(menu, button.getBoundingClientRect());
  menu.querySelector("button")?.focus();
}

function choice(menu, { label, hint, testid, run }) {
  const words = hint ? el("span", { class: "pg-choices-hint", text: hint }) : null;
  const item = el("button", { role: "menuitem", type: "button", testid, tabindex: "-1" }, el("span", { text: label }), words);
  item.addEventListener("click", () => {
    menu.hidePopover();
    run();
  });
  return item;
}

function place(menu, anchor) {
  const { width, height } = menu.getBoundingClientRect();
  const below = anchor.bottom + GAP;
  const fits = below + height <= innerHeight - 8;
  menu.style.left = `${Math.max(8, Math.min(anchor.left, innerWidth - width - 8))}px`;
  menu.style.top = `${fits ? below : Math.max(8, anchor.top - height - GAP)}px`;
}

function walk(event, menu) {
  const items = [...menu.querySelectorAll("button")];
  const at = items.indexOf(document.activeElement);
  const to = {
    ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1,
  }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  items[(to + items.length) % items.length].focus();
}
