/** Export to a file, and import from one. */

import * as api from "./api.js";
import { createDialog } from "./dialog.js";
import { el, icon } from "./dom.js";
import { bytes, count } from "./format.js";
import { optionCard } from "./share.js";

const FORMATS = [
  ["markdown", "Markdown", "To read and to edit anywhere: what is shown, as text."],
  ["json", "JSON", "Everything, with all branches; can be imported again without a loss."],
  ["html", "Web page", "One file that opens in any browser, without a network."],
];
const LARGEST = 50_000_000;
const KINDS = "This playground's JSON, ChatGPT's export (the zip or its conversations.json), and ShareGPT or OpenAI-messages JSON.";

/** @param {{id: string, title: string}} conversation */
export function openExport(conversation) {
  const { body, close } = createDialog({ title: "Export this conversation", testid: "export-dialog", kind: "pg-sheet-small" });
  body.append(exportForm(conversation.id, close));
}

/**
 * Format, reasoning and a button.
 * @param {string|null} id one conversation, or all
 * @param {() => void} [done]
 * @returns {HTMLElement}
 */
export function exportForm(id, done) {
  const formats = el("fieldset", { class: "pg-options" }, el("legend", { class: "pg-vh", text: "Format" }));
  for (const [value, name, line] of FORMATS) {
    const radio = /** @type {HTMLInputElement} */ (
      el("input", { type: "radio", name: `pg-format-${id ?? "all"}`, value, testid: `export-${value}` })
    );
    radio.checked = value === (id === null ? "json" : "markdown");
    formats.append(optionCard(radio, name, id === null && value !== "json" ? `${line} A zip with one file each.` : line));
  }
  const reasoning = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", testid: "export-reasoning" }));
  reasoning.checked = true;
  const check = el("label", { class: "pg-check" }, reasoning, el("span", { text: "Include the reasoning" }));
  const go = el("button", { class: "pg-button", type: "submit", testid: "export-download" }, icon("download"), "Download");
  const problem = el("p", { class: "pg-problem", role: "alert" });
  const form = el("form", { class: "pg-export" }, formats, check, el("div", { class: "pg-sheet-row" }, go), problem);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const format = /** @type {HTMLInputElement} */ (formats.querySelector("input:checked")).value;
    go.disabled = true;
    problem.textContent = "";
    try {
      save(await api.download(api.exportUrl(id, format, reasoning.checked)));
      done?.();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      go.disabled = false;
    }
  });
  return form;
}

function save({ file, name }) {
  const link = /** @type {HTMLAnchorElement} */ (el("a", { href: URL.createObjectURL(file), download: name }));
  link.click();
  // The browser reads the file after this function has returned.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * A button and a place to drop a file on, and what became of it.
 * @param {{taken: (conversations: any[]) => void, show: (conversation: any) => void}} on `taken`: they are in the list
 *   now; `show`: the user wants to see one
 * @returns {HTMLElement}
 */
export function importForm({ taken, show }) {
  const input = /** @type {HTMLInputElement} */ (
    el("input", { type: "file", class: "pg-vh", accept: ".json,.zip,application/json,application/zip", tabindex: "-1", "aria-label": "File to import", testid: "import-file" })
  );
  const choose = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "import-choose" }, icon("upload"), "Choose a file");
  const drop = el("div", { class: "pg-drop", testid: "import-drop" }, choose, el("small", { text: "or drop it here, up to 50 MB" }), input);
  const result = el("div", { class: "pg-import-result", role: "status", testid: "import-result" });
  const run = async (file) => {
    input.value = "";
    if (choose.disabled) return;
    choose.disabled = true;
    result.replaceChildren(waiting(file));
    try {
      if (file.size > LARGEST) throw new Error(`The file has ${bytes(file.size)}; 50 MB are the most that can be imported.`);
      const { conversations, report } = await api.importFile(typed(file));
      result.replaceChildren(...reported(conversations, report, show));
      taken(conversations);
    } catch (error) {
      result.replaceChildren(el("p", { class: "pg-problem", testid: "import-problem", text: `Nothing was imported. ${error.message}` }));
    } finally {
      choose.disabled = false;
    }
  };
  choose.addEventListener("click", () => input.click());
  input.addEventListener("change", () => input.files?.[0] && run(input.files[0]));
  droppable(drop, run);
  return el("div", { class: "pg-import" }, el("p", { class: "pg-sheet-lead", text: KINDS }), drop, result);
}

/** Systems disagree on the type of a zip, and some know none for JSON. */
function typed(file) {
  const zip = /\.zip$/i.test(file.name) || /zip/.test(file.type);
  return new File([file], file.name, { type: zip ? "application/zip" : "application/json" });
}

function droppable(node, run) {
  const mark = (on) => node.toggleAttribute("data-pg-over", on);
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  node.addEventListener("dragleave", () => mark(false));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    const file = event.dataTransfer?.files?.[0];
    if (file) run(file);
  });
}

function waiting(file) {
  const bar = el("div", { class: "pg-bar", role: "progressbar", "aria-label": "Progress of the import", data: { pgBusy: "" } }, el("div"));
  return el("div", {}, el("p", { class: "pg-sheet-note", text: `Reading ${file.name} (${bytes(file.size)})…` }), bar);
}

function reported(conversations, report, show) {
  const number = conversations.length;
  const head = number === 1 ? "One conversation was imported." : `${count(number)} conversations were imported.`;
  const open = el("button", { class: "pg-button", type: "button", testid: "import-open", text: number === 1 ? "Open it" : "Open the first" });
  open.addEventListener("click", () => show(conversations[0]));
  const rows = report.map(({ title, taken, left_out: missing }) => {
    const words = el("div", { class: "pg-row-words" }, el("span", { class: "pg-row-name", text: title || "Untitled" }));
    words.append(el("small", { text: `${count(taken)} ${taken === 1 ? "message" : "messages"} taken` }));
    for (const sentence of missing) words.append(el("small", { class: "pg-left-out", text: sentence }));
    return el("li", { class: "pg-row", testid: "import-report" }, words);
  });
  const first = el("p", { class: "pg-import-head" }, head);
  return [first, el("ul", { class: "pg-rows", "aria-label": "Report of the import" }, ...rows), number ? el("div", { class: "pg-sheet-row" }, open) : ""];
}
