/** A reply: ordered parts (reasoning, tools, answers) that are streamed or come from the database. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { replyFooter } from "./footer.js";
import { duration, modelName } from "./format.js";
import { Answer, ToolCard, toolName } from "./parts.js";
import { Reasoning } from "./reasoning.js";
import { isOpen } from "./turns.js";

const RECOVERED = "The model's output was malformed; shown as recovered.";
/** Events that arrive this soon after the first one are a replay and say nothing about time. */
const REPLAY_MS = 400;

export class Reply {
  /**
   * @param {import("./turns.js").Turn} turn
   * @param {{showReasoning: boolean, on: any}} how
   */
  constructor(turn, how) {
    this.turn = turn;
    this.how = how;
    this.parts = new Map();
    this.since = performance.now() - ageOf(this.generation);
    this.attached = performance.now();
    this.fetching = null;
    this.status = el("p", { class: "pg-wait pg-shimmer", testid: "waiting" });
    this.name = el("h2", { class: "pg-model-name" });
    this.body = el("div", { class: "pg-parts" });
    this.element = el("article", { class: "pg-reply", "aria-label": "Reply", testid: "reply" }, this.name, this.body);
    this.titled();
    if (isOpen(turn)) this.wait(null);
    else {
      this.saved(turn.messages);
      this.settle();
    }
  }

  get generation() {
    return this.turn.generation ?? {};
  }

  titled() {
    this.name.textContent = this.generation.model ? modelName(this.generation.model) : "Reply";
    this.element.dataset.status = this.generation.status ?? "finished";
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
    this.turn.generation = { ...this.generation, status: "running", model: data.model, revision: data.revision };
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
    part.message = { role: role ?? "assistant", channel, recipient, name, recovered: false };
    part.replay = this.replayed();
    this.parts.set(i, part);
    this.body.append(part.element);
  }

  makePart({ channel, recipient, role, name }, live) {
    if (role === "tool") return new ToolCard(`Result of ${toolName(name ?? recipient ?? "the tool")}`, "result");
    if (recipient && recipient !== "assistant") return new ToolCard(`Call of ${toolName(recipient)}`, "call");
    if (channel === "analysis") {
      const first = !this.all(Reasoning).length;
      return new Reasoning({ open: this.how.showReasoning, live, since: first ? this.since : performance.now() });
    }
    return new Answer(channel !== "commentary");
  }

  /** @template T @param {new (...given: any[]) => T} kind @returns {T[]} the parts of one kind, in order */
  all(kind) {
    return [...this.parts.values()].filter((part) => part instanceof kind);
  }

  end({ i, id, tokens, content, recovered }) {
    const part = this.parts.get(i);
    if (!part) return;
    part.element.dataset.message = id;
    part.message = { ...part.message, id, token_count: tokens, recovered: Boolean(recovered) };
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
    this.turn.generation = generation;
    this.dispose();
    this.parts.clear();
    this.body.replaceChildren();
    this.titled();
    this.saved(messages);
    if (!isOpen(this.turn)) this.finish(generation);
    else if (!messages.length) this.wait(null);
  }

  /** @param {any[]} messages as they are in the database; the text of old reasoning and tools may be left out */
  saved(messages) {
    messages.forEach((message, index) => {
      const part = this.makePart(message, false);
      part.element.dataset.message = message.id;
      part.message = message;
      this.parts.set(index, part);
      this.body.append(part.element);
      if (message.content === null) part.later(() => this.fetched(message.id), message.content_chars);
      else part.replace(message.content);
      if (part instanceof Reasoning) part.finish({ tokens: message.token_count });
      else part.finish();
      if (message.recovered) this.recovered(part);
    });
  }

  /** The whole text of a message that was left out; one question for all of a reply. */
  async fetched(id) {
    this.fetching ??= api.generation(this.generation.id).catch((error) => {
      this.fetching = null;
      throw error;
    });
    const { messages } = await this.fetching;
    return messages.find((message) => message.id === id)?.content ?? "";
  }

  /** @param {any} generation as it ended */
  finish(generation) {
    this.stopWaiting();
    this.turn.generation = generation;
    this.titled();
    for (const part of this.parts.values()) if (!(part instanceof Reasoning) && !part.markdown?.complete) part.finish();
    // The turn may be drawn again, after it left the path and came back.
    this.turn.messages = [...this.parts.values()].map((part) => ({ ...part.message, content: part.text }));
    this.settle();
  }

  /** The footer, and what is known about the thinking, of a reply that is over. */
  settle() {
    const thoughts = this.all(Reasoning);
    for (const part of thoughts) {
      const whole = thoughts.length === 1 ? this.generation.timings?.reasoning_seconds : null;
      part.finish({ seconds: whole ?? part.seconds });
    }
    const answers = this.all(Answer).filter((part) => part.final);
    const answer = { source: this.answer(), boxes: answers.map((part) => part.box), begun: this.parts.size > 0 };
    this.foot?.remove();
    this.foot = replyFooter(this.turn, answer, this.how.on);
    this.body.append(this.foot);
  }

  /** @returns {string} the Markdown of the final answer */
  answer() {
    const answers = this.all(Answer).filter((part) => part.final);
    return answers.map((part) => part.text).join("\n\n").trim();
  }

  /** @param {boolean} open */
  showReasoning(open) {
    this.how.showReasoning = open;
    for (const part of this.all(Reasoning)) part.open(open);
  }

  /**
   * Open what hides a message.
   * @param {string} id
   * @returns {Promise<HTMLElement|null>} where it stands
   */
  async reveal(id) {
    const part = [...this.parts.values()].find((each) => each.element.dataset.message === id);
    await part?.open?.(true);
    return part?.element ?? null;
  }

  /** The reply leaves the page: stop its clocks. */
  dispose() {
    clearInterval(this.clock);
    this.clock = 0;
    for (const part of this.all(Reasoning)) part.dispose();
  }
}

/** Milliseconds since a generation was created; a clock that is ahead of the server's counts as none. */
function ageOf(generation) {
  const created = Date.parse(generation.created_at ?? "");
  return Number.isFinite(created) ? Math.max(0, Date.now() - created) : 0;
}
