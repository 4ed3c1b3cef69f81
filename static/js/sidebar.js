/** The list of conversations in the sidebar: its rows, its keys, its menu, and the archive behind it. */

import * as api from "./api.js";
import { Catalog } from "./catalog.js";
import { byId } from "./dom.js";
import { openMenu } from "./menu.js";
import { ConversationRow } from "./row.js";
import { undoably } from "./toast.js";
import { WindowedList } from "./windowed.js";

const RETRY_MS = 5000;
const PAGE_ROWS = 10;

export class ConversationList {
  /**
   * @param {HTMLElement} box
   * @param {import("./state.js").Store<any>} store
   * @param {{open: (id: string|null) => void, toast: (text: string) => void, renamed: (conversation: any) => void,
   *   share: (conversation: any) => void, exported: (conversation: any) => void, look: () => void}} on `look` asks
   *   what changed
   */
  constructor(box, store, on) {
    this.box = box;
    this.store = store;
    this.on = on;
    this.recent = new Catalog(false);
    this.archive = new Catalog(true);
    this.catalog = this.recent;
    this.message = byId("pg-list-message");
    this.window = new WindowedList(box, { make: () => this.row(), near: () => this.more() });
    this.retryTimer = 0;
    box.addEventListener("keydown", (event) => this.key(event));
    byId("pg-archive").addEventListener("click", () => this.showArchive(this.catalog !== this.archive));
    byId("pg-archive-back").addEventListener("click", () => {
      this.showArchive(false);
      byId("pg-archive").focus();
    });
    store.on(["conversationId", "running"], () => this.mark());
    document.addEventListener("visibilitychange", () => document.hidden || this.draw());
  }

  row() {
    const row = new ConversationRow({
      open: (id) => this.on.open(id),
      menu: (which) => this.menu(which),
      rename: (item, title) => this.rename(item, title),
      moving: () => this.window.moving,
    });
    const update = row.update.bind(row);
    row.update = (place) => {
      update(place);
      this.markRow(row);
    };
    return row;
  }

  /** The next page of older conversations. */
  async more() {
    const catalog = this.catalog;
    if (catalog.complete || catalog.busy || this.retryTimer) return;
    try {
      await catalog.more();
      if (catalog === this.catalog) this.draw();
    } catch (error) {
      if (catalog === this.catalog) this.say(error.message);
      this.retryTimer = setTimeout(() => this.retry(), RETRY_MS);
    }
  }

  /** The connection may be back. */
  retry() {
    clearTimeout(this.retryTimer);
    this.retryTimer = 0;
    if (!this.catalog.started) this.more();
    else this.draw();
  }

  /**
   * Conversations changed, here or elsewhere.
   * @param {any[]} items
   * @param {string[]} [removed]
   */
  take(items, removed = []) {
    if (!items.length && !removed.length) return;
    for (const catalog of [this.recent, this.archive]) {
      for (const id of removed) {
        catalog.remove(id);
        catalog.gone.delete(id);
      }
      if (catalog.started) catalog.take(items);
    }
    this.draw();
  }

  /**
   * A conversation that was just written, or whatever changed.
   * @param {any} [conversation]
   */
  refresh(conversation) {
    if (conversation) this.take([conversation]);
    this.on.look();
  }

  /** Too much changed to be told one by one. */
  async reload() {
    for (const catalog of [this.recent, this.archive]) {
      if (!catalog.started) continue;
      await catalog.reload(catalog === this.catalog ? this.window.index.get(this.window.seen().at(-1)?.key) ?? 1 : 1);
    }
    this.draw();
  }

