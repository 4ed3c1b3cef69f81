/**
 * Whether this page still belongs to the person that it was opened for. One signs out in another tab or from another
 * device, and nothing must then be read or written here under another name.
 */

import * as api from "./api.js";

const CHANNEL = "pg-identity";
const EVERY_MS = 60_000;
/** Looking away and back does not ask again within this time. */
const SOON_MS = 10_000;

const KEPT = "What you typed is kept.";

export class Identity {
  /**
   * @param {import("./state.js").Store<any>} store
   * @param {{away: (text: string, other: any) => void, back: () => void}} on `away`: the page belongs to nobody or to
   *   `other` now; `back`: it is the same person's again, or the guest has signed in
   */
  constructor(store, on) {
    this.store = store;
    this.on = on;
    this.asked = Date.now();
    this.channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
    this.channel?.addEventListener("message", () => this.check());
    api.onClosed((error) => this.leave(error));
    api.onChanged(async () => this.take(await api.bootstrap()));
    for (const name of ["focus", "pageshow"]) window.addEventListener(name, () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
    setInterval(() => this.look(EVERY_MS), EVERY_MS);
  }

  /** Who one is changed here: the other tabs ask. */
  tell() {
    this.channel?.postMessage("changed");
  }

  look(pause = SOON_MS) {
    const { me, away } = this.store.get();
    // A guest's cookie does not end; whoever had an account may have lost it.
    if (document.hidden || Date.now() - this.asked < pause || !(away || me.kind === "account")) return;
    this.check();
  }

  /** Ask who one is. @returns {Promise<boolean>} whether that is who the page is for */
  async check() {
    this.asked = Date.now();
    try {
      this.take(await api.bootstrap());
    } catch {
      // A refusal was told to `leave`, and without an answer nothing is known to have changed.
    }
    return !this.store.get().away;
  }

  take({ me, sign_in: signIn, preferences }) {
    const { me: before, away } = this.store.get();
    this.store.set({ signIn });
    if (me.kind === before.kind && me.id === before.id) {
      this.store.set({ me });
      if (away) this.back();
    } else if (before.kind === "guest" && me.kind === "account") {
      // What the guest had here is the account's now.
      this.store.set({ me, preferences });
      this.back();
    } else {
      const text = me.kind === "account" ? `This browser is signed in as ${me.display_name} now.` : "You are signed out.";
      const gone = before.kind === "guest" ? "What this browser had here was deleted in another tab." : text;
      this.leave(new api.ApiError(`${gone} ${KEPT}`, "sign_in_required", 401), me);
    }
  }

  leave(error, other = null) {
    const { away, ready } = this.store.get();
    if (!ready) return;
    const gone = error.code === "banned" ? error.message : "You are signed out.";
    const text = other ? error.message : `${gone} ${KEPT}`;
    api.close(new api.ApiError(text, error.code, error.status));
    if (away === text) return;
    this.store.set({ away: text });
    // A ban ends the session: loaded anew, the page is a guest's.
    this.on.away(text, error.code === "banned" ? { kind: "guest" } : other);
  }

  back() {
    api.reopen();
    this.store.set({ away: null });
    this.on.back();
  }
}
