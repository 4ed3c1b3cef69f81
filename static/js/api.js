/** The page's HTTP API (docs/http-api.md) as functions. */

/** A refusal by the server, or no answer at all (`code` is then "network"). `message` is made for people. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   * @param {number} status
   */
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function request(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: payload, signal, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Please try again in a moment.", "network", 0);
  }
  if (response.status === 204) return null;
  const data = await response.json().catch(() => null);
  if (response.ok && data !== null) return data;
  const error = data?.error;
  const message = error?.message ?? "The server gave an answer that this page does not understand.";
  throw new ApiError(message, error?.code ?? "internal_error", response.status);
}

const at = (...parts) => parts.map(encodeURIComponent).join("/");

/** @returns {Promise<any>} preferences, model, limits, suggestions, version */
export const bootstrap = () => request("GET", "/api/bootstrap");

/** @returns {Promise<any>} active, target, running, waiting */
export const model = () => request("GET", "/api/model");

/** @returns {Promise<any>} items, may_choose, why_not */
export const models = () => request("GET", "/api/models");

/** @param {string} name @param {boolean} evenIfTooLarge @returns {Promise<any>} */
export const chooseModel = (name, evenIfTooLarge) =>
  request("POST", "/api/model", { name, even_if_too_large: evenIfTooLarge });

/** @returns {Promise<any>} the engine's figures */
export const status = () => request("GET", "/api/status");

/** @param {string|null} cursor @returns {Promise<any>} items, next_cursor */
export const conversations = (cursor) =>
  request("GET", `/api/conversations?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<any>} conversation, messages, generations */
export const conversation = (id, signal) => request("GET", `/api/conversations/${at(id)}`, undefined, signal);

/** @param {string} id @param {{title?: string}} change @returns {Promise<any>} */
export const changeConversation = (id, change) => request("PATCH", `/api/conversations/${at(id)}`, change);

/** @param {string} id @returns {Promise<null>} */
export const deleteConversation = (id) => request("DELETE", `/api/conversations/${at(id)}`);

/** @param {object} turn @returns {Promise<any>} conversation, user_message, generation */
export const startTurn = (turn) => request("POST", "/api/turns", turn);

/** @param {string} id @returns {Promise<any>} generation, messages */
export const generation = (id) => request("GET", `/api/generations/${at(id)}`);

/** @param {string} id @returns {Promise<any>} */
export const cancel = (id) => request("POST", `/api/generations/${at(id)}/cancel`, {});

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
