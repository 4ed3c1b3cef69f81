/** Exactly what the model read and wrote, with harmony's markers made visible. */

import * as api from "./api.js";
import { createDialog } from "./dialog.js";
import { copyButton, el } from "./dom.js";

const MARKER = /<\|([a-z_]+)\|>/g;

/** @param {any} generation */
export async function showRaw(generation) {
  const { body } = createDialog({ title: "Raw text", testid: "raw-dialog", kind: "pg-raw" });
  const wait = el("p", { class: "pg-panel-note", role: "status", text: "Asking the server…" });
  body.append(wait);
  try {
    const { prompt, output } = await api.rawGeneration(generation.id);
    wait.replaceWith(part("What the model wrote", output, "raw-output"), part("What the model read", prompt, "raw-prompt"));
  } catch (error) {
    wait.textContent = error.message;
  }
}

function part(title, text, testid) {
  const head = el("div", { class: "pg-raw-head" }, el("h3", { text: title }), copyButton(() => text, `Copy: ${title}`));
  const code = el("pre", { class: "pg-raw-text", tabindex: "0", testid, "aria-label": title }, ...marked(text));
  return el("section", {}, head, code);
}

/** Text with its markers as small labels; a message begins on a line of its own. */
function marked(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(MARKER)) {
    if (found.index > end) nodes.push(document.createTextNode(text.slice(end, found.index)));
    if (found[1] === "start" && found.index > 0) nodes.push(el("br"));
    nodes.push(el("span", { class: "pg-marker", data: { marker: found[1] }, text: found[1] }));
    end = found.index + found[0].length;
  }
  if (end < text.length) nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}
