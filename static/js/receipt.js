/** The receipt of a reply: everything that is known about how it was made. Closed until somebody asks. */

import { copyButton, el, icon } from "./dom.js";
import { count, duration, modelName, shortSeconds } from "./format.js";

let serial = 0;

/** @type {Record<string, string>} */
const REASONS = {
  stop: "The model ended the reply",
  length: "The token limit was reached",
  tool_call: "The model called a function",
  cancelled: "Stopped by you",
  error: "A fault ended it",
};
/** @type {Record<string, string>} */
const STATES = {
  cancelled: "Stopped by you",
  failed: "A fault ended it",
  interrupted: "The server was stopped meanwhile",
};

/**
 * @param {any[]} rounds the generations of the reply: more than one where it called functions
 * @param {string[]} replies the ids of all replies to the question
 * @returns {{button: HTMLElement, panel: HTMLElement}} the panel is empty while it is closed
 */
export function receipt(rounds, replies) {
  const panel = el("div", { class: "pg-receipt", id: `pg-receipt-${(serial += 1)}`, testid: "receipt", hidden: true });
  const button = el(
    "button",
    { class: "pg-quiet", type: "button", testid: "details", "aria-expanded": "false", "aria-controls": panel.id,
      title: "How this reply was made" },
    icon("info"),
    el("span", { text: "Details" }),
  );
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (panel.hidden) panel.replaceChildren();
    else panel.append(...rounds.flatMap((round, index) => step(round, replies, index, rounds.length)));
  });
  return { button, panel };
}

function step(generation, replies, index, all) {
  const name = all > 1 ? [el("p", { class: "pg-receipt-step", text: `Step ${index + 1} of ${all}` })] : [];
  return [...name, ...content(generation, replies)];
}

function content(generation, replies) {
  const groups = [
    ["Model", model(generation)],
    ["Tokens", tokens(generation)],
    ["Time", times(generation)],
    ["Reply", outcome(generation, replies)],
  ];
  const nodes = groups.map(([name, rows]) => {
    const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
    const entries = known.flatMap(([term, value, title]) => [el("dt", { text: term }), el("dd", { text: value, title })]);
    return el("section", {}, el("h3", { text: name }), el("dl", {}, ...entries));
  });
  const copy = copyButton(() => JSON.stringify(generation, null, 2), "Copy as JSON", "Copy as JSON");
  return [el("div", { class: "pg-receipt-groups" }, ...nodes), copy];
}

function model({ model: name, revision, effort, temperature, top_p: topP, seed, max_tokens: limit, context_length: context }) {
  return [
    ["Model", name ? modelName(name) : "Unknown", name],
    ["Revision", revision ? revision.slice(0, 18) : null, revision],
    ["Effort", effort],
    ["Temperature", known(temperature) ? String(temperature) : null],
    ["Top p", known(topP) ? String(topP) : null],
    ["Seed", known(seed) ? String(seed) : null],
    ["Token limit", known(limit) ? count(limit) : null],
    ["Context", context ? `${count(context)} tokens` : null],
  ];
}

function tokens({ usage, primed_tokens: primed }) {
  if (!usage) return [["Prompt", "Not counted"]];
  const { prompt = 0, cached = 0, completion = 0, reasoning = 0, commentary = 0, final = 0 } = usage;
  const other = Math.max(0, completion - reasoning - commentary - final);
  return [
    ["Prompt", count(prompt)],
    ["of these cached", count(cached)],
    ["Reasoning", count(reasoning)],
    ["Tools, commentary", commentary ? count(commentary) : null],
    ["Answer", count(final)],
    ["Markers", other ? count(other) : null],
    ["Written in all", count(completion)],
    ["Taken over", primed ? count(primed) : null],
  ];
}

function times({ timings, created_at: created }) {
  const { queued, ttft, total, tokens_per_second: speed, reasoning_seconds: thought } = timings ?? {};
  return [
    ["Queued", known(queued) ? shortSeconds(queued) : null],
    ["First token", known(ttft) ? shortSeconds(ttft) : null],
    ["Thinking", known(thought) ? shortSeconds(thought) : null],
    ["In all", known(total) ? (total < 60 ? shortSeconds(total) : duration(total)) : null],
    ["Speed", speed ? `${speed < 10 ? speed.toFixed(1) : count(Math.round(speed))} tokens/s` : null],
    ["Asked", created ? new Date(created).toLocaleString() : null],
  ];
}

function outcome({ status, finish_reason: reason, mode, continues, dropped, error }, replies) {
  const from = continues ? replies.indexOf(continues) + 1 : 0;
  const how = mode === "answer_now" ? "answered at once" : "continued";
  return [
    ["Ended", STATES[status] ?? REASONS[reason] ?? (status === "finished" ? "The model ended the reply" : status)],
    ["Fault", status === "failed" ? error : null],
    ["Continued from", continues ? `${from ? `version ${from}` : "an earlier reply"} (${how})` : null],
    ["Left out of the prompt", left(dropped)],
  ];
}

function left(dropped) {
  const words = [];
  if (dropped?.reasoning) words.push(`the reasoning of ${plural(dropped.reasoning, "earlier message")}`);
  if (dropped?.turns) words.push(`the ${plural(dropped.turns, "oldest turn")}`);
  return words.length ? words.join(", ") : "nothing";
}

const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const known = (value) => value !== null && value !== undefined;
