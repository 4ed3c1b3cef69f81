/** Share links: make one of a conversation as it is now, list them, take them back. */

import * as api from "./api.js";
import { createDialog } from "./dialog.js";
import { copyButton, el } from "./dom.js";
import { moment } from "./format.js";
import { confirm } from "./menu.js";
import { announce } from "./toast.js";

const WHAT = "Anyone who has the link can read this conversation as it is now. What you write later is not in it.";
const CHOICES = [
  ["without", "Without reasoning", "What the model thought is removed from the copy; a reader cannot get at it."],
  ["with", "With reasoning", "A reader can open what the model thought before each answer."],
];

/** @param {string} path @returns {string} the whole address of a link */
const addressOf = (path) => new URL(path, location.origin).href;

/** @param {{id: string, title: string}} conversation */
export function openShare(conversation) {
  const { body } = createDialog({ title: "Share this conversation", testid: "share-dialog", kind: "pg-sheet-small" });
  const choice = reasoningChoice();
  const create = el("button", { class: "pg-button", type: "button", testid: "share-create", text: "Create link" });
  const problem = el("p", { class: "pg-problem", role: "alert", testid: "share-problem" });
  const made = el("div", { class: "pg-made", hidden: true });
  let shown = "";
  const links = new ShareList(conversation.id, (share) => {
    if (share.id === shown) made.hidden = true;
  });
  create.addEventListener("click", async () => {
    create.disabled = true;
    problem.textContent = "";
    try {
      const { share } = await api.createShare(conversation.id, choice.get() === "with");
      showLink(made, share);
      shown = share.id;
      await links.load();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      create.disabled = false;
    }
  });
  const row = el("div", { class: "pg-sheet-row" }, create);
  body.append(el("p", { class: "pg-sheet-lead", text: WHAT }), choice.node, row, problem, made, links.node);
  links.load();
}

function showLink(box, share) {
  const address = addressOf(share.path);
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input", readonly: true, "aria-label": "The link", testid: "share-link" })
  );
  input.value = address;
  input.addEventListener("focus", () => input.select());
  const copy = copyButton(() => address, "Copy the link");
  copy.dataset.testid = "share-copy";
  box.replaceChildren(input, copy);
  box.hidden = false;
  input.focus();
  announce("The link is ready.");
}

function reasoningChoice() {
  const group = el("fieldset", { class: "pg-options" }, el("legend", { class: "pg-vh", text: "Reasoning" }));
  const radios = CHOICES.map(([value, name, line]) => {
    const radio = /** @type {HTMLInputElement} */ (
      el("input", { type: "radio", name: "pg-share-reasoning", value, testid: `share-${value}` })
    );
    group.append(optionCard(radio, name, line));
    return radio;
  });
  radios[0].checked = true;
  return { node: group, get: () => radios.find((radio) => radio.checked)?.value };
}

/** One choice with a sentence about it. @param {HTMLInputElement} radio @param {string} name @param {string} line */
export function optionCard(radio, name, line) {
  const words = el("span", { class: "pg-option-words" }, el("span", { text: name }), el("small", { text: line }));
  return el("label", { class: "pg-option" }, radio, words);
}

/** The links that somebody made: of one conversation, or all of them. */
export class ShareList {
  /** @param {string|null} conversationId @param {(share: any) => void} [revoked] is told of each that was taken back */
  constructor(conversationId, revoked) {
    this.conversationId = conversationId;
    this.revoked = revoked;
    this.list = el("ul", { class: "pg-rows", "aria-label": "Links" });
    this.note = el("p", { class: "pg-sheet-note", role: "status" });
    const title = conversationId ? "Links of this conversation" : "Links that you shared";
    this.node = el("section", { class: "pg-section", testid: "share-list" }, el("h3", { text: title }), this.list, this.note);
  }

  async load() {
    try {
      const { items } = await api.shares(this.conversationId);
      this.list.replaceChildren(...items.map((share) => this.row(share)));
      this.note.textContent = items.length ? "" : "There is no link yet.";
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  row(share) {
    const copy = copyButton(() => addressOf(share.path), `Copy the link of ${moment(share.created_at)}`);
    const revoke = el("button", { class: "pg-quiet pg-danger", type: "button", testid: "share-revoke", text: "Revoke" });
    revoke.setAttribute("aria-label", `Revoke the link of ${moment(share.created_at)}`);
    revoke.addEventListener("click", () => this.revoke(share));
    const kind = share.include_reasoning ? "with reasoning" : "without reasoning";
    const facts = [kind, `${share.messages} ${share.messages === 1 ? "message" : "messages"}`];
    // Beside its own conversation the title would be the same in every row.
    if (!this.conversationId) facts.unshift(moment(share.created_at));
    const title = this.conversationId ? moment(share.created_at) : share.title || "Untitled";
    const name = el("a", { class: "pg-row-name", href: share.path, target: "_blank", rel: "noopener", text: title });
    const words = el("div", { class: "pg-row-words" }, name, el("small", { text: facts.join(" · ") }));
    return el("li", { class: "pg-row", testid: "share-item" }, words, el("div", { class: "pg-row-acts" }, copy, revoke));
  }

  async revoke(share) {
    const text = "The link stops working at once, also for those who have it. A new link has another address.";
    if (!(await confirm({ title: "Revoke this link?", text, action: "Revoke" }))) return;
    try {
      await api.deleteShare(share.id);
    } catch (error) {
      if (error.status !== 404) {
        this.note.textContent = error.message;
        return;
      }
    }
    announce("The link was revoked.");
    this.revoked?.(share);
    await this.load();
  }
}
