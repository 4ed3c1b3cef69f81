/** Why a reply ended as it did, in plain words, and what can be done about it. */

import { el, icon } from "./dom.js";
import { count } from "./format.js";

/** @typedef {"continue"|"answer_now"|"raise"|"retry"|"fresh"|"drop"} Offer */
/** @typedef {{text: string, error?: boolean, offers: Offer[]}} Ending */

const EMPTY_LENGTH = "The token budget ran out during the reasoning, so there is no answer yet.";
const EMPTY_CONTEXT =
  "The token budget ran out during the reasoning: the model's context is full, so there is no answer yet.";
const CUT_CONTEXT = "The answer was cut because the model's context is full.";

/** What takes up a reply's own tokens. @type {Offer[]} */
const GOES_ON = ["continue", "answer_now", "raise"];

/**
 * The sentence about a reply that did not end in the ordinary way, and what can be done. A copy from elsewhere has no
 * tokens to go on with: it is asked for anew.
 * @param {any} generation
 * @param {boolean} answered whether there is text of the final answer
 * @param {boolean} begun whether there is any text at all
 * @returns {Ending|null}
 */
export function ending(generation, answered, begun) {
  const found = whatEnded(generation, answered, begun);
  if (!found || generation.tokens_known !== false) return found;
  const offers = found.offers.filter((offer) => !GOES_ON.includes(offer));
  const asksAnew = offers.includes("retry") || offers.includes("drop");
  return { ...found, offers: asksAnew ? offers : [...offers, "retry"] };
}

/** @param {any} generation @param {boolean} answered @param {boolean} begun @returns {Ending|null} */
function whatEnded(generation, answered, begun) {
  const { status, error, finish_reason: reason, waiting_calls: waiting } = generation;
  const more = /** @type {Offer[]} */ (begun ? ["continue"] : []);
  if (status === "failed") return { text: error || "The reply failed.", error: true, offers: [...more, "retry"] };
  if (status === "cancelled") return { text: "Stopped.", offers: answered ? more : [...more, ...now(begun), "retry"] };
  if (status === "interrupted") {
    const text = answered ? "Interrupted by a restart; the text so far is kept." : "Interrupted by a restart.";
    return { text, offers: [...more, "retry"] };
  }
  if (reason === "length" && full(generation)) {
    return { text: answered ? CUT_CONTEXT : EMPTY_CONTEXT, offers: ["drop", "fresh"] };
  }
  if (reason === "length") {
    return answered
      ? { text: "Stopped at the token limit.", offers: ["continue", "raise"] }
      : { text: EMPTY_LENGTH, offers: ["continue", "answer_now", "raise"] };
  }
  // The calls say themselves that they wait; why nothing answered them is said here.
  if (waiting?.length) return error ? { text: error, offers: [] } : null;
  if (answered) return null;
  if (reason === "tool_call") return { text: "The model asked for a tool.", offers: now(begun) };
  return { text: "The model ended without an answer.", offers: [...now(begun), "retry"] };
}

const now = (begun) => /** @type {Offer[]} */ (begun ? ["answer_now"] : []);

/** Whether it was the context that ended the reply, and not a limit of its own. */
function full({ usage, context_length: context }) {
  return Boolean(context && usage && usage.prompt + usage.completion >= context - 1);
}

/** @type {Record<Offer, string>} */
const NAMES = {
  continue: "Continue",
  answer_now: "Answer now",
  raise: "Raise the limit…",
  retry: "Retry",
  fresh: "Start a new conversation",
  drop: "Leave out the oldest turns",
};
/** @type {Partial<Record<Offer, string>>} */
const HINTS = {
  continue: "Go on where the reply stopped",
  answer_now: "End the thinking here and write the answer",
  drop: "From now on the oldest turns are left out of the prompt when it is full",
};

/**
 * @param {Offer[]} offers
 * @param {{max_tokens?: number|null}} generation
 * @param {(offer: Offer, fields?: object) => void} run
 * @returns {HTMLElement}
 */
export function offerRow(offers, generation, run) {
  const row = el("div", { class: "pg-offers-row", testid: "offers" });
  for (const offer of offers) {
    const button = el(
      "button",
      { class: "pg-outline", type: "button", testid: offer.replace("_", "-"), title: HINTS[offer] },
      offer === "retry" && icon("retry"),
      NAMES[offer],
    );
    if (offer === "raise") {
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => raise(row, button, generation.max_tokens, run));
    } else button.addEventListener("click", () => run(offer));
    row.append(button);
  }
  return row;
}

/** The small form of a higher limit, below the buttons. */
function raise(row, button, limit, run) {
  const open = row.parentElement.querySelector(".pg-raise");
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    open.remove();
    return;
  }
  const input = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-raise-input", type: "number", min: "1", step: "1", required: true, testid: "raise-input",
      "aria-label": "Token limit" })
  );
  input.value = String(2 * (limit ?? 1024));
  const keep = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", testid: "raise-keep" }));
  const was = limit ? el("span", { class: "pg-raise-was", text: `It was ${count(limit)}.` }) : null;
  const form = el(
    "form",
    { class: "pg-raise", testid: "raise-form" },
    el("label", { class: "pg-raise-limit" }, "New limit", input, "tokens.", was),
    el("label", { class: "pg-raise-keep" }, keep, "Keep it for this conversation"),
    el("button", { class: "pg-button", type: "submit", testid: "raise-go", text: "Continue" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run("raise", { max_tokens: Number(input.value), keep: keep.checked });
  });
  row.after(form);
  input.select();
  input.focus();
}
