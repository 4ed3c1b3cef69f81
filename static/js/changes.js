/**
 * What changed elsewhere: asked of the server every few seconds while somebody looks, and at once when the page is looked
 * at again, when the connection is back, and when another tab of this browser wrote something.
 */

import * as api from "./api.js";

const EVERY_MS = 5000;
const SLOWEST_MS = 60_000;
const CHANNEL = "pg-changes";

export class ChangeFeed {
  /**
   * @param {import("./state.js").Store<any>} store
   * @param {{changed: (items: any[], removed: string[]) => void, reload: () => Promise<void>|void, recovered: () => void}} on
   *   `reload`: too much changed; `recovered`: the server answers again after it did not
   */
  constructor(store, on) {
    this.store = store;
    this.on = on;
    /** @type {number|null} the newest change that is known */
    this.sequence = null;
    this.failures = 0;
    this.timer = 0;
    this.asking = false;
    this.again = false;
    this.channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
    this.channel?.addEventListener("message", () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
    for (const name of ["focus", "online", "pageshow"]) window.addEventListener(name, () => this.look());
  }

  /** Something was written here: other tabs may look. */
  tell() {
    this.channel?.postMessage("changed");
    this.look();
  }

  /** Ask now, or as soon as the question that is on its way was answered. */
  async look() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      do {
        this.again = false;
        await this.ask();
      } while (this.again && !this.failures);
    } finally {
      this.asking = false;
    }
    clearTimeout(this.timer);
    const pause = Math.min(SLOWEST_MS, EVERY_MS * 2 ** this.failures);
    this.timer = setTimeout(() => this.look(), pause);
  }

  async ask() {
    const after = this.sequence;
    try {
      const { sequence, items, removed, complete } = await api.changes(after);
      // Without a beginning nobody knows what changed since the list was read.
      const late = after === null && this.failures > 0;
      if (!complete || late) await this.on.reload();
      else if (items.length || removed.length) this.on.changed(items, removed);
      this.sequence = sequence;
    } catch (error) {
      this.failed(error);
      return;
    }
    if (this.failures) this.back();
  }

  failed(error) {
    this.failures = Math.min(this.failures + 1, 8);
    if (!(error instanceof api.ApiError)) throw error;
    if (api.isRestarting(error)) this.store.set({ connection: "restarting" });
    if (error.status === 0) this.store.set({ connection: navigator.onLine ? "reconnecting" : "offline" });
  }

  back() {
    this.failures = 0;
    this.store.set({ connection: "ok" });
    this.on.recovered();
  }
}
