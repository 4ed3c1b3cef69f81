/**
 * A long list of which only what is seen stands in the document. Everything else is a gap of its measured or guessed
 * height; some items may ask to stay (a reply that is being written, what is focused or selected).
 */

import { el } from "./dom.js";

/** So many pixels beyond the view are drawn, too. */
const BEYOND = 700;
/** So many views that left the document are kept for a way back. */
const SPARE = 40;

/**
 * @typedef {{key: string, height: number, view: {element: HTMLElement, dispose: () => void}|null, touched: boolean}} Item
 */

export class VirtualList {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} box
   * @param {{guess: (item: any, width: number) => number, draw: (item: any) => any, stays: (item: any) => boolean,
   *   keep: () => void, atEnd: () => boolean}} how `draw` makes an item's view, `keep` is called after a change, `atEnd`
   *   says whether the end is to be seen, wherever the view is now
   */
  constructor(scroller, box, how) {
    this.scroller = scroller;
    this.box = box;
    this.how = how;
    /** @type {any[]} */
    this.items = [];
    this.tops = [0];
    this.drawn = new Map();
    this.spare = new Map();
    this.waiting = 0;
    this.sizes = new ResizeObserver((entries) => this.measured(entries));
    scroller.addEventListener("scroll", () => this.update(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(scroller);
  }

  /** @param {any[]} items in place of those before; equal objects keep their views */
  set(items) {
    const staying = new Set(items);
    for (const item of this.items) if (!staying.has(item)) this.forget(item);
    this.items = items;
    this.settle(0);
    this.update();
  }

  /** Heights from `index` on have changed. */
  settle(index) {
    const width = this.box.clientWidth;
    this.tops.length = index + 1;
    for (let at = index; at < this.items.length; at += 1) {
      const item = this.items[at];
      item.height ||= this.how.guess(item, width);
      this.tops.push(this.tops[at] + item.height);
    }
  }

  forget(item) {
    item.view?.element.remove();
    item.view?.dispose();
    if (item.view) this.sizes.unobserve(item.view.element);
    item.view = null;
    this.drawn.delete(item);
    this.spare.delete(item);
  }

  /** Make an item's view anew where it stands. */
  renew(item) {
    const was = this.drawn.has(item);
    this.forget(item);
    if (was) this.update(true);
  }

  /** @returns {number[]} what is to stand in the document, in order */
  wanted() {
    const { scrollTop, clientHeight } = this.scroller;
    const atEnd = this.how.atEnd();
    const top = atEnd ? this.tops[this.items.length] - clientHeight : scrollTop - this.box.offsetTop;
    const first = this.at(top - BEYOND);
    const last = this.at(top + clientHeight + BEYOND);
    const [from, to] = this.selected();
    const found = [];
    this.items.forEach((item, index) => {
      const seen = index >= first && index <= last;
      if (seen || (index >= from && index <= to) || (item.view && this.how.stays(item))) found.push(index);
    });
    return found;
  }

  /** @param {number} top @returns {number} the index of the item at this height */
  at(top) {
    let low = 0;
    let high = this.items.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= top) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The items that a selection of text spans. */
  selected() {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed) return [1, 0];
    const ends = [selection.anchorNode, selection.focusNode].map((node) => this.indexOf(node));
    return ends.includes(-1) ? [1, 0] : [Math.min(...ends), Math.max(...ends)];
  }

  /** @param {Node|null} node @returns {number} */
  indexOf(node) {
    if (!node || !this.box.contains(node)) return -1;
    return this.items.findIndex((item) => item.view?.element.contains(node));
  }

  /** Bring the document in line with what is seen. @param {boolean} [anew] also when nothing else has to be drawn */
  update(anew = false) {
    const wanted = this.wanted();
    const same = wanted.length === this.drawn.size && wanted.every((index) => this.drawn.has(this.items[index]));
    if (same && !anew) return;
    this.arrange(wanted);
    this.how.keep();
    this.soon();
  }

  arrange(wanted) {
    const staying = new Set(wanted.map((index) => this.items[index]));
    for (const item of [...this.drawn.keys()]) if (!staying.has(item)) this.leave(item);
    for (const gap of this.box.querySelectorAll(":scope > .pg-gap")) gap.remove();
    let cursor = this.box.firstChild;
    let end = 0;
    for (const index of wanted) {
      const item = this.items[index];
      const node = this.enter(item);
      if (this.tops[index] > end) this.box.insertBefore(gap(this.tops[index] - end), node === cursor ? node : cursor);
      if (node === cursor) cursor = cursor.nextSibling;
      else this.box.insertBefore(node, cursor);
      end = this.tops[index + 1];
    }
    const rest = this.tops[this.items.length] - end;
    if (rest > 0) this.box.insertBefore(gap(rest), cursor);
  }

  enter(item) {
    this.spare.delete(item);
    item.view ??= this.how.draw(item);
    if (!this.drawn.has(item)) {
      this.drawn.set(item, true);
      this.sizes.observe(item.view.element);
    }
    return item.view.element;
  }

  leave(item) {
    this.drawn.delete(item);
    this.sizes.unobserve(item.view.element);
    item.view.element.remove();
    if (item.touched) return;
    this.spare.set(item, true);
    if (this.spare.size > SPARE) this.forget(this.spare.keys().next().value);
  }

  measured(entries) {
    let first = Infinity;
    for (const { target, borderBoxSize } of entries) {
      const index = this.items.findIndex((item) => item.view?.element === target);
      const height = borderBoxSize[0].blockSize;
      if (index < 0 || !height || Math.abs(this.items[index].height - height) < 0.5) continue;
      this.items[index].height = height;
      first = Math.min(first, index);
    }
    if (first === Infinity) return;
    this.settle(first);
    this.soon();
  }

  /** Look again at what is seen, outside of the browser's own layout. */
  soon() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.update();
    });
  }

  /** Draw the item, and scroll near it; its exact place is the caller's. @param {any} item */
  goTo(item) {
    const index = this.items.indexOf(item);
    this.scroller.scrollTop = this.box.offsetTop + this.tops[index];
    this.update();
  }
}

function gap(height) {
  return el("div", { class: "pg-gap", "aria-hidden": "true", style: `height:${height}px` });
}
