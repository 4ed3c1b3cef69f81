/** Which kind of part shows a message of a reply, and where it stands. */

import { CallCard, ResultCard, toolName } from "./call.js";
import { Answer } from "./parts.js";
import { Reasoning } from "./reasoning.js";
import { SchemaAnswer } from "./schema_answer.js";

/**
 * @param {any} message channel, recipient, role, name
 * @param {{open: boolean, live: boolean, since: number, json: boolean, calls: CallCard[]}} how `open`: reasoning stands
 *   open; `since`: when it began, a `performance.now()` time; `json`: the answer was asked for as JSON; `calls`: those
 *   that stand before it
 * @returns {Answer|SchemaAnswer|CallCard|ResultCard|Reasoning}
 */
export function makePart({ channel, recipient, role, name }, { open, live, since, json, calls }) {
  if (role === "tool") {
    const called = toolName(name ?? recipient ?? "the function");
    const call = callOf(called, calls);
    const result = new ResultCard(called, !call);
    call?.give(result);
    return result;
  }
  if (recipient && recipient !== "assistant") return new CallCard(toolName(recipient));
  if (channel === "analysis") return new Reasoning({ open, live, since });
  return json && channel !== "commentary" ? new SchemaAnswer() : new Answer(channel !== "commentary");
}

/** A result belongs to the first call of its function that has none yet. */
function callOf(name, calls) {
  return calls.find((call) => call.name === name && !call.result) ?? null;
}

/** @param {any} part @returns {boolean} whether it is text of the final answer */
export const isAnswer = (part) => (part instanceof Answer || part instanceof SchemaAnswer) && part.final;
