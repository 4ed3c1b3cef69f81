/** The conversations that the page knows of: pages of the list in the server's order, and what changed since. */

import * as api from "./api.js";
import { grouping } from "./dates.js";

const FIRST_PAGE = 40;
const NEXT_PAGE = 100;

/**
 * @typedef {{key: string, group: string, item?: any, place?: number, size?: number, more?: boolean}} Row a heading, a
 *   conversation (`item`, the `place`-th of `size` in its group; -1 while more may come), or the last row (`more`)
 */

/** Pinned ones first, then the latest changed; of the same time, as the server named them. */
function order(one, other) {
  if (one.pinned !== other.pinned) return one.pinned ? -1 : 1;
  return one.updated_at === other.updated_at ? 0 : one.updated_at < other.updated_at ? 1 : -1;
}

export class Catalog {
  /** @param {boolean} archived which of the two lists it is */
  constructor(archived) {
    this.archived = archived;
    /** @type {Map<string, any>} */
    this.items = new Map();
    /** Deleted here; the server may still name them in answers that were on their way. */
    this.gone = new Set();
    this.started = false;
    this.complete = false;
    this.cursor = null;
    this.tail = null;
    /** @type {Promise<void>|null} */
    this.busy = null;
    this.cache = null;
  }

  /** Ask for the next page; one question at a time. */
  more() {
    if (this.complete) return Promise.resolve();
    this.busy ??= this.page().finally(() => (this.busy = null));
    return this.busy;
  }

  async page() {
    const cursor = this.cursor;
    const page = await api.conversations(cursor, { limit: cursor ? NEXT_PAGE : FIRST_PAGE, archived: this.archived });
    if (cursor !== this.cursor) return;
    this.started = true;
    this.follow(page);
    this.take(page.items);
  }

  follow({ items, next_cursor: next }) {
    this.cursor = next;
    this.complete = !next;
    this.tail = items.at(-1) ?? this.tail;
    this.cache = null;
  }

  /**
   * Forget everything and read as many as there were on the screen again.
   * @param {number} least
   */
  async reload(least) {
    const fresh = new Catalog(this.archived);
    while (!fresh.complete && fresh.items.size < least) await fresh.more();
    const { items, complete, cursor, tail } = fresh;
    Object.assign(this, { items, complete, cursor, tail, started: true, cache: null });
    for (const id of this.gone) items.delete(id);
  }

  /**
   * Take conversations as they are now.
   * @param {any[]} items
   */
  take(items) {
    for (const item of items) {
      if (item.temporary || this.gone.has(item.id)) continue;
      const known = this.items.get(item.id);
      if (known && known.sequence > item.sequence) continue;
      if (Boolean(item.archived) === this.archived) this.items.set(item.id, item);
      else this.items.delete(item.id);
    }
    this.cache = null;
  }

  /** @param {string} id @returns {any} what was taken out */
  remove(id) {
    const item = this.items.get(id);
    this.items.delete(id);
    this.cache = null;
    return item;
  }

  /** @returns {any[]} in order, as far down as the list was read without a gap */
  sorted() {
    if (this.cache) return this.cache;
    const all = [...this.items.values()].sort(order);
    this.cache = this.complete || !this.tail ? all : all.filter((item) => order(item, this.tail) <= 0);
    return this.cache;
  }

  /** @returns {Row[]} */
  rows() {
    const groupOf = grouping();
    /** @type {Row[]} */
    const rows = [];
    let group = "";
    let members = [];
    const close = (open) => members.forEach((row) => (row.size = open ? -1 : members.length));
    for (const item of this.sorted()) {
      const name = item.pinned ? "Pinned" : groupOf(item.updated_at);
      if (name !== group) {
        close(false);
        group = name;
        members = [];
        rows.push({ key: `group:${name}`, group });
      }
      const row = { key: item.id, group, item, place: members.length + 1, size: -1 };
      members.push(row);
      rows.push(row);
    }
    close(!this.complete);
    if (!this.complete && rows.length) rows.push({ key: "more", group, more: true });
    return rows;
  }
}
