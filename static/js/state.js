/** One small observable store; views subscribe to the keys that they draw. */

/**
 * @template {object} T
 * @typedef {{get: () => Readonly<T>, set: (patch: Partial<T>) => void,
 *   on: (keys: (keyof T)[], run: (state: Readonly<T>) => void) => () => void}} Store
 */

/**
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let state = Object.freeze({ ...initial });
  const watchers = new Set();

  function set(patch) {
    const changed = Object.keys(patch).filter((key) => !Object.is(state[key], patch[key]));
    if (!changed.length) return;
    state = Object.freeze({ ...state, ...patch });
    for (const watcher of [...watchers]) {
      if (watcher.keys.some((key) => changed.includes(key))) watcher.run(state);
    }
  }

  function on(keys, run) {
    const watcher = { keys, run };
    watchers.add(watcher);
    run(state);
    return () => watchers.delete(watcher);
  }

  return { get: () => state, set, on };
}

/** What the page knows before the server has told it anything. */
export const INITIAL = {
  ready: false,
  /** why the server does not answer yet, in its own words */ refusal: "",
  /** who one is here: kind, id, handle, display_name, role, initials */ me: { kind: "guest", id: null, role: "member" },
  /** available, required, reason, url, provider, note, more_tokens (than a guest has in a day) */ signIn: { available: false, required: false },
  /** @type {string|null} why this page cannot go on: its person has signed out, or was banned */ away: null,
  preferences: { effort: "medium", show_reasoning: false, theme: "system", settings: {} },
  model: { active: null, target: null, running: 0, waiting: 0 },
  limits: {},
  suggestions: [],
  /** @type {string|null} */ conversationId: null,
  title: "",
  /** the open conversation's own settings (ChatSettings); of the next one while none is open */ settings: {},
  /** @type {{used: number, limit: number|null}|null} tokens of the open conversation's next prompt */ context: null,
  /** @type {any} turns, tokens and seconds of the open conversation */ totals: null,
  /** whether the next new conversation is kept nowhere */ temporary: false,
  /** @type {"empty"|"loading"|"open"|"missing"|"error"} */ view: "empty",
  /** @type {string|null} the generation that is being followed */ running: null,
  sending: false,
  /** @type {"ok"|"reconnecting"|"restarting"|"offline"} */ connection: "ok",
};
