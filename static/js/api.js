/** The page's HTTP API (docs/http-api.md) as functions. */

/** A refusal by the server, or no answer at all (`code` is then "network"). `message` is made for people. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   * @param {number} status
   * @param {number|null} [retryAfter] in how many seconds it is worth another try
   */
  constructor(message, code, status, retryAfter = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** @param {any} error @returns {boolean} whether the server ends or is not there yet, and is worth asking again */
export const isRestarting = (error) => error?.code === "restarting";

/** @type {Set<() => void>} */
const writers = new Set();

/** Call `run` whenever something was changed through this page. @param {() => void} run */
export function onWrite(run) {
  writers.add(run);
}

const FIRST = "/api/bootstrap";
/** Everything else waits until the server has said who one is. @type {Promise<void>} */
let admitted = Promise.resolve();
/** Set once the server does not know this person any more: then nothing is asked in vain. @type {ApiError|null} */
let closed = null;
/** @type {Set<(error: ApiError) => void>} */
const guards = new Set();

/** Finds out who one is now, and closes the page's calls if that is somebody else. @type {() => Promise<void>} */
let recognised = async () => {};
const MOMENT_MS = 500;

/** `run` is called when this browser's cookie was replaced while a request was on its way. @param {() => Promise<void>} run */
export function onChanged(run) {
  recognised = run;
}

/** @param {Promise<any>} answer the first one, or its failure */
export function waitFor(answer) {
  admitted = answer.then(() => {}, () => {});
}

/** Call `run` when a refusal is about who one is, and not about what was asked. @param {(error: ApiError) => void} run */
export function onClosed(run) {
  guards.add(run);
}

/** From now on every call fails with this, and none leaves the page. @param {ApiError} error */
export function close(error) {
  closed = error;
}

/** The person is known again. */
export function reopen() {
  closed = null;
}


/** `not_allowed` is also the answer to a wish that others may have granted; at the start it is about the person. */
function isAboutPerson(path, { status, code }) {
  return (status === 401 && code === "sign_in_required") || (status === 403 && (code === "banned" || path === FIRST));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object|Blob} [body]
 * @param {AbortSignal} [signal]
 * @param {boolean} [again] whether it was refused for its cookie before, and so did nothing
 * @returns {Promise<any>}
 */
async function request(method, path, body, signal, again = false) {
  if (path !== FIRST) {
    await admitted;
    if (closed) throw new ApiError(closed.message, closed.code, closed.status);
  }
  const headers = { Accept: "application/json" };
  const isFile = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = (isFile && body.type) || "application/json";
  let response;
  try {
    const payload = body === undefined || isFile ? body : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: payload, signal, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Please try again in a moment.", "network", 0);
  }
  if (response.ok && method !== "GET") writers.forEach((run) => run());
  if (response.status === 204) return null;
  const data = await response.json().catch(() => null);
  if (response.ok && data !== null) return data;
  const refusal = refused(response, data?.error);
  // What ends sessions, keys or everything was meant for whom the page has shown.
  const anyones = path !== FIRST && (method === "GET" || !path.startsWith("/api/account"));
  if (refusal.code === "identity_changed" && anyones && !again) {
    await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
    await recognised();
    return request(method, path, body, signal, true);
  }
  if (isAboutPerson(path, refusal)) guards.forEach((run) => run(refusal));
  throw refusal;
}

/** @param {Response} response @param {any} error what its body says @returns {ApiError} */
function refused(response, error) {
  const { status } = response;
  const seconds = Number(error?.retry_after ?? response.headers.get("Retry-After") ?? NaN);
  const after = Number.isFinite(seconds) ? seconds : null;
  if (error?.message) return new ApiError(error.message, error.code ?? "internal_error", status, after);
  // What stands before the playground answers while it starts, in words of its own.
  if ([502, 503, 504].includes(status)) return new ApiError("The playground is restarting. Try again in a moment.", "restarting", status, after);
  return new ApiError("The server gave an answer that this page does not understand.", "internal_error", status, after);
}

const at = (...parts) => parts.map(encodeURIComponent).join("/");

/** @param {Record<string, any>} fields @returns {string} the query of an address, without what is null */
function query(fields) {
  return new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined)).toString();
}

