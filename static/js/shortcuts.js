/** Keys that work everywhere on the page, and the sheet that lists them. */

import { createDialog } from "./dialog.js";
import { el } from "./dom.js";

const MAC = /mac|iphone|ipad/i.test(navigator.userAgentData?.platform ?? navigator.platform);
/** What lies over the page takes its keys for itself. */
const OVER = "dialog[open], [popover]:popover-open";

/**
 * `keys` are the words of the key cap, `code` is what the keyboard says (the place of the key, whatever is printed on it).
 * @type {{name: string, label: string, keys: string[], code?: string, key?: string, mod?: boolean, shift?: boolean,
 *   alt?: boolean}[]}
 */
const KEYS = [
  { name: "search", label: "Search conversations, this one included", keys: ["Mod", "K"], code: "KeyK", mod: true },
  { name: "fresh", label: "New conversation", keys: ["Mod", "Shift", "O"], code: "KeyO", mod: true, shift: true },
  { name: "above", label: "Conversation above", keys: ["Alt", "↑"], code: "ArrowUp", alt: true },
  { name: "below", label: "Conversation below", keys: ["Alt", "↓"], code: "ArrowDown", alt: true },
  { name: "sidebar", label: "Open or close the sidebar", keys: ["Mod", "Shift", "S"], code: "KeyS", mod: true, shift: true },
  { name: "settings", label: "Settings", keys: ["Mod", "Shift", "E"], code: "KeyE", mod: true, shift: true },
  { name: "undo", label: "Undo a delete, while it is offered", keys: ["Mod", "Z"], code: "KeyZ", mod: true },
  { name: "compose", label: "Go to the message box", keys: ["/"], key: "/" },
  { name: "sheet", label: "This list", keys: ["?"], key: "?" },
  { name: "sheet", label: "This list, while you write", keys: ["Mod", "/"], key: "/", mod: true },
];

/** Keys that belong to one place; they are handled there. */
const LOCAL = [
  ["While you write", [["Send", ["Enter"]], ["New line", ["Shift", "Enter"]], ["Stop the reply, close what is open", ["Esc"]]]],
  [
    "In the list of conversations",
    [["Walk through it", ["↑", "↓"]], ["First, last", ["Home", "End"]], ["Rename", ["F2"]], ["Delete", ["Del"]]],
  ],
];

/**
 * @param {Record<string, () => boolean|void>} on what each shortcut does, by name; one that gives false did nothing, and
 *   the key keeps its usual meaning. `escape` is called for Escape
 */
export function installShortcuts(on) {
  window.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    const covered = Boolean(document.querySelector(OVER)) || "pgGate" in document.documentElement.dataset;
    if (event.key === "Escape") {
      if (!covered && on.escape()) event.preventDefault();
      return;
    }
    const found = KEYS.find((each) => fits(each, event));
    if (!found || !on[found.name] || covered || taken(found, event.target)) return;
    if (on[found.name]() !== false) event.preventDefault();
  });
  for (const cap of document.querySelectorAll("[data-pg-keys]")) {
    const { label, keys } = KEYS.find(({ name }) => name === cap.dataset.pgKeys);
    const printed = caps(keys).join(MAC ? "" : " ");
    if (cap.localName === "kbd") cap.textContent = printed;
    else cap.title = `${label} (${printed})`;
  }
}

function fits({ code, key, mod, shift, alt }, event) {
  if (Boolean(mod) !== (event.ctrlKey || event.metaKey) || Boolean(alt) !== event.altKey) return false;
  if (code) return event.code === code && Boolean(shift) === event.shiftKey;
  return event.key === key;
}

/** @returns {boolean} whether the key means something to the place that has the focus */
function taken({ name, mod, alt }, target) {
  if (name === "undo" || (alt && MAC)) return writes(target, true);
  return !mod && !alt && writes(target, false);
}

/** @param {any} target @param {boolean} filled only where there is text @returns {boolean} whether it is a place to write in */
function writes(target, filled) {
  if (target.isContentEditable) return true;
  if (!target.matches?.("textarea, input, select") || ["checkbox", "radio", "range", "button"].includes(target.type)) return false;
  return filled ? Boolean(target.value) : true;
}

/** @param {string[]} keys @returns {string[]} as they are printed on this machine's keyboard */
function caps(keys) {
  const names = MAC ? { Mod: "⌘", Shift: "⇧", Alt: "⌥", Enter: "↩", Del: "⌦" } : { Mod: "Ctrl" };
  return keys.map((key) => names[key] ?? key);
}

/** The list of all shortcuts. */
export function openSheet() {
  const { body } = createDialog({ title: "Keyboard shortcuts", testid: "shortcuts-sheet", kind: "pg-sheet-small" });
  body.tabIndex = 0; // it may be longer than the window, and holds nothing to stop at
  const everywhere = KEYS.map(({ label, keys }) => [label, keys]);
  for (const [name, entries] of [["Everywhere", everywhere], ...LOCAL]) {
    body.append(el("h3", { class: "pg-keys-group", text: name }), el("dl", { class: "pg-keys" }, ...entries.map(entry)));
  }
}

function entry([label, keys]) {
  const printed = caps(keys).map((key) => el("kbd", { text: key }));
  return el("div", {}, el("dt", { text: label }), el("dd", {}, ...printed));
}
