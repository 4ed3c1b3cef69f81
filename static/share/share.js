/** The reader's page of a shared conversation. It needs no account, and nothing on it can be changed. */

import * as api from "../js/api.js";
import { copyButton, el } from "../js/dom.js";
import { ending } from "../js/ending.js";
import { modelName, moment } from "../js/format.js";
import { CallCard } from "../js/call.js";
import { isAnswer, makePart } from "../js/pieces.js";
import { Reasoning } from "../js/reasoning.js";
import { SchemaAnswer } from "../js/schema_answer.js";

const PRODUCT = "gpt-oss Playground";
const GONE = "There is nothing under this link: it never was one, or its owner has taken it back.";
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @returns {string} the last part of the address */
function token() {
  return decodeURIComponent(location.pathname.replace(/\/+$/, "").split("/").pop() ?? "");
}

/** One reply: what its generations wrote, in order; one that called functions has several. */
class SharedReply {
  constructor(generation) {
    this.generation = generation;
    const name = generation?.model ? modelName(generation.model) : "Reply";
    this.body = el("div", { class: "pg-parts" });
    this.element = el("article", { class: "pg-reply", "aria-label": "Reply", testid: "reply" }, el("h2", { class: "pg-model-name", text: name }), this.body);
    this.answers = [];
    /** @type {CallCard[]} */
    this.calls = [];
    /** The generations whose reasoning has told its time. */
    this.timed = new Set();
  }

  /** @param {any} message @param {any} generation that wrote it */
  add(message, generation) {
    this.generation = generation ?? this.generation;
    const part = makePart(message, { open: false, live: false, since: 0, json: Boolean(generation?.schema), calls: this.calls });
    part.replace(message.content ?? "");
    if (part instanceof Reasoning) part.finish({ tokens: message.token_count, seconds: this.thought(generation) });
    else part.finish();
    if (part instanceof SchemaAnswer) part.judge(generation.schema);
    if (part instanceof CallCard) this.calls.push(part);
    if (isAnswer(part)) this.answers.push(part);
    if (!part.element.parentElement) this.body.append(part.element);
  }

  /** The time is known for all of a generation's reasoning together. */
  thought(generation) {
    if (this.timed.has(generation)) return null;
    this.timed.add(generation);
    return generation?.timings?.reasoning_seconds ?? null;
  }

  /** What stands below it, once all of it is there. */
  close() {
    const answer = this.answers.map((part) => part.text).join("\n\n").trim();
    const note = this.generation && ending(this.generation, answer !== "", false);
    const foot = el("div", { class: "pg-foot" });
    if (note) foot.append(el("p", { class: "pg-note", text: note.text }));
    if (answer) foot.append(el("div", { class: "pg-foot-row" }, copyButton(() => answer, "Copy this answer")));
    this.body.append(foot);
  }
}

function question(message) {
  const bubble = el("div", { class: "pg-bubble", testid: "user-message", text: message.content });
  return el("article", { class: "pg-user", "aria-label": "Question" }, el("h2", { class: "pg-vh", text: "Question" }), bubble);
}

function draw({ title, created_at: created, include_reasoning: reasoning, model, messages, generations }) {
  const known = new Map(generations.map((generation) => [generation.id, generation]));
  const asked = new Map();
  // The first one is the reply; others go on from its calls.
  for (const generation of generations) if (!asked.has(generation.user_message_id)) asked.set(generation.user_message_id, generation);
  const box = byId("pg-shared-messages");
  let reply = null;
  const begin = (generation) => {
    reply?.close();
    reply = new SharedReply(generation);
    box.append(reply.element);
  };
  for (const message of messages) {
    if (message.role === "user") {
      reply?.close();
      reply = null;
      box.append(question(message));
      // A reply without any text is a reply, too.
      if (asked.has(message.id)) begin(asked.get(message.id));
      continue;
    }
    const generation = known.get(message.generation_id);
    if (!reply) begin(generation);
    reply.add(message, generation);
  }
  reply?.close();
  const name = title || "Untitled conversation";
  byId("pg-shared-title").textContent = name;
  document.title = `${name} – ${PRODUCT}`;
  const facts = [`Shared on ${moment(created)}`, model && modelName(model), reasoning ? "with reasoning" : "without reasoning"];
  byId("pg-shared-facts").textContent = facts.filter(Boolean).join(" · ");
  byId("pg-import").hidden = false;
  byId("pg-shared-foot").hidden = false;
}

function say(text) {
  byId("pg-shared-problem").textContent = text;
}

async function take(button) {
  button.disabled = true;
  say("");
  try {
    const { conversation } = await api.importShared(token());
    location.assign(`/c/${encodeURIComponent(conversation.id)}`);
  } catch (error) {
    say(error.status === 404 ? GONE : error.message);
    button.disabled = false;
  }
}

async function main() {
  const button = /** @type {HTMLButtonElement} */ (byId("pg-import"));
  button.addEventListener("click", () => take(button));
  try {
    draw(await api.shared(token()));
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    say(error.status === 404 ? GONE : error.message);
  }
  byId("pg-read").removeAttribute("aria-busy");
  document.documentElement.dataset.pgReady = "true";
}

main();