  draw() {
    const rows = this.catalog.rows();
    this.window.set(rows);
    if (!this.catalog.started) return;
    if (!rows.length && !this.catalog.complete) this.more();
    const none = this.catalog === this.archive ? "Nothing is archived." : "Your conversations will be listed here.";
    this.say(rows.length ? "" : none);
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  /** Which one is open, and which ones are answering. */
  mark() {
    for (const row of this.window.views.values()) this.markRow(row);
  }

  markRow(row) {
    const { conversationId, running } = this.store.get();
    const active = row.item.id === conversationId;
    row.mark(active, active ? Boolean(running) : Boolean(row.item.running_generation_id));
  }

  /** @param {boolean} archive */
  showArchive(archive) {
    this.catalog = archive ? this.archive : this.recent;
    this.window.current = "";
    byId("pg-archive").setAttribute("aria-pressed", String(archive));
    byId("pg-archive-back").hidden = !archive;
    const name = archive ? "Archived conversations" : "Conversations";
    this.box.setAttribute("aria-label", name);
    byId("pg-side-name").textContent = name;
    this.say("");
    this.draw();
    this.box.scrollTop = 0;
    this.more();
  }

  /** @returns {any[]} the latest ones, for a search that is still empty */
  latest() {
    return this.recent.sorted().slice(0, 40).sort((one, other) => (one.updated_at < other.updated_at ? 1 : -1));
  }

  /** Open the conversation above (-1) or below (1) the open one. @param {number} step */
  step(step) {
    const sorted = this.catalog.sorted();
    const at = sorted.findIndex((item) => item.id === this.store.get().conversationId);
    const next = sorted[at < 0 ? (step > 0 ? 0 : -1) : at + step];
    if (!next) return;
    this.window.reveal(this.window.index.get(next.id));
    this.on.open(next.id);
  }

  key(event) {
    const key = event.target.closest?.("[data-pg-id]")?.dataset.pgId;
    const row = key && this.window.views.get(key);
    if (!row || row.input || event.altKey || event.ctrlKey || event.metaKey) return;
    const here = this.window.index.get(key);
    const end = this.window.rows.length - 1;
    const steps = { ArrowDown: [here + 1, 1], ArrowUp: [here - 1, -1], Home: [0, 1], End: [end, -1] };
    const far = { PageDown: [Math.min(end, here + PAGE_ROWS), -1], PageUp: [Math.max(0, here - PAGE_ROWS), 1] };
    const step = { ...steps, ...far }[event.key];
    if (step) this.walk(step[0], step[1]);
    else if (event.key === "F2") row.rename();
    else if (event.key === "Delete") this.remove(row.item);
    else return;
    event.preventDefault();
  }

  /** Put the focus on the row there, or the next one in this direction that is a conversation. */
  walk(at, direction) {
    const { rows } = this.window;
    while (rows[at] && !rows[at].item) at += direction;
    if (rows[at]) this.window.reveal(at)?.focus();
  }

  menu(row) {
    const { item } = row;
    const entries = [
      item.archived
        ? null
        : { label: item.pinned ? "Unpin" : "Pin", icon: "pin", testid: "pin", run: () => this.pin(item) },
      { label: "Rename", icon: "edit", testid: "rename", run: () => row.rename() },
      { label: "Share", icon: "share", testid: "share", run: () => this.on.share(item) },
      { label: "Export", icon: "download", testid: "export", run: () => this.on.exported(item) },
      {
        label: item.archived ? "Move back to the list" : "Archive",
        icon: "archive",
        testid: "archive",
        run: () => this.setArchived(item, !item.archived),
      },
      { label: "Delete", icon: "trash", testid: "delete", danger: true, run: () => this.remove(item) },
    ].filter(Boolean);
    this.window.held = item.id;
    openMenu(row.more, entries, () => (this.window.held = ""));
  }

  /** Ask for a change; what the server says is shown. */
  async change(item, wish) {
    try {
      const { conversation } = await api.changeConversation(item.id, wish);
      this.take([conversation]);
      return conversation;
    } catch (error) {
      this.on.toast(error.message);
      this.draw();
      return null;
    }
  }

  pin(item) {
    return this.change(item, { pinned: !item.pinned });
  }

  async rename(item, title) {
    this.take([{ ...item, title }]);
    const conversation = await this.change(item, { title });
    if (conversation) this.on.renamed(conversation);
    else this.take([item]);
  }

  setArchived(item, archived) {
    const focus = this.leave(item);
    return undoably(async (offer) => {
      const conversation = await this.change(item, { archived });
      if (!conversation) return;
      focus();
      const name = conversation.title || "Untitled";
      offer(archived ? `Archived “${name}”.` : `“${name}” is in the list again.`, async () => {
        const back = await this.change(conversation, { archived: !archived });
        if (back) this.focusOn(back.id);
      });
    });
  }

  /** Gone at once, and for good only when nobody took it back. */
  remove(item) {
    const wasOpen = this.store.get().conversationId === item.id;
    const focus = this.leave(item);
    return undoably(async (offer) => {
      this.hide(item.id);
      focus();
      try {
        await api.deleteConversation(item.id);
      } catch (error) {
        if (error.status !== 404) {
          this.back(item);
          this.on.toast(error.message);
          return;
        }
      }
      if (wasOpen && this.store.get().conversationId === item.id) this.on.open(null);
      offer(`Deleted “${item.title || "Untitled"}”.`, () => this.restore(item, wasOpen));
    });
  }

  async restore(item, open) {
    try {
      const { conversation } = await api.restoreConversation(item.id);
      this.back(conversation);
      if (open) this.on.open(conversation.id);
      else this.focusOn(conversation.id);
    } catch (error) {
      this.on.toast(error.status === 404 ? "It is too late: the conversation is gone for good." : error.message);
    }
  }

  hide(id) {
    for (const catalog of [this.recent, this.archive]) {
      catalog.remove(id);
      catalog.gone.add(id);
    }
    this.draw();
  }

  back(item) {
    for (const catalog of [this.recent, this.archive]) catalog.gone.delete(item.id);
    this.take([item]);
  }

  /** @returns {() => void} call it when the row is gone: a focus that was there goes to its neighbour */
  leave(item) {
    const at = this.window.index.get(item.id);
    const row = this.window.views.get(item.id);
    if (at === undefined || !row?.element.contains(document.activeElement)) return () => {};
    return () => {
      if (this.window.index.has(item.id)) return;
      const { rows } = this.window;
      this.walk(rows[at]?.item ? at : at - 1, rows[at - 1]?.item ? -1 : 1);
    };
  }

  focusOn(id) {
    const at = this.window.index.get(id);
    if (at !== undefined) this.window.reveal(at)?.focus();
  }
}
