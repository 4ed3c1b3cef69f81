/** The sheet in which a function is written down: its name, what it is for, and the schema of its arguments. */

import { createDialog } from "./dialog.js";
import { el } from "./dom.js";
import { written } from "./json.js";
import { JsonBox } from "./json_box.js";
import { Unusable } from "./settings_fields.js";

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const EXAMPLE = {
  type: "object",
  properties: {
    city: { type: "string", description: "Name of the city" },
    unit: { type: "string", enum: ["celsius", "fahrenheit"] },
  },
  required: ["city"],
};

/** @typedef {{name: string, description: string, parameters: object|null, strict: boolean}} Fn */
/** @typedef {{name: string, description: string, parameters: string, strict: boolean}} Draft as it was typed */

/** @param {Fn} fn @returns {Draft} */
const draftOf = (fn) => ({ ...fn, parameters: fn.parameters ? written(fn.parameters) : "" });

/**
 * @param {{fn: Fn|null, draft?: Draft|null, taken: string[], save: (fn: Fn) => Promise<Error|null>,
 *   left: (draft: Draft|null) => void}} options `fn` is null for a new one, `draft` what was typed before and not kept,
 *   `taken` the names of the others; `left` gets what was typed and not saved
 */
export function editFunction({ fn, draft = null, taken, save, left }) {
  let saved = false;
  const { body, close } = createDialog({
    title: fn ? "Edit function" : "Add a function",
    testid: "function-dialog",
    kind: "pg-function-sheet",
    closed: () => left(saved || same(sheet.draft(), before) ? null : sheet.draft()),
  });
  const before = fn ? draftOf(fn) : { name: "", description: "", parameters: "", strict: false };
  const sheet = fields(draft ?? before);
  const problem = el("p", { class: "pg-problem", role: "alert", testid: "function-problem" });
  const cancel = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "function-cancel", text: "Cancel" });
  const done = el("button", { class: "pg-button", type: "submit", testid: "function-save", text: fn ? "Save" : "Add" });
  const form = el("form", { class: "pg-fields", novalidate: true }, ...sheet.nodes, problem, el("div", { class: "pg-sheet-row pg-function-row" }, cancel, done));
  cancel.addEventListener("click", close);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    const value = sheet.value(taken);
    if (!value || done.getAttribute("aria-disabled") === "true") return;
    done.setAttribute("aria-disabled", "true");
    const error = await save(value);
    done.removeAttribute("aria-disabled");
    if (error) {
      problem.textContent = `Not saved. ${error.message}`;
      return;
    }
    saved = true;
    close();
  });
  body.append(form);
  sheet.first.focus();
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** @param {Draft} draft */
function fields(draft) {
  const name = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-input-name", id: "pg-function-name", maxlength: "64", placeholder: "get_weather", autocomplete: "off", autocapitalize: "off", spellcheck: "false", testid: "function-name", "aria-describedby": "pg-function-name-problem" })
  );
  const about = /** @type {HTMLTextAreaElement} */ (
    el("textarea", { class: "pg-input pg-input-low", id: "pg-function-about", rows: "2", maxlength: "2000", placeholder: "The weather in a city now", testid: "function-description" })
  );
  const box = new JsonBox({
    label: "Parameters",
    testid: "function-parameters",
    rows: 11,
    example: EXAMPLE,
    placeholder: "Empty: the function takes no arguments",
    check: (value) => (value?.type === "object" ? "" : 'The parameters are a JSON schema with "type": "object".'),
  });
  const strict = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", testid: "function-strict" }));
  const wrong = el("p", { class: "pg-problem", id: "pg-function-name-problem", role: "alert", testid: "function-name-problem" });
  name.value = draft.name;
  about.value = draft.description;
  box.input.value = draft.parameters;
  strict.checked = draft.strict;
  box.draw();
  name.addEventListener("input", () => (wrong.textContent = ""));
  const head = (text, id, tools) => el("div", { class: "pg-field-head" }, el(id ? "label" : "span", { class: "pg-field-name", for: id, text }), tools);
  const help = (text) => el("p", { class: "pg-field-help", text });
  return {
    first: name,
    nodes: [
      el("div", { class: "pg-field" }, head("Name", "pg-function-name"), name, wrong),
      el("div", { class: "pg-field" }, head("Description", "pg-function-about"), about, help("The model reads it to decide when to call the function.")),
      el("div", { class: "pg-field" }, head("Parameters", null, box.tools), box.input, box.problem, help("A JSON schema of the arguments.")),
      el("label", { class: "pg-check pg-function-strict" }, strict, "Hold the model to the schema when it writes the arguments"),
    ],
    draft: () => ({ name: name.value, description: about.value, parameters: box.input.value, strict: strict.checked }),
    value: (taken) => read({ name, about, box, strict, wrong }, taken),
  };
}

/** @returns {Fn|null} null where something is wrong; the focus is there then */
function read({ name, about, box, strict, wrong }, taken) {
  wrong.textContent = mistake(name.value.trim(), taken);
  if (wrong.textContent) {
    name.focus();
    return null;
  }
  try {
    return { name: name.value.trim(), description: about.value.trim(), parameters: box.get(), strict: strict.checked };
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    box.look();
    box.input.focus();
    return null;
  }
}

function mistake(name, taken) {
  if (!name) return "Give the function a name first.";
  if (!NAME.test(name)) return "A name has letters, digits, _ and -, and no spaces.";
  return taken.includes(name) ? "There is a function of this name already." : "";
}
