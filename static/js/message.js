/** The messages of the transcript: the user's question, and a reply made of ordered parts. */

import { el } from "./dom.js";
import { replyFooter } from "./footer.js";
import { duration, modelName } from "./format.js";
import { Answer, ToolCard, toolName } from "./parts.js";
import { Reasoning } from "./reasoning.js";

const RECOVERED = "The model's output was malformed; shown as recovered.";
/** Events that arrive this soon after the first one are a replay and say nothing about time. */
const REPLAY_MS = 400;

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
export function userMessage(text) {
  const bubble = el("div", { class: "pg-bubble", testid: "user-message", text });
  return el("article", { class: "pg-turn pg-user", "aria-label": "You" }, bubble);
}

export class Reply {
  /**
   * @param {any} generation
   * @param {{showReasoning: boolean, onRetry: () => void, onFinal?: () => void}} how
   */
  constructor(generation, how) {
    this.generation = generation;
    this.how = how;
    this.parts = new Map();
    this.since = performance.now() - ageOf(generation);
    this.attached = performance.now();
    this.status = el("p", { class: "pg-wait pg-shimmer", testid: "waiting" });
    this.name = el("h2", { class: "pg-model-name" });
    this.body = el("div", { class: "pg-parts" });
    this.element = el("article", { class: "pg-turn pg-reply", "aria-label": "Reply", testid: "reply" }, this.name, this.body);
    this.titled();
  }

  titled() {
    this.name.textContent = this.generation.model ? modelName(this.generation.model) : "Reply";
    this.element.dataset.status = this.generation.status;
  }

  /** Before the first message: in the queue, or reading the prompt. */
  wait(text) {
    this.waitText = text;
    if (!this.status.isConnected) this.body.append(this.status);
    const tick = () => {
      const seconds = Math.floor((performance.now() - this.since) / 1000);
      this.status.textContent = this.waitText ?? `Thinking… ${duration(seconds)}`;
    };
    tick();
    this.clock ||= setInterval(tick, 1000);
  }

  stopWaiting() {
    clearInterval(this.clock);
    this.clock = 0;
    this.status.remove();
  }

  /** One event of the stream (docs/http-api.md). */
  event(name, data) {
    if (name === "queued") this.wait(data.position > 0 ? `Waiting in the queue, place ${data.position}` : "Waiting for the model");
    else if (name === "started") this.started(data);
    else if (name === "message") this.begin(data);
    else if (name === "delta") this.parts.get(data.i)?.append(data.t);
    else if (name === "message_end") this.end(data);
    else if (name === "snapshot") this.snapshot(data);
    else if (name === "finish") this.finish(data);
  }

  started(data) {
    this.generation = { ...this.generation, status: "running", model: data.model, revision: data.revision };
    this.titled();
    this.since = this.replayed() ? this.since : performance.now();
    this.wait(null);
  }

  replayed() {
    return performance.now() - this.attached < REPLAY_MS && ageOf(this.generation) > 1500;
  }

  begin({ i, channel, recipient, role, name }) {
    this.stopWaiting();
    if (this.parts.has(i)) return;
    const part = this.makePart({ channel, recipient, role, name }, true);
    part.replay = this.replayed();
    this.parts.set(i, part);
    this.body.append(part.element);
    if (part instanceof Answer && part.final) this.how.onFinal?.();
  }

  makePart({ channel, recipient, role, name }, live) {
    if (role === "tool") return new ToolCard(`Result of ${toolName(name ?? recipient ?? "the tool")}`, "result");
    if (recipient && recipient !== "assistant") return new ToolCard(`Call of ${toolName(recipient)}`, "call");
    if (channel === "analysis") {
      const first = ![...this.parts.values()].some((part) => part instanceof Reasoning);
      return new Reasoning({ open: this.how.showReasoning, live, since: first ? this.since : performance.now() });
    }
    return new Answer(channel !== "commentary");
  }

  end({ i, tokens, content, recovered }) {
    const part = this.parts.get(i);
    if (!part) return;
    if (content !== null && content !== undefined) part.replace(content);
    if (part instanceof Reasoning) part.finish({ tokens, seconds: part.replay ? null : part.elapsed() });
    else part.finish();
    if (recovered) this.recovered(part);
  }

  recovered(part) {
    if (part.marked) return;
    part.marked = true;
    part.element.append(el("p", { class: "pg-note", testid: "recovered", text: RECOVERED }));
  }

  /** The saved state replaces what stands here. */
  snapshot({ generation, messages }) {
    this.generation = generation;
    this.dispose();
    this.parts.clear();
    this.body.replaceChildren();
    this.titled();
    this.saved(messages, true);
    const over = !["queued", "running"].includes(generation.status);
    if (over) this.finish(generation);
    else if (!messages.length) this.wait(null);
  }

  /**
   * Messages as they are in the database.
   * @param {any[]} messages
   * @param {boolean} now draw Markdown at once
   */
  saved(messages, now) {
    messages.forEach((message, index) => {
      const part = this.makePart(message, false);
      this.parts.set(index, part);
      this.body.append(part.element);
      if (part instanceof Reasoning) {
        part.replace(message.content);
        part.finish({ tokens: message.token_count });
      } else if (part instanceof Answer && !now) part.show(message.content);
      else {
        part.replace(message.content);
        part.finish();
      }
      if (message.recovered) this.recovered(part);
    });
  }

  /** Draw the Markdown of a reply that was shown as plain text. */
  polish() {
    for (const part of this.parts.values()) if (part instanceof Answer) part.finish();
  }

  /** @param {any} generation as it ended */
  finish(generation) {
    this.stopWaiting();
    this.generation = generation;
    this.titled();
    for (const part of this.parts.values()) if (!(part instanceof Reasoning) && !part.markdown?.complete) part.finish();
    this.settle();
  }

  /** The footer, and what is known about the thinking, of a reply that is over. */
  settle() {
    const generation = this.generation;
    const thoughts = [...this.parts.values()].filter((part) => part instanceof Reasoning);
    for (const part of thoughts) {
      const whole = thoughts.length === 1 ? generation.timings?.reasoning_seconds : null;
      part.finish({ seconds: whole ?? part.seconds });
    }
    this.body.querySelector(":scope > .pg-foot")?.remove();
    this.body.append(replyFooter(generation, this.answer(), this.how.onRetry));
  }

  /** @returns {string} the text of the final answer */
  answer() {
    const answers = [...this.parts.values()].filter((part) => part instanceof Answer && part.final);
    return answers.map((part) => part.text).join("\n\n").trim();
  }

  /** @param {boolean} open */
  showReasoning(open) {
    this.how.showReasoning = open;
    for (const part of this.parts.values()) if (part instanceof Reasoning) part.open(open);
  }

  /** The reply leaves the page: stop its clocks. */
  dispose() {
    this.stopWaiting();
    for (const part of this.parts.values()) if (part instanceof Reasoning) part.dispose();
  }
}

/** Milliseconds since a generation was created; a clock that is ahead of the server's counts as none. */
function ageOf(generation) {
  const created = Date.parse(generation.created_at ?? "");
  return Number.isFinite(created) ? Math.max(0, Date.now() - created) : 0;
}