/** @returns {Promise<any>} me, sign_in, preferences, model, limits, suggestions, version */
export const bootstrap = () => request("GET", FIRST);

/** @returns {Promise<any>} account, sessions, keys, usage, scopes */
export const account = () => request("GET", "/api/account");

/** @returns {Promise<null>} */
export const signOut = () => request("POST", "/api/account/sign-out", {});

/** @param {string} id @returns {Promise<null>} */
export const endSession = (id) => request("DELETE", `/api/account/sessions/${at(id)}`);

/** Everywhere, here too. @returns {Promise<any>} ended */
export const endSessions = () => request("DELETE", "/api/account/sessions");

/** @param {string} name @param {string[]} scopes @returns {Promise<any>} key, secret */
export const createKey = (name, scopes) => request("POST", "/api/account/keys", { name, scopes });

/** @param {string} id @returns {Promise<null>} */
export const revokeKey = (id) => request("DELETE", `/api/account/keys/${at(id)}`);

/** Everything that one has here, for good. @param {string} confirm the word that was typed @returns {Promise<null>} */
export const deleteAccount = (confirm) => request("DELETE", "/api/account", { confirm });

/** @returns {Promise<any>} totals, health, limits */
export const adminOverview = () => request("GET", "/api/admin/overview");

/** @param {"accounts"|"guests"|"banned"} kind @param {string|null} after @param {number} [limit] @returns {Promise<any>} users, next, counts */
export const adminUsers = (kind, after, limit = 50) => request("GET", `/api/admin/users?${query({ kind, after, limit })}`);

/** @param {string} id @param {boolean} banned @returns {Promise<any>} user */
export const setBan = (id, banned) =>
  banned ? request("POST", `/api/admin/users/${at(id)}/ban`, {}) : request("DELETE", `/api/admin/users/${at(id)}/ban`);

/** @param {string} id @param {"member"|"admin"} role @returns {Promise<any>} user */
export const setRole = (id, role) => request("POST", `/api/admin/users/${at(id)}/role`, { role });

/** @returns {Promise<any>} active, target, running, waiting */
export const model = () => request("GET", "/api/model");

/** @returns {Promise<any>} items, may_choose, why_not */
export const models = () => request("GET", "/api/models");

/** @param {string} name @param {boolean} evenIfTooLarge @returns {Promise<any>} */
export const chooseModel = (name, evenIfTooLarge) =>
  request("POST", "/api/model", { name, even_if_too_large: evenIfTooLarge });

/** @returns {Promise<any>} the engine's figures */
export const status = () => request("GET", "/api/status");

/**
 * @param {string|null} cursor
 * @param {{limit?: number, archived?: boolean}} [which]
 * @returns {Promise<any>} items, next_cursor
 */
export const conversations = (cursor, { limit = 30, archived = false } = {}) =>
  request("GET", `/api/conversations?${query({ limit, archived, cursor })}`);

/** @param {number|null} after @returns {Promise<any>} sequence, items, removed, complete */
export const changes = (after) => request("GET", `/api/changes?${query({ after })}`);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<any>} conversation, messages, generations, totals, context */
export const conversation = (id, signal) => request("GET", `/api/conversations/${at(id)}`, undefined, signal);

/**
 * Show the branch that has a message or a reply.
 * @param {string} id @param {{message_id?: string, generation_id?: string}} which
 * @returns {Promise<any>} as `conversation`
 */
export const selectBranch = (id, which) => request("POST", `/api/conversations/${at(id)}/select`, which);

/** @param {string} id @param {{title?: string, pinned?: boolean, archived?: boolean, settings?: object}} change @returns {Promise<any>} */
export const changeConversation = (id, change) => request("PATCH", `/api/conversations/${at(id)}`, change);

/** @param {string} id @returns {Promise<null>} */
export const deleteConversation = (id) => request("DELETE", `/api/conversations/${at(id)}`);

/** Undo a delete. @param {string} id @returns {Promise<any>} conversation */
export const restoreConversation = (id) => request("POST", `/api/conversations/${at(id)}/restore`, {});

