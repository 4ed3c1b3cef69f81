/** What stands under a reply: why it ended and what can be done, its actions, its figures. */

import { openChoices } from "./choices.js";
import { copyButton, copyText, el, icon } from "./dom.js";
import { ending, offerRow } from "./ending.js";
import { count, shortSeconds } from "./format.js";
import { receipt } from "./receipt.js";
import { roundsOf } from "./turns.js";
import { versionSwitch } from "./versions.js";

/**
 * @param {any[]} rounds the generations of the reply
 * @returns {string} "medium effort · 84 tokens · 39 tokens/s · first token 0.42 s"
 */
export function figures(rounds) {
  const timings = rounds[0].timings;
  const tokens = rounds.reduce((sum, { usage }) => sum + (usage?.completion ?? 0), 0);
  const words = [`${rounds[0].effort} effort`];
  if (tokens) words.push(`${count(tokens)} ${tokens === 1 ? "token" : "tokens"}`);
  const timed = rounds.filter((round) => round.timings?.tokens_per_second && round.usage?.completion);
  const written = timed.reduce((sum, { usage }) => sum + usage.completion, 0);
  const speed = written / timed.reduce((sum, { usage, timings: each }) => sum + usage.completion / each.tokens_per_second, 0);
  if (speed) words.push(`${speed < 10 ? speed.toFixed(1) : count(Math.round(speed))} tokens/s`);
  if (timings?.ttft) words.push(`first token ${shortSeconds(timings.ttft)}`);
  return words.join(" · ");
}

/**
 * @param {import("./turns.js").Turn} turn
 * @param {{source: string, parts: any[], begun: boolean}} answer its Markdown, what it is made of, and whether there is
 *   any text
 * @param {any} on see Transcript
 * @returns {HTMLElement}
 */
export function replyFooter(turn, answer, on) {
  const { generation } = turn;
  const rounds = roundsOf(turn);
  const foot = el("footer", { class: "pg-foot", testid: "reply-footer" });
  const answered = answer.source.trim() !== "";
  const note = generation && ending(generation, answered, answer.begun);
  if (note) {
    foot.append(el("p", { class: note.error ? "pg-note pg-note-error" : "pg-note", testid: "reply-note", text: note.text }));
    if (note.offers.length) foot.append(offerRow(note.offers, generation, (offer, fields) => on.offer(turn, offer, fields)));
  }
  const row = el("div", { class: "pg-actions" });
  const versions = versionSwitch({
    ids: turn.replies,
    shown: rounds[0]?.id,
    of: "reply",
    pick: (id) => on.version(turn, "reply", { generation_id: id }),
  });
  if (versions) row.append(versions);
  if (answered) row.append(copyButton(() => answer.parts.map((part) => part.plain()).join("\n\n"), "Copy answer"));
  if (turn.question) row.append(regenerate(turn, on));
  foot.append(row);
  if (generation) {
    const { button, panel } = receipt(rounds, turn.replies);
    row.append(button, more(turn, answered ? answer.source : "", on));
    row.append(el("span", { class: "pg-figures", text: figures(rounds) }));
    foot.append(panel);
  } else if (answered) row.append(copyButton(() => answer.source, "Copy as Markdown", "Copy as Markdown"));
  return foot;
}

function regenerate(turn, on) {
  const button = el(
    "button",
    { class: "pg-quiet", type: "button", testid: "regenerate", "aria-haspopup": "menu", "aria-expanded": "false",
      title: "Regenerate" },
    icon("retry"),
    el("span", { text: "Regenerate" }),
  );
  const again = (fields) => on.regenerate(turn, fields);
  button.addEventListener("click", () =>
    openChoices(button, "Regenerate", [
      { entries: [{ label: "Again", hint: "as before", testid: "again", run: () => again(same(turn.generation)) }] },
      {
        name: "With effort",
        inline: true,
        entries: ["low", "medium", "high"].map((effort) => ({
          label: effort[0].toUpperCase() + effort.slice(1),
          testid: `again-${effort}`,
          run: () => again({ ...same(turn.generation), effort }),
        })),
      },
      {
        name: "With temperature",
        inline: true,
        entries: [0, 0.7, 1, 1.3].map((temperature) => ({
          label: temperature === 1 ? "1, recommended" : String(temperature),
          testid: `again-temperature-${temperature}`,
          run: () => again({ ...same(turn.generation), temperature }),
        })),
      },
      { entries: [{ label: "Change the model…", testid: "again-model", run: on.changeModel }] },
    ]),
  );
  return button;
}

/** What the reply was made with; the seed is drawn anew, or every version would be the same. */
function same(generation) {
  if (!generation) return {};
  const { effort, temperature, top_p } = generation;
  const found = Object.entries({ effort, temperature, top_p });
  return Object.fromEntries(found.filter(([, value]) => value !== null && value !== undefined));
}

function more(turn, source, on) {
  const button = el(
    "button",
    { class: "pg-quiet pg-more", type: "button", testid: "reply-more", "aria-haspopup": "menu", "aria-expanded": "false",
      "aria-label": "More about this reply", title: "More" },
    icon("more"),
  );
  const copyMarkdown = async () => on.toast((await copyText(source)) ? "Copied as Markdown." : "It could not be copied.");
  button.addEventListener("click", () =>
    openChoices(button, "More about this reply", [
      {
        entries: [
          ...(source ? [{ label: "Copy as Markdown", testid: "copy-markdown", run: copyMarkdown }] : []),
          { label: "Read raw", hint: "with harmony's markers", testid: "read-raw", run: () => on.raw(turn.generation) },
        ],
      },
    ]),
  );
  return button;
}
