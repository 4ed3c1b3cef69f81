/** The schema that answers are kept to, as a field of the settings. */

import { el } from "./dom.js";
import { written } from "./json.js";
import { JsonBox } from "./json_box.js";
import { Unusable } from "./settings_fields.js";
import { AS_TEXT } from "./values.js";

const DRAFT = "pg-draft:schema:";
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** What a schema of null says. */
const ANY = { type: "object" };
const EXAMPLE = {
  type: "object",
  properties: {
    answer: { type: "string" },
    confidence: { type: "string", enum: ["low", "medium", "high"] },
  },
  required: ["answer", "confidence"],
  additionalProperties: false,
};

/** @param {{testid: string, key: string}} options `key` names the level @returns {import("./settings_fields.js").Maker} */
export const schemaBox = ({ testid, key }) => (change) => {
  const draft = DRAFT + key;
  const name = /** @type {HTMLInputElement} */ (
    el("input", { class: "pg-input pg-input-name", maxlength: "64", placeholder: "Name (optional)", "aria-label": "Name of the schema (optional)", autocomplete: "off", autocapitalize: "off", spellcheck: "false", testid: `${testid}-name` })
  );
  const box = new JsonBox({
    label: "JSON schema of the answer",
    testid,
    rows: 8,
    example: EXAMPLE,
    placeholder: "Empty: answers are text",
    changed: () => {
      keep(draft, box.input.value);
      change();
    },
  });
  const plain = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", testid: `${testid}-plain` }));
  const choice = el("label", { class: "pg-check" }, plain, el("span", { text: "Answer as text here" }));
  const fields = el("div", { class: "pg-schema-own" }, box.input, box.problem, box.tools, name);
  let description = "";
  let begun = false;
  name.addEventListener("input", change);
  /** What stood here before the answers were to be text: it comes back with them. */
  let aside = { text: "", name: "" };
  plain.addEventListener("change", () => {
    fields.hidden = plain.checked;
    if (plain.checked) aside = { text: box.input.value, name: name.value };
    else {
      [box.input.value, name.value] = [aside.text, aside.name];
      box.look();
      box.draw();
    }
    change();
  });
  return {
    node: el("div", { class: "pg-schema-field", role: "group", "aria-label": "Answer as JSON" }, fields, choice),
    label: null,
    quick: false,
    get: () => {
      if (plain.checked) return AS_TEXT;
      let schema;
      try {
        schema = box.get();
      } catch (error) {
        // The box says itself what is wrong.
        if (error instanceof Unusable) throw new Unusable("");
        throw error;
      }
      if (!schema) return null;
      const called = name.value.trim();
      if (called && !NAME.test(called)) throw new Unusable("A name has letters, digits, _ and -, and no spaces.");
      return { name: called || "answer", description, schema };
    },
    set: (wanted, above) => {
      const [value, inherited] = [wanted, above].map((each) => (each === AS_TEXT ? null : each));
      plain.checked = wanted === AS_TEXT;
      choice.hidden = !inherited && !plain.checked;
      fields.hidden = plain.checked;
      const typed = begun ? "" : recalled(draft);
      begun = true;
      description = value?.description ?? "";
      name.value = value && value.name !== "answer" ? value.name : "";
      box.set(value ? (value.schema ?? ANY) : null);
      box.input.placeholder = inherited ? written(inherited.schema ?? ANY).slice(0, 2000) : "Empty: answers are text";
      // What was broken when the form was closed was never saved: it stands there again.
      if (typed) {
        box.input.value = typed;
        box.look();
        box.draw();
        change();
      } else if (box.mistake() === "") keep(draft, "");
    },
  };
};

/** Only what cannot be saved is kept here; what can is saved. */
function keep(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    // Storage may be full or forbidden.
  }
}

function recalled(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}
