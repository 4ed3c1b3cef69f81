/**
 * A reply: ordered parts (reasoning, calls, results, answers) that are streamed or come from the database. One that
 * called functions has several rounds, each a generation of its own; all of them stand here, one below the other.
 */

import * as api from "./api.js";
import { el } from "./dom.js";
import { replyFooter } from "./footer.js";
import { duration, modelName } from "./format.js";
import { CallCard } from "./call.js";
import { isAnswer, makePart } from "./pieces.js";
import { Reasoning } from "./reasoning.js";
import { ResultForm } from "./result_form.js";
import { SchemaAnswer } from "./schema_answer.js";
import { isOpen, roundsOf } from "./turns.js";
import { versionSwitch } from "./versions.js";

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
    /** The parts of all rounds, in order. @type {Map<number, any>} */
    this.parts = new Map();
    /** The number that the round's first own message has among the parts. */
    this.base = 0;
    /** @type {ResultForm|null} */
    this.form = null;
    this.since = performance.now() - ageOf(this.generation);
    this.attached = performance.now();
    /** @type {Map<string, Promise<any>>} */
    this.fetching = new Map();
    this.status = el("p", { class: "pg-wait pg-shimmer", testid: "waiting" });
    this.name = el("h2", { class: "pg-model-name" });
    this.body = el("div", { class: "pg-parts" });
    this.element = el("article", { class: "pg-reply", "aria-label": "Reply", testid: "reply" }, this.name, this.body);
    this.titled();
    if (isOpen(turn)) {
      // The stream brings what this round has written from its beginning.
      this.saved(turn.messages.filter((message) => message.generation_id !== this.generation.id));
      this.base = this.parts.size;
      this.wait(null);
    } else {
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
    else if (name === "delta") this.parts.get(this.base + data.i)?.append(data.t);
    else if (name === "message_end") this.end(data);
    else if (name === "results") this.results(data.messages);
    else if (name === "calling") this.calling(data.calls);
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
    const index = this.base + i;
    if (this.parts.has(index)) return;
    const message = { role: role ?? "assistant", channel, recipient, name, recovered: false, generation_id: this.generation.id };
    const part = this.makePart(message, true, this.how.on.expectsJson());
    part.replay = this.replayed();
    this.parts.set(index, part);
  }

  /** A new part, at the end of what stands here; a result stands in its call. */
  makePart(message, live, json) {
    const first = !this.all(Reasoning).some((part) => part.message.generation_id === message.generation_id);
    const since = first ? this.since : performance.now();
    const part = makePart(message, { open: this.how.showReasoning, live, since, json, calls: this.all(CallCard) });
    part.message = message;
    if (!part.element.parentElement) this.body.append(part.element);
    return part;
  }

  /** The next round: what stands here stays, and what comes is drawn below it. */
  goOn() {
    this.form?.remove();
    this.form = null;
    this.foot?.remove();
    this.base = this.parts.size;
    this.since = this.attached = performance.now();
    this.titled();
    this.wait(null);
  }

  /** What the functions gave back; it may be here already. @param {any[]} messages */
  results(messages) {
    const known = new Set([...this.parts.values()].map((part) => part.message.id));
    this.saved(messages.filter((message) => !known.has(message.id)));
    this.base = this.parts.size;
    if (this.status.isConnected) this.body.append(this.status);
  }

  /** The server runs these. @param {string[]} ids of the calls */
  calling(ids) {
    for (const call of this.all(CallCard)) if (ids.includes(call.message.id) && !call.result) call.show("running");
  }

  /** @template T @param {new (...given: any[]) => T} kind @returns {T[]} the parts of one kind, in order */
  all(kind) {
    return [...this.parts.values()].filter((part) => part instanceof kind);
  }

  end({ i, id, tokens, content, recovered }) {
    const part = this.parts.get(this.base + i);
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

  /** The saved state of this round replaces what stands here of it. */
  snapshot({ generation, messages }) {
    this.turn.generation = generation;
    const before = this.messages().filter((message) => message.generation_id !== generation.id);
    this.dispose();
    this.parts.clear();
    this.body.replaceChildren();
    this.titled();
    this.saved([...before, ...messages]);
    // Results come before the round's own messages, and are not counted among them.
    this.base = before.length + messages.filter((message) => message.role === "tool").length;
    if (!isOpen(this.turn)) this.finish(generation);
    else if (this.parts.size === this.base) this.wait(null);
  }

  /** @param {any[]} messages as they are in the database; the text of old reasoning and tools may be left out */
  saved(messages) {
    for (const message of messages) {
      const part = this.makePart(message, false, this.isJson(message));
      part.element.dataset.message = message.id;
      this.parts.set(this.parts.size, part);
      if (message.content === null) part.later(() => this.fetched(message), message.content_chars);
      else part.replace(message.content);
      if (part instanceof Reasoning) part.finish({ tokens: message.token_count });
      else part.finish();
      if (message.recovered) this.recovered(part);
    }
  }

  /** @returns {any[]} what stands here, as `saved` takes it */
  messages() {
    return [...this.parts.values()].map((part) => ({ ...part.message, content: part.fetch ? null : part.text }));
  }

  /** Whether an answer is to be drawn as JSON: it was judged by a schema, or was cut before it could be. */
  isJson({ generation_id: id, content }) {
    const generation = roundsOf(this.turn).find((each) => each.id === id);
    if (!generation || generation.schema) return Boolean(generation?.schema);
    const whole = generation.status === "finished" && generation.finish_reason === "stop";
    return !whole && this.how.on.expectsJson() && /^\s*[[{]/.test(content ?? "");
  }

  /** The whole text of a message that was left out; one question for all of a round. */
  async fetched({ id, generation_id: round }) {
    if (!this.fetching.has(round)) this.fetching.set(round, api.generation(round));
    try {
      const { messages } = await this.fetching.get(round);
      return messages.find((message) => message.id === id)?.content ?? "";
    } catch (error) {
      this.fetching.delete(round);
      throw error;
    }
  }

  /** @param {any} generation as it ended */
  finish(generation) {
    this.stopWaiting();
    this.turn.generation = generation;
    this.titled();
    this.recast();
    for (const part of this.parts.values()) if (!(part instanceof Reasoning) && part.markdown && !part.markdown.complete) part.finish();
    // The turn may be drawn again, after it left the path and came back.
    this.turn.messages = this.messages();
    for (const call of this.all(CallCard)) if (!call.result) call.show("");
    if (generation.next_generation_id) return;
    this.settle();
    this.unseen();
  }

  /** Where only some of the calls wait, the server has answered the others, and its results came by no event. */
  async unseen() {
    const { id, finish_reason: reason, waiting_calls: waiting = [] } = this.generation;
    const open = this.all(CallCard).filter((call) => call.message.generation_id === id && !call.result);
    if (reason !== "tool_call" || open.every((call) => waiting.includes(call.message.id))) return;
    try {
      const { messages } = await api.generation(id);
      if (this.generation.id !== id) return;
      this.results(messages.filter((message) => message.role === "tool"));
      this.turn.messages = this.messages();
    } catch {
      // They are there when the conversation is opened again.
    }
  }

  /** Only the end tells for sure whether an answer was asked for as JSON. */
  recast() {
    const { id, schema, status, finish_reason: reason } = this.generation;
    if (!schema && (status !== "finished" || reason !== "stop")) return;
    for (const [index, part] of this.parts) {
      if (!isAnswer(part) || part.message.generation_id !== id || part instanceof SchemaAnswer === Boolean(schema)) continue;
      const other = makePart(part.message, { open: false, live: false, since: 0, json: Boolean(schema), calls: [] });
      other.message = part.message;
      other.element.dataset.message = part.element.dataset.message ?? "";
      other.replace(part.text);
      other.finish();
      part.element.replaceWith(other.element);
      this.parts.set(index, other);
    }
  }

  /** The footer, and what is known about the thinking and the answer, of a reply that is over. */
  settle() {
    for (const round of roundsOf(this.turn)) {
      const own = (part) => part.message.generation_id === round.id;
      const thoughts = this.all(Reasoning).filter(own);
      const whole = thoughts.length === 1 ? round.timings?.reasoning_seconds : null;
      for (const part of thoughts) part.finish({ seconds: whole ?? part.seconds });
      for (const part of this.all(SchemaAnswer).filter(own)) part.judge(round.schema);
      this.branches(round);
    }
    this.foot?.remove();
    this.foot = replyFooter(this.turn, { source: this.answer(), parts: this.answers(), begun: this.parts.size > 0 }, this.how.on);
    this.body.append(this.foot);
    this.ask();
  }

  /** Calls that nobody has answered: their results can be typed here. */
  ask() {
    const ids = this.generation.waiting_calls ?? [];
    const calls = this.all(CallCard).filter((call) => ids.includes(call.message.id) && !call.result);
    // What somebody types is not to lose the focus because a version was made elsewhere.
    if (this.form?.calls.length === calls.length && calls.every((call, at) => call === this.form.calls[at])) return;
    this.form?.remove();
    this.form = null;
    if (calls.length) this.form = new ResultForm(calls, (results) => this.how.on.results(this.turn, results));
  }

  /** Where calls were answered more than once: a switch between what came of it. */
  branches({ id, answers }) {
    const ids = roundsOf(this.turn).find((each) => each.id === answers)?.next_generation_ids ?? [];
    const result = [...this.parts.values()].find((part) => part.message.role === "tool" && part.message.generation_id === id);
    const pick = (other) => this.how.on.version(this.turn, "result", { generation_id: other });
    const versions = result && versionSwitch({ ids, shown: id, of: "result", pick });
    result?.head.querySelector(".pg-versions")?.remove();
    if (versions) result.head.firstElementChild.after(versions);
  }

  /** @returns {any[]} the parts of the final answer */
  answers() {
    return [...this.parts.values()].filter(isAnswer);
  }

  /** @returns {string} the Markdown of the final answer */
  answer() {
    return this.answers().map((part) => part.text).join("\n\n").trim();
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
