/** Server-sent events of one generation, with resume. */

import * as api from "./api.js";

const NAMES = ["queued", "started", "message", "delta", "message_end", "results", "calling", "snapshot", "finish"];
const PAUSES = [400, 1000, 2000, 4000, 8000];

/**
 * Follow a generation until its `finish`. The connection is made again after every loss, naming the last id seen.
 * @param {string} id the generation
 * @param {{event: (name: string, data: any) => void, connection: (ok: boolean) => void, gone: (message: string) => void}} to
 * @returns {() => void} stop following (the generation itself goes on)
 */
export function follow(id, to) {
  let source = null;
  let last = null;
  let failures = 0;
  let timer = 0;
  let over = false;

  function close() {
    over = true;
    clearTimeout(timer);
    source?.close();
    window.removeEventListener("online", now);
  }

  function receive(name, event) {
    if (over) return;
    if (event.lastEventId) {
      // A log that is read again after a lost connection must not be drawn twice.
      if (last !== null && name !== "snapshot" && Number(event.lastEventId) <= Number(last)) return;
      last = event.lastEventId;
    }
    const data = JSON.parse(event.data);
    if (name === "finish") close();
    to.event(name, data);
  }

  function open() {
    source?.close();
    source = new EventSource(api.eventsUrl(id, last));
    source.onopen = () => {
      failures = 0;
      to.connection(true);
    };
    source.onerror = lost;
    for (const name of NAMES) source.addEventListener(name, (event) => receive(name, event));
  }

  async function lost() {
    if (over) return;
    source.close();
    failures += 1;
    to.connection(false);
    // EventSource hides the status: ask once in a while whether the generation still exists.
    if (failures > 1) {
      const message = await missing();
      if (over) return;
      if (message) {
        close();
        to.connection(true);
        to.gone(message);
        return;
      }
    }
    clearTimeout(timer);
    timer = setTimeout(open, PAUSES[Math.min(failures, PAUSES.length) - 1]);
  }

  async function missing() {
    try {
      await api.generation(id);
      return null;
    } catch (error) {
      return error instanceof api.ApiError && [401, 403, 404].includes(error.status) ? error.message : null;
    }
  }

  function now() {
    if (over || source?.readyState === EventSource.OPEN) return;
    clearTimeout(timer);
    source?.close();
    open();
  }

  window.addEventListener("online", now);
  open();
  return close;
}
