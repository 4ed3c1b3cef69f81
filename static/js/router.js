/** Addresses of the page: `/` for a new conversation, `/c/<id>` for a saved one. */

const PATTERN = /^\/c\/([^/]+)\/?$/;

/** @param {string} [path] @returns {string|null} the conversation that an address names */
export function idOf(path = location.pathname) {
  const match = PATTERN.exec(path);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}

/** @param {string|null} id @returns {string} */
export function pathOf(id) {
  return id === null ? "/" : `/c/${encodeURIComponent(id)}`;
}

/**
 * Change the address without loading a page.
 * @param {string|null} id
 */
export function push(id) {
  if (location.pathname !== pathOf(id)) history.pushState(null, "", pathOf(id));
}

/**
 * Call `run` with the conversation's id whenever the user goes back or forward.
 * @param {(id: string|null) => void} run
 */
export function onNavigate(run) {
  window.addEventListener("popstate", () => run(idOf()));
}

/**
 * Let plain clicks on a link stay inside the page; new tabs keep working.
 * @param {MouseEvent} event
 * @returns {boolean}
 */
export function isPlainClick(event) {
  return event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
}
