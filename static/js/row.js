/** One conversation in the list: its title, a dot while it answers, its menu, and its name while it is being changed. */

import { el, icon } from "./dom.js";
import { isPlainClick, pathOf } from "./router.js";

const LONGEST_TITLE = 200;

export class ConversationRow {
  /**
   * @param {{open: (id: string) => void, menu: (row: ConversationRow) => void, rename: (item: any, title: string) => void,
   *   moving: () => boolean}} on `moving` says that the focus is only lost because rows are being moved
   */
  constructor(on) {
    this.on = on;
    this.item = null;
    this.title = el("span", { class: "pg-item-title" });
    this.dot = el("span", { class: "pg-dot", hidden: true, role: "img", "aria-label": "answering", testid: "running-dot" });
    this.link = el("a", { class: "pg-item-link", testid: "conversation-item" }, this.title, this.dot);
    this.more = el(
      "button",
      { class: "pg-icon-button pg-item-more", type: "button", "aria-haspopup": "menu", "aria-expanded": "false", testid: "conversation-menu" },
      icon("more"),
    );
    this.input = null;
    this.element = el("li", { class: "pg-item pg-slot" }, this.link, this.more);
    this.link.addEventListener("click", (event) => {
      if (!isPlainClick(event)) return;
      event.preventDefault();
      on.open(this.item.id);
    });
    this.link.addEventListener("dblclick", () => this.rename());
    this.more.addEventListener("click", () => on.menu(this));
  }

  /** @param {import("./catalog.js").Row} row */
  update({ item, place, size }) {
    if (this.element.ariaPosInSet !== String(place)) this.element.ariaPosInSet = String(place);
    if (this.element.ariaSetSize !== String(size)) this.element.ariaSetSize = String(size);
    if (item === this.item) return;
    const title = item.title || "Untitled";
    if (this.item?.id !== item.id) {
      this.element.dataset.pgId = item.id;
      this.link.href = pathOf(item.id);
    }
    this.item = item;
    this.title.textContent = title;
    this.link.title = title;
    this.more.setAttribute("aria-label", `Options for ${title}`);
  }

  /** @param {boolean} active @param {boolean} busy */
  mark(active, busy) {
    this.element.classList.toggle("pg-active", active);
    if (active) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
    this.dot.hidden = !busy;
  }

  /** @param {boolean} yes */
  tabbable(yes) {
    this.link.tabIndex = this.more.tabIndex = yes ? 0 : -1;
  }

  focus() {
    (this.input ?? this.link).focus({ preventScroll: true });
  }

  /** Change the name where it stands: Enter or leaving keeps it, Escape does not. */
  rename() {
    if (this.input) return;
    const input = el("input", { class: "pg-item-input", maxlength: LONGEST_TITLE, "aria-label": "Title", testid: "rename-input" });
    this.input = input;
    input.value = this.item.title;
    this.element.classList.add("pg-renaming");
    this.link.hidden = this.more.hidden = true;
    this.element.append(input);
    input.focus({ preventScroll: true });
    input.select();
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.on.moving() || this.renamed(true, false));
  }

  key(event) {
    event.stopPropagation();
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    this.renamed(event.key === "Enter", true);
  }

  renamed(keep, stay) {
    const input = this.input;
    if (!input) return;
    this.input = null;
    const title = input.value.trim().replace(/\s+/g, " ");
    this.link.hidden = this.more.hidden = false;
    this.element.classList.remove("pg-renaming");
    if (stay) this.link.focus({ preventScroll: true });
    input.remove();
    if (keep && title && title !== this.item.title) this.on.rename(this.item, title);
  }
}
