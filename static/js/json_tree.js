/** JSON as a tree that opens and closes. Everything that was written by a model or a person is a text node. */

import { el } from "./dom.js";
import { count } from "./format.js";
import { isTree, sizeOf } from "./json.js";

/** So many entries are drawn at once; the rest waits behind a button. */
const PORTION = 100;
const LONG_TEXT = 1200;
/** What is smaller than this and not too deep stands open at first. */
const OPEN_SIZE = 24;
const OPEN_DEPTH = 3;

/**
 * @param {import("./json.js").Node} node
 * @returns {HTMLElement}
 */
export function jsonTree(node) {
  if (!isTree(node)) return el("div", { class: "pg-json" }, scalar(node));
  if (!sizeOf(node)) return el("div", { class: "pg-json" }, mark(node.kind === "object" ? "{ }" : "[ ]"));
  return list(node, 0, "pg-json");
}

function list(node, depth, kind = "") {
  const box = el("ul", { class: kind });
  const rows = node.kind === "object" ? node.entries : node.items.map((item, index) => [index, item]);
  portion(box, rows, 0, depth);
  return box;
}

function portion(box, rows, from, depth) {
  const to = from + PORTION;
  for (const [key, value] of rows.slice(from, to)) box.append(row(key, value, depth));
  const left = rows.length - to;
  if (left <= 0) return;
  const more = el("button", { class: "pg-quiet", type: "button" }, `Show ${count(Math.min(PORTION, left))} more of ${count(left)}`);
  const item = el("li", {}, more);
  more.addEventListener("click", () => {
    item.remove();
    portion(box, rows, to, depth);
    const first = /** @type {HTMLElement} */ (box.children[to]);
    // The button had the focus and is gone: it goes on with what the button brought.
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  });
  box.append(item);
}

function row(key, value, depth) {
  const name = typeof key === "number" ? el("span", { class: "pg-json-index", text: String(key) }) : el("span", { class: "pg-json-key", text: key });
  if (!isTree(value) || !sizeOf(value)) {
    const leaf = isTree(value) ? mark(value.kind === "object" ? "{ }" : "[ ]") : scalar(value);
    return el("li", {}, name, mark(": "), leaf);
  }
  return el("li", {}, branch(name, value, depth));
}

function branch(name, value, depth) {
  const size = sizeOf(value);
  const things = value.kind === "object" ? (size === 1 ? "entry" : "entries") : size === 1 ? "item" : "items";
  const sum = el("span", { class: "pg-json-size", text: `${count(size)} ${things}` });
  const head = el("summary", {}, name, mark(": "), sum);
  const box = /** @type {HTMLDetailsElement} */ (el("details", {}, head));
  const fill = () => box.children.length > 1 || box.append(list(value, depth + 1));
  // A click comes before it opens, so that nothing jumps; a search of the browser opens it without one.
  head.addEventListener("click", fill);
  box.addEventListener("toggle", () => box.open && fill());
  if (depth + 1 < OPEN_DEPTH && size <= OPEN_SIZE) {
    fill();
    box.open = true;
  }
  return box;
}

/** @param {any} node a text, a number or a word */
function scalar(node) {
  if (node.kind === "number") return el("span", { class: "pg-json-number", text: node.text });
  if (node.kind === "word") return el("span", { class: "pg-json-word", text: String(node.value) });
  const text = JSON.stringify(node.value);
  if (text.length <= LONG_TEXT) return el("span", { class: "pg-json-text", text });
  const box = el("span", { class: "pg-json-text", text: `${text.slice(0, LONG_TEXT)}…` });
  const more = el("button", { class: "pg-quiet", type: "button" }, `Show all ${count(node.value.length)} characters`);
  more.addEventListener("click", () => {
    box.textContent = text;
    box.tabIndex = -1;
    box.focus({ preventScroll: true });
  });
  box.append(" ", more);
  return box;
}

const mark = (text) => el("span", { class: "pg-json-mark", text });
