/** Beside the composer: which functions the model may call, and that the answer comes as JSON. A click opens the settings. */

import { byId, el, icon } from "./dom.js";
import { openSettings } from "./settings.js";
import { offered } from "./settings_operator.js";
import { answerSchema, effective, functionCount, functionNames } from "./values.js";

/** @param {import("./state.js").Store<any>} store */
export function bindChips(store) {
  const box = byId("pg-chips");
  const functions = chip("tool", "functions", "chip-functions");
  const schema = chip("braces", "response_schema", "chip-schema");
  schema.words.textContent = "JSON";
  schema.button.setAttribute("aria-label", "Answers come as JSON. Settings");
  schema.button.title = "Answers come as JSON";
  box.append(functions.button, schema.button);
  /** The names of what the operator offers, once that is known. @type {string[]|null} */
  let known = null;
  const draw = (state) => {
    const wanted = effective(state, "operator_functions");
    const names = functionNames({
      functions: effective(state, "functions"),
      operator_functions: wanted.filter((name) => !known || known.includes(name)),
    });
    const words = functionCount(names.length);
    functions.button.hidden = !names.length;
    functions.words.textContent = words;
    functions.button.setAttribute("aria-label", `${words} on: ${names.join(", ")}. Settings`);
    functions.button.title = names.join(", ");
    schema.button.hidden = !answerSchema(state);
    box.hidden = functions.button.hidden && schema.button.hidden;
    if (wanted.length && !known && state.ready) learn();
  };
  const learn = async () => {
    try {
      known = (await offered()).map((each) => each.name);
      draw(store.get());
    } catch {
      // Then all that are switched on count, until the next change.
    }
  };
  store.on(["settings", "preferences", "ready"], draw);
}

function chip(picture, field, testid) {
  const words = el("span");
  const button = el("button", { class: "pg-on-chip", type: "button", testid, "aria-haspopup": "dialog", hidden: true }, icon(picture), words);
  button.addEventListener("click", () => openSettings("conversation", field));
  return { button, words };
}
