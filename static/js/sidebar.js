/** The list of conversations: by date, endless, with rename and delete. */

import * as api from "./api.js";
import { el, icon } from "./dom.js";
import { dateGroup } from "./format.js";
import { askText, confirm, openMenu } from "./menu.js";
import { isPlainClick, pathOf } from "./router.js";

const RUNNING_REFRESH_MS = 4000;

export class ConversationList {
  /**
   * @param {HTMLElement} box
   * @param {import("./state.js").Store<any>} store
   * @param {{open: (id: string|null) => void, toast: (text: string) => void, renamed: (conversation: any) => void}} on
   */
  constructor(box, store, on) {
    this.box = box;
    this.store = store;
    this.on = on;
    this.items = new Map();
    this.cursor = null;
    this.complete = false;
    this.busy = false;
    this.sentinel = el("div", { class: "pg-list-end" });
    this.message = el("p", { class: "pg-list-empty" });
    const seen = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.more());
    seen.observe(this.sentinel);
    store.on(["conversationId", "running"], () => this.mark());
    this.timer = 0;
  }

  /** The next page of older conversations. */
  async more() {
    if (this.busy || this.complete) return;
    this.busy = true;
    try {
      const page = await api.conversations(this.cursor);
      this.take(page.items);
      this.cursor = page.next_cursor;
      this.complete = !page.next_cursor;
      this.draw();
    } catch (error) {
      this.message.textContent = error.message;
      this.box.replaceChildren(this.message);
      setTimeout(() => this.retry(), 4000);
    } finally {
      this.busy = false;
    }
  }

  retry() {
    if (!this.items.size) this.more();
    else this.draw();
  }

  take(items) {
    for (const item of items) this.items.set(item.id, item);
  }

  /**
   * Something changed: one conversation that is at hand, or the newest page.
   * @param {any} [conversation]
   */
  async refresh(conversation) {
    try {
      this.take(conversation ? [conversation] : (await api.conversations(null)).items);
      this.draw();
    } catch {
      // The list stays as it was; the next change tries again.
    }
  }

  draw() {
    const sorted = [...this.items.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
    const focused = document.activeElement?.closest?.("[data-pg-id]")?.dataset.pgId;
    const nodes = [];
    let group = "";
    let list = null;
    for (const item of sorted) {
      const name = dateGroup(item.updated_at);
      if (name !== group) {
        group = name;
        list = el("ul", { "aria-label": name });
        nodes.push(el("h3", { class: "pg-list-group", text: name, "aria-hidden": "true" }), list);
      }
      list.append(this.row(item));
    }
    this.message.textContent = "Your conversations will be listed here.";
    this.box.replaceChildren(...(nodes.length ? nodes : [this.message]), ...(this.complete ? [] : [this.sentinel]));
    if (focused) this.box.querySelector(`[data-pg-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
    this.mark();
  }

  row(item) {
    const title = item.title || "Untitled";
    const link = el(
      "a",
      { class: "pg-item-link", href: pathOf(item.id), testid: "conversation-item", title },
      el("span", { class: "pg-item-title", text: title }),
      el("span", { class: "pg-dot", hidden: true, role: "img", "aria-label": "answering" }),
    );
    link.addEventListener("click", (event) => {
      if (!isPlainClick(event)) return;
      event.preventDefault();
      this.on.open(item.id);
    });
    const more = el(
      "button",
      { class: "pg-icon-button pg-item-more", type: "button", "aria-haspopup": "menu", "aria-expanded": "false",
        "aria-label": `Options for ${title}`, testid: "conversation-menu" },
      icon("more"),
    );
    more.addEventListener("click", () =>
      openMenu(more, [
        { label: "Rename", testid: "rename", run: () => this.rename(item) },
        { label: "Delete", testid: "delete", danger: true, run: () => this.remove(item) },
      ]),
    );
    return el("li", { class: "pg-item", data: { pgId: item.id } }, link, more);
  }

  /** Which one is open, and which ones are answering. */
  mark() {
    const { conversationId, running } = this.store.get();
    let answering = false;
    for (const row of this.box.querySelectorAll("[data-pg-id]")) {
      const id = row.dataset.pgId;
      const active = id === conversationId;
      const busy = active ? Boolean(running) : Boolean(this.items.get(id)?.running_generation_id);
      answering ||= busy && !active;
      row.classList.toggle("pg-active", active);
      const link = row.querySelector("a");
      if (active) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      row.querySelector(".pg-dot").hidden = !busy;
    }
    clearTimeout(this.timer);
    if (answering) this.timer = setTimeout(() => this.refresh(), RUNNING_REFRESH_MS);
  }

  async rename(item) {
    const title = await askText({ title: "Rename conversation", value: item.title, action: "Rename" });
    if (title === null || title === item.title) return;
    try {
      const { conversation } = await api.changeConversation(item.id, { title });
      this.take([conversation]);
      this.draw();
      this.on.renamed(conversation);
    } catch (error) {
      this.on.toast(error.message);
    }
  }

  async remove(item) {
    const text = `“${item.title || "Untitled"}” and its replies will be deleted for good.`;
    if (!(await confirm({ title: "Delete conversation?", text, action: "Delete" }))) return;
    try {
      await api.deleteConversation(item.id);
    } catch (error) {
      if (error.status !== 404) {
        this.on.toast(error.message);
        return;
      }
    }
    this.items.delete(item.id);
    this.draw();
    if (this.store.get().conversationId === item.id) this.on.open(null);
  }
}
