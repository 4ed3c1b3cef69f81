/** Settings of a conversation: what they are, and which of the three levels a value comes from. */

/** What gpt-oss's makers recommend; null leaves it to the model or the server. */
export const RECOMMENDED = Object.freeze({
  instructions: null,
  model_identity: null,
  effort: "medium",
  temperature: 1,
  top_p: 1,
  max_tokens: null,
  seed: null,
  show_reasoning: false,
  when_full: "ask",
  functions: [],
  operator_functions: [],
  response_schema: null,
});

/** @typedef {keyof typeof RECOMMENDED} Field */

export const FIELDS = /** @type {Field[]} */ (Object.keys(RECOMMENDED));

/** Nothing is set. @returns {Record<Field, null>} */
export const nothing = () => /** @type {any} */ (Object.fromEntries(FIELDS.map((field) => [field, null])));

/** Whether two values of a setting are the same; lists and schemas by what they say. */
export const alike = (one, other) => one === other || JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

const isSet = (value) => value !== null && value !== undefined;

/** The user's own defaults: two of them are preferences of their own. */
export function defaultsOf({ preferences }) {
  return { ...preferences.settings, effort: preferences.effort, show_reasoning: preferences.show_reasoning };
}

/**
 * The value that a turn would have now.
 * @param {any} state the store's
 * @param {Field} field
 * @returns {{value: any, from: "conversation"|"user"|"recommended"}}
 */
export function resolve(state, field) {
  const own = state.settings?.[field];
  return isSet(own) ? { value: own, from: "conversation" } : inherited(state, field);
}

/** @param {any} state @param {Field} field what a conversation has that sets nothing itself */
export function inherited(state, field) {
  const value = defaultsOf(state)[field];
  if (isSet(value) && !alike(value, RECOMMENDED[field])) return { value, from: /** @type {const} */ ("user") };
  return { value: RECOMMENDED[field], from: /** @type {const} */ ("recommended") };
}

/** @param {any} state @param {Field} field @returns {any} */
export const effective = (state, field) => resolve(state, field).value;

/** Answers are text, even where another level has a schema. */
export const AS_TEXT = "text";

/** @param {any} state @returns {any} the schema that answers are kept to, or null */
export function answerSchema(state) {
  const wanted = effective(state, "response_schema");
  return wanted === AS_TEXT ? null : wanted;
}

/**
 * The change that gives a conversation the recommended values, whatever the user's defaults are.
 * @param {any} state
 */
export function recommendedFor(state) {
  const change = nothing();
  for (const field of FIELDS) {
    if (isSet(RECOMMENDED[field]) && !alike(inherited(state, field).value, RECOMMENDED[field])) change[field] = RECOMMENDED[field];
  }
  if (![null, AS_TEXT].includes(inherited(state, "response_schema").value)) change.response_schema = AS_TEXT;
  return change;
}

/** @param {Partial<Record<Field, any>>} settings @returns {string[]} the names of the functions that are on */
export function functionNames({ functions, operator_functions: operator }) {
  return [...new Set([...(functions ?? []).map((each) => each.name), ...(operator ?? [])])];
}

/** @param {number} number @returns {string} "1 function" */
export const functionCount = (number) => `${number} function${number === 1 ? "" : "s"}`;

/**
 * A set of settings in a few words, for lists.
 * @param {Partial<Record<Field, any>>} settings
 * @returns {string} "high effort · temperature 0.7 · instructions"
 */
export function summary(settings) {
  const words = [
    isSet(settings.effort) && `${settings.effort} effort`,
    isSet(settings.temperature) && `temperature ${settings.temperature}`,
    isSet(settings.top_p) && `top p ${settings.top_p}`,
    isSet(settings.max_tokens) && `${settings.max_tokens} tokens`,
    isSet(settings.seed) && `seed ${settings.seed}`,
    settings.instructions && "instructions",
    settings.model_identity && "identity",
    isSet(settings.show_reasoning) && (settings.show_reasoning ? "reasoning shown" : "reasoning hidden"),
    settings.when_full === "drop_oldest" && "oldest turns left out when full",
    functionNames(settings).length > 0 && functionCount(functionNames(settings).length),
    settings.response_schema && (settings.response_schema === AS_TEXT ? "answers as text" : "answers as JSON"),
  ];
  return words.filter(Boolean).join(" · ") || "Nothing set";
}
