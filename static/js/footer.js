/** What stands under a reply: why it ended, Copy, and its figures. */

import { copyButton, el, icon } from "./dom.js";
import { count, shortSeconds } from "./format.js";

const EMPTY_LENGTH =
  "The token budget ran out during the reasoning, so there is no answer. Try a lower effort or a higher limit.";

/**
 * The sentence about a reply that did not end in the ordinary way.
 * @param {any} generation
 * @param {boolean} answered whether there is text of the final answer
 * @returns {{text: string, retry: boolean, error: boolean}|null}
 */
export function ending(generation, answered) {
  const say = (text, retry = false, error = false) => ({ text, retry, error });
  switch (generation.status) {
    case "failed":
      return say(generation.error || "The reply failed.", true, true);
    case "cancelled":
      return say("Stopped.", !answered);
    case "interrupted":
      return say(answered ? "Interrupted by a restart; the text so far is kept." : "Interrupted by a restart.", true);
    default:
  }
  if (generation.finish_reason === "length") return say(answered ? "Stopped at the token limit." : EMPTY_LENGTH);
  if (generation.finish_reason === "tool_call") return answered ? null : say("The model asked for a tool.");
  return answered ? null : say("The model ended without an answer.", true);
}

/**
 * @param {any} generation
 * @returns {string} "medium effort · 84 tokens · 39 tokens/s · first token 0.42 s"
 */
export function figures(generation) {
  const { usage, timings } = generation;
  const words = [`${generation.effort} effort`];
  if (usage?.completion) words.push(`${count(usage.completion)} ${usage.completion === 1 ? "token" : "tokens"}`);
  const speed = timings?.tokens_per_second;
  if (speed) words.push(`${speed < 10 ? speed.toFixed(1) : count(Math.round(speed))} tokens/s`);
  if (timings?.ttft) words.push(`first token ${shortSeconds(timings.ttft)}`);
  return words.join(" · ");
}

/**
 * @param {any} generation
 * @param {string} answer
 * @param {() => void} onRetry
 * @returns {HTMLElement}
 */
export function replyFooter(generation, answer, onRetry) {
  const foot = el("footer", { class: "pg-foot", testid: "reply-footer" });
  const note = ending(generation, answer.trim() !== "");
  if (note) {
    const line = el("p", { class: note.error ? "pg-note pg-note-error" : "pg-note", testid: "reply-note", text: note.text });
    foot.append(line);
  }
  const row = el("div", { class: "pg-foot-row" });
  if (answer.trim()) row.append(copyButton(() => answer, "Copy answer"));
  if (note?.retry) {
    const retry = el("button", { class: "pg-quiet", type: "button", testid: "retry" }, icon("retry"), "Retry");
    retry.addEventListener("click", onRetry);
    row.append(retry);
  }
  row.append(el("span", { class: "pg-figures", text: figures(generation) }));
  foot.append(row);
  return foot;
}
