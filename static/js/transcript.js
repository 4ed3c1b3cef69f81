/** Draws the open conversation: messages, the empty page, loading, and what went wrong. */

import { el } from "./dom.js";
import { loadMarkdown } from "./markdown.js";
import { Reply, userMessage } from "./message.js";
import { Follower } from "./scroll.js";

/** So many replies from the end are drawn at once; the older ones when the browser is idle. */
const AT_ONCE = 6;
const OPEN = ["queued", "running"];

export class Transcript {
  /**
   * @param {{scroller: HTMLElement, list: HTMLElement, jump: HTMLElement, app: HTMLElement}} nodes
   * @param {{retry: (reply: Reply) => void, fresh: () => void, reload: () => void}} on
   */
  constructor({ scroller, list, jump, app }, on) {
    this.list = list;
    this.app = app;
    this.on = on;
    this.replies = [];
    this.showReasoning = false;
    this.follower = new Follower(scroller, list, jump);
    this.drawing = 0;
  }

  clear(view) {
    this.drawing += 1;
    for (const reply of this.replies) reply.dispose();
    this.replies = [];
    this.list.replaceChildren();
    this.app.dataset.view = view;
    this.list.removeAttribute("aria-busy");
  }

  empty() {
    this.clear("empty");
  }

  loading() {
    this.clear("loading");
    this.list.setAttribute("aria-busy", "true");
    const line = (width) => el("div", { class: "pg-bone", style: `width:${width}` });
    const bones = el("div", { class: "pg-skeleton", testid: "skeleton" }, el("div", { class: "pg-bone pg-bone-user" }));
    bones.append(line("92%"), line("97%"), line("64%"));
    this.list.append(bones);
  }

  /** @param {string} message @param {boolean} missing */
  failed(message, missing) {
    this.clear(missing ? "missing" : "error");
    const button = el("button", { class: "pg-button", type: "button", text: missing ? "New conversation" : "Try again" });
    button.addEventListener("click", missing ? this.on.fresh : this.on.reload);
    this.list.append(el("div", { class: "pg-blank", testid: "page-error" }, el("p", { text: message }), button));
  }

  /**
   * @param {any[]} messages the path to the leaf
   * @param {any[]} generations
   * @returns {Reply|null} the reply that is still running
   */
  show(messages, generations) {
    this.clear("open");
    const byUser = new Map(generations.map((generation) => [generation.user_message_id, generation]));
    const replies = new Map();
    for (const message of messages) {
      if (message.role !== "user") {
        replies.get(message.generation_id)?.messages.push(message);
        continue;
      }
      this.list.append(userMessage(message.content));
      const generation = byUser.get(message.id);
      if (!generation) continue;
      const reply = this.addReply(generation, message);
      replies.set(generation.id, { reply, messages: [] });
    }
    const running = this.fill([...replies.values()]);
    this.follower.toEnd();
    return running;
  }

  fill(entries) {
    let running = null;
    const later = [];
    entries.forEach(({ reply, messages }, index) => {
      if (OPEN.includes(reply.generation.status)) {
        running = reply;
        reply.wait(null);
        return;
      }
      const now = index >= entries.length - AT_ONCE;
      reply.saved(messages, now);
      if (!now) later.push(reply);
      reply.settle();
    });
    this.polish(later.reverse());
    return running;
  }

  async polish(replies) {
    const drawing = this.drawing;
    if (replies.length) await loadMarkdown().catch(() => null);
    const idle = window.requestIdleCallback ?? ((run) => setTimeout(() => run({ timeRemaining: () => 8 }), 30));
    const step = (deadline) => {
      if (drawing !== this.drawing) return;
      do replies.shift()?.polish();
      while (replies.length && deadline.timeRemaining() > 4);
      if (replies.length) idle(step);
    };
    if (replies.length) idle(step);
  }

  /** @param {string} text @returns {HTMLElement} the question */
  addQuestion(text) {
    if (this.app.dataset.view !== "open") this.clear("open");
    const node = userMessage(text);
    this.list.append(node);
    this.follower.toEnd();
    return node;
  }

  /**
   * @param {any} generation
   * @param {any} question the user's message, for a retry
   * @returns {Reply}
   */
  addReply(generation, question) {
    const reply = new Reply(generation, {
      showReasoning: this.showReasoning,
      onRetry: () => this.on.retry(reply),
    });
    reply.question = question;
    reply.questionNode = this.list.lastElementChild;
    this.replies.push(reply);
    this.list.append(reply.element);
    return reply;
  }

  /** Take a failed turn away that is about to be asked again as its sibling. */
  removeTurn(reply) {
    reply.dispose();
    this.replies = this.replies.filter((other) => other !== reply);
    reply.questionNode?.remove();
    reply.element.remove();
  }

  /** @param {boolean} open */
  setReasoning(open) {
    if (this.showReasoning === open) return;
    this.showReasoning = open;
    for (const reply of this.replies) reply.showReasoning(open);
  }
}
