/** A list of any length of which only the rows near the viewport, and the one with the focus, are in the document. */

import { el } from "./dom.js";

/** So many rows above and below what is seen are kept ready. */
const SPARE = 8;
/** So many rows before the end, more are asked for. */
const AHEAD = 60;

/**
 * @typedef {import("./catalog.js").Row} Row
 * @typedef {{element: HTMLElement, update: (row: Row) => void, tabbable: (yes: boolean) => void}} View
 */

export class WindowedList {
  /**
   * @param {HTMLElement} scroller its height says how many rows there are; `--pg-row` is the height of each
   * @param {{make: (row: Row) => View, near: () => void}} on `near` is called as long as the end is near
   */
  constructor(scroller, on) {
    this.scroller = scroller;
    this.on = on;
    this.tail = el("div", { class: "pg-slot pg-list-more", "aria-hidden": "true" }, el("span"));
    this.body = el("div", { class: "pg-side-rows" }, this.tail);
    /** @type {Row[]} */
    this.rows = [];
    this.index = new Map();
    /** @type {Map<string, View>} the conversations in the document */
    this.views = new Map();
    /** @type {Map<string, {heading: HTMLElement, list: HTMLElement}>} */
    this.groups = new Map();
    /** The row that the Tab key leads to. */
    this.current = "";
    /** A row whose menu is open stays, wherever the list is scrolled to. */
    this.held = "";
    this.moving = false;
    this.frame = 0;
    this.height = 0;
    scroller.append(this.body);
    scroller.addEventListener("scroll", () => this.soon(), { passive: true });
    this.body.addEventListener("focusin", (event) => this.focused(event));
    new ResizeObserver(() => this.measure()).observe(scroller);
  }

  soon() {
    this.frame ||= requestAnimationFrame(() => this.render());
  }

  measure() {
    const height = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--pg-row"));
    if (height === this.height) return this.soon();
    this.height = height;
    this.set(this.rows);
  }

  focused(event) {
    const key = event.target.closest("[data-pg-id]")?.dataset.pgId;
    if (!key || key === this.current) return;
    this.current = key;
    this.mark();
  }

  /**
   * Show these rows; what is looked at stays where it is.
   * @param {Row[]} rows
   */
  set(rows) {
    const anchors = this.scroller.scrollTop > 0 ? this.seen().map((row) => [row.key, this.index.get(row.key)]) : [];
    this.rows = rows;
    this.index = new Map(rows.map((row, at) => [row.key, at]));
    if (!this.height) return this.measure();
    this.body.style.height = `${rows.length * this.height}px`;
    const shifts = anchors.filter(([key]) => this.index.has(key)).map(([key, at]) => this.index.get(key) - at);
    // A row that went to the top is no hold: the middle one of what is seen tells how far the list moved.
    const shift = shifts.sort((one, other) => one - other)[shifts.length >> 1];
    if (shift) this.scroller.scrollTop += shift * this.height;
    this.render();
  }

  /** @returns {Row[]} the rows in the viewport */
  seen() {
    const first = Math.floor(this.scroller.scrollTop / this.height);
    return this.rows.slice(first, first + Math.ceil(this.scroller.clientHeight / this.height) + 1);
  }

  render() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { scrollTop, clientHeight } = this.scroller;
    if (!clientHeight || !this.height) return;
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / this.height) + SPARE);
    const wanted = new Set();
    for (let at = Math.max(0, Math.floor(scrollTop / this.height) - SPARE); at < last; at += 1) wanted.add(at);
    for (const key of [this.focusedKey(), this.held]) if (this.index.has(key)) wanted.add(this.index.get(key));
    this.reconcile([...wanted].sort((one, other) => one - other).map((at) => this.rows[at]));
    this.mark();
    if (this.rows.length && this.rows.length - last < AHEAD) this.on.near();
  }

  /** @param {Row[]} rows */
  reconcile(rows) {
    const active = /** @type {HTMLElement} */ (document.activeElement);
    const inside = this.body.contains(active);
    this.moving = true;
    const keys = new Set(rows.map((row) => row.key));
    const names = new Set(rows.map((row) => row.group));
    for (const [key, view] of this.views) if (!keys.has(key)) this.forget(key, view);
    for (const [name, { heading, list }] of this.groups) {
      if (names.has(name)) continue;
      heading.remove();
      list.remove();
      this.groups.delete(name);
    }
    const more = rows.at(-1)?.more;
    this.tail.hidden = !more;
    if (more) this.stand(this.tail, this.index.get("more"));
    let outer = this.tail;
    let inner = null;
    let group = null;
    for (const row of rows) {
      if (row.group !== group) {
        group = row.group;
        inner = null;
        outer = this.open(group, outer);
      }
      if (row.item) inner = this.place(row, this.groups.get(group).list, inner);
    }
    this.moving = false;
    if (inside && document.activeElement !== active && active.isConnected) active.focus({ preventScroll: true });
  }

  forget(key, view) {
    view.element.remove();
    this.views.delete(key);
  }

  /** @returns {HTMLElement} the group's list, which now stands after `before` */
  open(name, before) {
    let group = this.groups.get(name);
    if (!group) {
      const heading = el("h3", { class: "pg-list-group pg-slot", text: name, "aria-hidden": "true" });
      group = { heading, list: el("ul", { "aria-label": name }) };
      this.groups.set(name, group);
    }
    const { heading, list } = group;
    put(this.body, heading, before);
    put(this.body, list, heading);
    this.stand(heading, this.index.get(`group:${name}`));
    return list;
  }

  place(row, list, before) {
    let view = this.views.get(row.key);
    if (!view) {
      view = this.on.make(row);
      this.views.set(row.key, view);
    }
    view.update(row);
    put(list, view.element, before);
    this.stand(view.element, this.index.get(row.key));
    return view.element;
  }

  stand(element, at) {
    const top = `${at * this.height}px`;
    if (element.style.top !== top) element.style.top = top;
  }

  focusedKey() {
    const active = document.activeElement;
    return (this.body.contains(active) && active.closest("[data-pg-id]")?.dataset.pgId) || "";
  }

  /** One row of the list can be reached with Tab; the arrow keys go on from there. */
  mark() {
    let current = this.current;
    if (!this.views.has(current)) current = this.seen().find((row) => this.views.has(row.key))?.key ?? "";
    for (const [key, view] of this.views) view.tabbable(key === current);
  }

  /** Bring a row into the viewport. @param {number} at @returns {View|undefined} */
  reveal(at) {
    const { scrollTop, clientHeight } = this.scroller;
    const top = at * this.height;
    if (top < scrollTop + this.height) this.scroller.scrollTop = top - this.height;
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top + 2 * this.height - clientHeight;
    this.render();
    return this.views.get(this.rows[at]?.key);
  }
}

/** Put a node into its place, and leave one alone that is there, so that nothing in it loses the focus. */
function put(parent, node, before) {
  const next = before ? before.nextSibling : parent.firstChild;
  if (next === node) return;
  if (node.isConnected && parent.moveBefore) parent.moveBefore(node, next);
  else parent.insertBefore(node, next);
}
