/** The account's sheet: who one is here, what was used today, sessions, API keys, and one's data. */

import * as api from "./api.js";
import { dataView } from "./account_data.js";
import { askToLose, keysView } from "./account_keys.js";
import { sessionsView } from "./account_sessions.js";
import { ago, until } from "./dates.js";
import { createDialog } from "./dialog.js";
import { el, icon } from "./dom.js";
import { count } from "./format.js";
import { bones, failed, section } from "./sheet_parts.js";
import { helpsToSignIn, toSignIn, signInLink } from "./sign_in.js";
import { tabList } from "./tabs.js";

const PANEL = "pg-account-panel";
const TABS = [
  ["profile", "Profile"],
  ["sessions", "Sessions"],
  ["keys", "API keys"],
  ["yours", "Your data"],
];
const HIGH = 0.8;

/**
 * What a tab is drawn from. `draw` asks the server again and shows the tab anew; `secrets` are those of the keys that were
 * made since the sheet was opened.
 * @typedef {{answer: any, store: import("./state.js").Store<any>, identity: import("./identity.js").Identity,
 *   draw: () => Promise<void>, secrets: import("./account_keys.js").Secret[]}} View
 */

/** @type {Record<string, (view: View) => Node[]>} */
const VIEWS = { profile: profileView, sessions: sessionsView, keys: keysView, yours: dataView };

/** @type {HTMLElement|null} */
let shown = null;

/** @param {{store: import("./state.js").Store<any>, identity: import("./identity.js").Identity}} page */
export function openAccount({ store, identity }) {
  if (shown?.isConnected) return;
  /** @type {import("./account_keys.js").Secret[]} */
  const secrets = [];
  const look = { title: "Account", testid: "account-dialog", kind: "pg-settings pg-account" };
  const { body, dialog } = createDialog({ ...look, hold: () => askToLose(secrets) });
  shown = dialog;
  const panel = el("div", { class: "pg-settings-panel", role: "tabpanel", tabindex: "0", id: PANEL, testid: "account-panel" });
  const guest = store.get().me.kind !== "account";
  const tabs = TABS.filter(([name]) => !(guest && name === "sessions"));
  let tab = "profile";
  let round = 0;
  const draw = async () => {
    const mine = (round += 1);
    panel.setAttribute("aria-labelledby", `pg-tab-${tab}`);
    try {
      const answer = await api.account();
      if (mine !== round || !dialog.isConnected) return;
      panel.replaceChildren(...VIEWS[tab]({ answer, store, identity, draw, secrets }));
    } catch (error) {
      if (mine === round) panel.replaceChildren(failed(error, draw));
    }
  };
  const show = (name) => {
    tab = name;
    panel.replaceChildren(...bones());
    panel.scrollTop = 0;
    draw();
  };
  body.append(tabList({ label: "Account", panel: PANEL, tabs, chosen: tab, show }), panel);
  show(tab);
}

function profileView({ answer, store }) {
  const { me, signIn } = store.get();
  const { account, usage } = answer;
  return [account ? profile(account, me) : guest(store, signIn), section("Usage today", ...meters(usage, store))];
}

function profile(account, me) {
  const name = account.display_name || account.handle;
  const words = el("div", { class: "pg-profile-words" }, el("p", { class: "pg-profile-name", testid: "profile-name", text: name }));
  const facts = [account.handle, account.email].filter((fact) => fact && fact !== name);
  if (facts.length) words.append(el("p", { class: "pg-profile-facts", text: facts.join(" · ") }));
  const badge = account.role === "admin" ? el("span", { class: "pg-badge", text: "Administrator" }) : null;
  const head = el("div", { class: "pg-profile", testid: "profile" }, el("span", { class: "pg-initials pg-initials-large", "aria-hidden": "true", text: me.initials }), words, badge);
  const since = el("p", { class: "pg-sheet-note", text: `Here for the first time ${ago(account.created_at)}.` });
  return el("div", {}, head, since);
}

function guest(store, signIn) {
  const box = el(
    "div",
    {},
    el(
      "div",
      { class: "pg-profile", testid: "profile" },
      el("span", { class: "pg-initials pg-initials-large", "aria-hidden": "true" }, icon("person")),
      el("div", { class: "pg-profile-words" }, el("p", { class: "pg-profile-name", text: "Guest" }), el("p", { class: "pg-profile-facts", testid: "guest-note", text: signIn.note })),
    ),
  );
  if (!signIn.available) return box;
  const what = "When you sign in, what you have here moves to your account.";
  box.append(el("p", { class: "pg-sheet-lead", text: what }), signInLink(() => store.get().signIn, { testid: "profile-sign-in" }));
  return box;
}

/** @param {any} usage @param {import("./state.js").Store<any>} store @returns {Node[]} */
function meters(usage, store) {
  const { tokens, requests, tokens_limit: mostTokens, requests_limit: mostRequests, resets_at: resets } = usage;
  const limited = mostTokens !== null || mostRequests !== null;
  const note = limited ? `Starts again ${until(resets)}.` : "There is no limit by the day here.";
  const line = el("p", { class: "pg-sheet-note", testid: "usage-note", text: note });
  const over = mostTokens !== null && tokens >= mostTokens;
  if (over && helpsToSignIn(store.get())) line.replaceChildren(note.slice(0, -1), ", or ", ...toSignIn(() => store.get().signIn, "usage-sign-in"));
  return [meter("Tokens", tokens, mostTokens), meter("Requests", requests, mostRequests), line];
}

/**
 * @param {string} name
 * @param {number} used
 * @param {number|null} most
 */
function meter(name, used, most) {
  const words = most === null ? count(used) : `${count(used)} of ${count(most)}`;
  const head = el("div", { class: "pg-meter-head" }, el("span", { text: name }), el("span", { text: words }));
  const box = el("div", { class: "pg-meter", testid: `usage-${name.toLowerCase()}` }, head);
  if (most === null) return box;
  const share = most > 0 ? Math.min(1, used / most) : 1;
  const level = share >= 1 ? "full" : share >= HIGH ? "high" : "";
  const fill = el("div");
  fill.style.width = `${100 * share}%`;
  const props = { class: "pg-bar", role: "meter", "aria-label": `${name} today`, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": Math.min(used, most), "aria-valuetext": words };
  box.append(el("div", { ...props, data: level ? { level } : {} }, fill));
  return box;
}
