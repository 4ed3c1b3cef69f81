/** The administrators' sheet: how the playground does, what its limits are, and who uses it. No conversation is in it. */

import * as api from "./api.js";
import { UserList } from "./admin_users.js";
import { ago } from "./dates.js";
import { createDialog } from "./dialog.js";
import { el } from "./dom.js";
import { bytes, count, isDemo, modelName } from "./format.js";
import { bones, failed, section } from "./sheet_parts.js";
import { tabList } from "./tabs.js";

const PANEL = "pg-admin-panel";
const TABS = [
  ["overview", "Overview"],
  ["users", "Users"],
];
const PRIVATE = "Administrators see names, counts and sizes. They cannot read anybody's conversations.";

/** @type {HTMLElement|null} */
let shown = null;

/** @param {{store: import("./state.js").Store<any>}} page */
export function openAdmin({ store }) {
  if (shown?.isConnected) return;
  const { body, dialog } = createDialog({ title: "Admin", testid: "admin-dialog", kind: "pg-settings pg-admin" });
  shown = dialog;
  const panel = el("div", { class: "pg-settings-panel", role: "tabpanel", tabindex: "0", id: PANEL, testid: "admin-panel" });
  let round = 0;
  const show = (name) => {
    const mine = (round += 1);
    panel.setAttribute("aria-labelledby", `pg-tab-${name}`);
    panel.scrollTop = 0;
    const lead = el("p", { class: "pg-sheet-lead", testid: "admin-privacy", text: PRIVATE });
    if (name === "users") {
      const list = new UserList(store.get().me, store.get().signIn);
      panel.replaceChildren(lead, list.node);
      list.start();
      return;
    }
    const box = el("div", {}, ...bones());
    panel.replaceChildren(lead, box);
    const ask = async () => {
      try {
        const answer = await api.adminOverview();
        if (mine === round) box.replaceChildren(...overview(answer));
      } catch (error) {
        if (mine === round) box.replaceChildren(failed(error, ask));
      }
    };
    ask();
  };
  body.append(tabList({ label: "Admin", panel: PANEL, tabs: TABS, chosen: "overview", show }), panel);
  show("overview");
}

function overview({ totals, health, limits }) {
  return [
    section("Use", figures(use(totals))),
    section("Health", figures(state(health))),
    section("Limits", figures(Object.entries(limits).map(limit))),
  ];
}

/** @param {[string, string][]} pairs @returns {HTMLElement} */
function figures(pairs) {
  const rows = pairs.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })));
  return el("dl", { class: "pg-facts" }, ...rows);
}

/** @returns {[string, string][]} */
function use(totals) {
  return [
    ["People", `${count(totals.users)} · ${count(totals.accounts)} with an account`],
    ["Conversations", count(totals.conversations)],
    ["Messages", count(totals.messages)],
    ["Requests today", count(totals.requests_today)],
    ["Tokens today", count(totals.tokens_today)],
  ];
}

/** @returns {[string, string][]} */
function state({ engine, database, uptime_seconds: uptime }) {
  const { bytes: size, integrity, backups, last_backup: backup, backup_error: problem } = database;
  const whole = integrity === "ok" ? "intact" : integrity;
  const saved = backup ? ago(backup) : backups ? "none yet" : "off: BACKUP_DIR is not set";
  return [
    ["Engine", work(engine)],
    ["Running for", span(uptime)],
    ["Database", [bytes(size), whole].filter(Boolean).join(" · ")],
    ["Last backup", [saved, problem].filter(Boolean).join(" · ")],
  ];
}

/** @param {any} engine as `GET /api/status` @returns {string} "gpt-oss-20b · 2 running · 0 waiting" */
function work({ alive, model, running, waiting }) {
  if (!alive) return "stopped";
  const name = model ? modelName(model.name, isDemo(model)) : "no model";
  return `${name} · ${count(running)} running · ${count(waiting)} waiting`;
}

/** @param {[string, any]} entry @returns {[string, string]} */
function limit([name, value]) {
  const title = name.replaceAll("_", " ");
  return [title[0].toUpperCase() + title.slice(1), words(value)];
}

function words(value) {
  if (value === null || value === undefined || value === "") return "not known";
  if (typeof value === "number") return value === 0 ? "no limit" : count(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

/** @param {number} seconds @returns {string} "3 days" */
function span(seconds) {
  const steps = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ];
  for (const [size, unit] of steps) {
    const number = Math.floor(seconds / size);
    if (number >= 1) return `${number} ${unit}${number === 1 ? "" : "s"}`;
  }
  return "less than a minute";
}