/** @param {object} turn @returns {Promise<any>} conversation, user_message, generation */
export const startTurn = (turn) => request("POST", "/api/turns", turn);

/** What the operator offers to be called. @returns {Promise<any>} items */
export const functions = () => request("GET", "/api/functions");

/** @param {string} id @returns {Promise<any>} generation, messages */
export const generation = (id) => request("GET", `/api/generations/${at(id)}`);

/** @param {string} id @returns {Promise<any>} */
export const cancel = (id) => request("POST", `/api/generations/${at(id)}/cancel`, {});

/** @param {string} id @returns {Promise<any>} prompt, output: exact text with harmony's markers */
export const rawGeneration = (id) => request("GET", `/api/generations/${at(id)}/raw`);

/** @param {{q: string, kinds: string, cursor?: string|null, limit?: number}} what @param {AbortSignal} [signal] @returns {Promise<any>} items, next_cursor */
export const search = (what, signal) => request("GET", `/api/search?${query(what)}`, undefined, signal);

/** @returns {Promise<any>} items */
export const presets = () => request("GET", "/api/presets");

/** @param {string} name @param {object} settings @returns {Promise<any>} preset */
export const createPreset = (name, settings) => request("POST", "/api/presets", { name, settings });

/** @param {string} id @param {{name?: string, settings?: object}} change @returns {Promise<any>} preset */
export const changePreset = (id, change) => request("PATCH", `/api/presets/${at(id)}`, change);

/** @param {string} id @returns {Promise<null>} */
export const deletePreset = (id) => request("DELETE", `/api/presets/${at(id)}`);

/** @param {string|null} [conversationId] @returns {Promise<any>} items */
export const shares = (conversationId = null) =>
  request("GET", `/api/shares?${query({ conversation_id: conversationId })}`);

/** @param {string} conversationId @param {boolean} includeReasoning @returns {Promise<any>} share */
export const createShare = (conversationId, includeReasoning) =>
  request("POST", "/api/shares", { conversation_id: conversationId, include_reasoning: includeReasoning });

/** @param {string} id @returns {Promise<null>} */
export const deleteShare = (id) => request("DELETE", `/api/shares/${at(id)}`);

/** @param {string} token @returns {Promise<any>} title, created_at, include_reasoning, model, messages, generations */
export const shared = (token) => request("GET", `/api/shared/${at(token)}`);

/** @param {string} token @returns {Promise<any>} conversation */
export const importShared = (token) => request("POST", `/api/shared/${at(token)}/import`, {});

/** @param {string|null} id one conversation, or all @param {string} format @param {boolean} reasoning @returns {string} an address */
export const exportUrl = (id, format, reasoning) =>
  `${id === null ? "/api/export" : `/api/conversations/${at(id)}/export`}?${query({ format, reasoning })}`;

/**
 * Fetch a file that the server makes, so that a refusal can be told.
 * @param {string} url
 * @returns {Promise<{file: Blob, name: string}>}
 */
export async function download(url) {
  const response = await fetch(url, { credentials: "same-origin" }).catch(() => {
    throw new ApiError("The server cannot be reached. Please try again in a moment.", "network", 0);
  });
  if (!response.ok) {
    const error = (await response.json().catch(() => null))?.error;
    throw refused(response, error ?? { message: "The file could not be made." });
  }
  const given = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(given)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : (/filename="?([^";]+)"?/i.exec(given)?.[1] ?? "conversation");
  return { file: await response.blob(), name };
}

/** @param {File} file @returns {Promise<any>} conversations, report */
export const importFile = (file) => request("POST", "/api/import", file);

/** @param {object} change @returns {Promise<any>} */
export const changePreferences = (change) => request("PATCH", "/api/preferences", change);

/**
 * @param {string} id
 * @param {string|null} lastId
 * @returns {string} the address of a generation's events
 */
export function eventsUrl(id, lastId) {
  return `/api/generations/${at(id)}/events${lastId ? `?last_event_id=${encodeURIComponent(lastId)}` : ""}`;
}
