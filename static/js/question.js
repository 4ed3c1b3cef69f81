/** What the user asked: a bubble with quiet actions, which can be edited in place. */

import { copyButton, el, icon } from "./dom.js";
import { versionSwitch } from "./versions.js";

export class Question {
  /**
   * @param {import("./turns.js").Turn} turn
   * @param {any} on see Transcript
   */
  constructor(turn, on) {
    this.turn = turn;
    this.on = on;
    this.bubble = el("div", { class: "pg-bubble", testid: "user-message", text: turn.question.content });
    this.actions = el("div", { class: "pg-actions" });
    this.element = el(
      "article",
      { class: "pg-user", "aria-label": "You" },
      el("h2", { class: "pg-vh", text: "You" }),
      this.bubble,
      this.actions,
    );
    this.editor = null;
    this.refresh();
  }

  /** The actions, once the server has the question. */
  refresh() {
    const { question, key } = this.turn;
    this.element.classList.toggle("pg-pending", Boolean(question.pending));
    if (question.pending) {
      this.note(question.pending);
      return;
    }
    const versions = versionSwitch({
      ids: question.siblings ?? [],
      shown: question.id,
      of: "question",
      pick: (id) => this.on.version(this.turn, "question", { message_id: id }),
    });
    this.edit = el("button", { class: "pg-quiet", type: "button", testid: "edit" }, icon("edit"), "Edit");
    this.edit.addEventListener("click", () => this.open());
    this.actions.replaceChildren(
      ...[copyButton(() => question.content, "Copy your message"), this.edit, versions].filter(Boolean),
    );
    this.element.dataset.message = key;
  }

  /** @param {string} text why it waits */
  note(text) {
    this.turn.question.pending = text;
    const line = el("p", { class: "pg-sending", role: "status", testid: "pending-note", text: text === "sending" ? "" : text });
    this.actions.replaceChildren(line);
  }

  /** @param {string} [text] what to begin with @param {string} [problem] why it could not be sent */
  open(text = this.turn.question.content, problem = "") {
    if (this.editor) return;
    const input = /** @type {HTMLTextAreaElement} */ (
      el("textarea", { class: "pg-editor-input", rows: "1", "aria-label": "Edit your message", testid: "edit-input" })
    );
    input.value = text;
    const hint = el("p", { class: "pg-editor-hint", role: "status", testid: "edit-hint", text: problem });
    const cancel = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "edit-cancel", text: "Cancel" });
    const send = el("button", { class: "pg-button", type: "submit", testid: "edit-send", text: "Send" });
    this.editor = el(
      "form",
      { class: "pg-editor", testid: "editor" },
      input,
      el("div", { class: "pg-editor-row" }, hint, cancel, send),
    );
    const grow = () => {
      input.style.height = "auto";
      input.style.height = `${input.scrollHeight}px`;
    };
    input.addEventListener("input", () => {
      hint.textContent = "";
      grow();
    });
    input.addEventListener("keydown", (event) => this.key(event));
    cancel.addEventListener("click", () => this.close());
    this.editor.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(input, hint);
    });
    this.bubble.replaceWith(this.editor);
    this.actions.hidden = true;
    grow();
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }

  key(event) {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      this.editor.requestSubmit();
    }
  }

  async send(input, hint) {
    if (!input.value.trim()) {
      hint.textContent = "Write a message first.";
      return;
    }
    const button = this.editor.querySelector("[type=submit]");
    button.disabled = true;
    try {
      await this.on.edit(this.turn, input.value);
    } catch (error) {
      hint.textContent = error.message;
      input.focus();
    } finally {
      button.disabled = false;
    }
  }

  close() {
    if (!this.editor) return;
    this.editor.replaceWith(this.bubble);
    this.editor = null;
    this.actions.hidden = false;
    this.edit.focus({ preventScroll: true });
  }
}
