/** Settings: of this conversation, of the user, presets, and what leaves or enters the playground. */

import * as api from "./api.js";
import { createDialog, segments } from "./dialog.js";
import { el } from "./dom.js";
import { SettingsForm } from "./settings_form.js";
import { PresetList } from "./settings_presets.js";
import { ShareList } from "./share.js";
import { tabList } from "./tabs.js";
import { exportForm, importForm } from "./transfer.js";
import { defaultsOf, inherited, nothing, RECOMMENDED, recommendedFor } from "./values.js";

/** Preferences of their own, beside the other defaults. */
const APART = ["effort", "show_reasoning"];
const TABS = [
  ["conversation", "This conversation"],
  ["defaults", "My defaults"],
  ["presets", "Presets"],
  ["data", "Data"],
];

/**
 * @typedef {{store: import("./state.js").Store<any>, prefer: (change: any) => Promise<void>,
 *   open: (id: string) => void, imported: () => void, toast: (text: string) => void}} Page
 */

/** @type {Page|null} */
let page = null;
/** @type {HTMLElement|null} */
let shown = null;

/** Once, when the page starts. @param {Page} parts */
export function connectSettings(parts) {
  page = parts;
}

/**
 * @param {"conversation"|"defaults"|"presets"|"data"} [tab]
 * @param {string|null} [field] the setting to begin with
 */
export function openSettings(tab = "conversation", field = null) {
  if (!page || shown?.isConnected) return;
  const { store } = page;
  let left = () => {};
  let unsubscribe = () => {};
  const { body, head, dialog, close } = createDialog({
    title: "Settings",
    testid: "settings-dialog",
    kind: "pg-settings",
    closed: () => {
      unsubscribe();
      left();
    },
  });
  shown = dialog;
  const status = el("span", { class: "pg-saved", role: "status", testid: "settings-saved" });
  head.insertBefore(status, head.lastElementChild);
  const panel = el("div", { class: "pg-settings-panel", role: "tabpanel", tabindex: "0", id: "pg-settings-panel" });
  const noted = (text) => (status.textContent = text);
  const show = (name) => {
    left();
    noted("");
    const view = VIEWS[name]({ page, noted, close });
    panel.replaceChildren(...view.nodes);
    panel.setAttribute("aria-labelledby", `pg-tab-${name}`);
    panel.scrollTop = 0;
    left = view.leave ?? (() => {});
    unsubscribe();
    unsubscribe = view.draw ? store.on(["settings", "preferences"], view.draw) : () => {};
  };
  body.append(tabList({ label: "Settings", panel: panel.id, tabs: TABS, chosen: tab, show }), panel);
  show(tab);
  const wanted = field && /** @type {HTMLElement|null} */ (panel.querySelector(`[data-field="${field}"]`));
  if (!wanted) return;
  // Not `scrollIntoView`: it would also scroll the dialog, whose head is then out of reach.
  panel.scrollTop += wanted.getBoundingClientRect().top - panel.getBoundingClientRect().top;
  /** @type {HTMLElement|null} */ (wanted.querySelector(".pg-functions button, textarea"))?.focus({ preventScroll: true });
}

/**
 * Change some settings of a conversation, or of the next one while none is open.
 * @param {any} change
 * @param {string|null} [of] the conversation that was open when the change began
 */
export async function changeSettings(change, of = null) {
  const { store } = page;
  const id = of ?? store.get().conversationId;
  if (id === null) {
    store.set({ settings: { ...store.get().settings, ...change } });
    return;
  }
  const { conversation } = await api.changeConversation(id, { settings: change });
  if (store.get().conversationId === id) store.set({ settings: conversation.settings });
}

/** Change some of the user's defaults. */
async function changeDefaults(change) {
  const { store } = page;
  const apart = Object.keys(change).filter((field) => APART.includes(field));
  const rest = Object.fromEntries(Object.entries(change).filter(([field]) => !APART.includes(field)));
  const wanted = Object.fromEntries(apart.map((field) => [field, change[field] ?? RECOMMENDED[field]]));
  if (Object.keys(rest).length) wanted.settings = rest;
  const saved = await api.changePreferences(wanted);
  store.set({ preferences: { ...store.get().preferences, ...saved } });
}

function lead(text) {
  return el("p", { class: "pg-sheet-lead", text });
}

function resetAll(form, noted, change) {
  const button = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "reset-all", text: "Reset to the recommended" });
  const problem = el("p", { class: "pg-problem", role: "alert" });
  button.addEventListener("click", async () => {
    problem.textContent = "";
    try {
      await change();
      form.refresh();
      noted("Saved");
    } catch (error) {
      problem.textContent = `Not saved. ${error.message}`;
    }
  });
  return el("div", { class: "pg-sheet-row pg-sheet-row-start" }, button, problem);
}

const VIEWS = {
  conversation({ page: { store }, noted }) {
    const { conversationId: id, title, temporary } = store.get();
    const form = new SettingsForm({
      key: id ?? "new",
      limits: store.get().limits,
      own: () => store.get().settings ?? {},
      inherited: (field) => inherited(store.get(), field),
      save: (change) => changeSettings(change, id),
      noted: id === null ? (text) => noted(text === "Saved" ? "Kept for the next conversation" : text) : noted,
      levels: true,
    });
    const words = id === null
      ? `For the ${temporary ? "temporary chat" : "conversation"} that you start next. What you leave alone follows your defaults.`
      : `For “${title || "Untitled"}” alone, from the next message on. What you leave alone follows your defaults.`;
    const reset = resetAll(form, noted, () => changeSettings(recommendedFor(store.get()), id));
    // Behind the dialog another conversation may be opened: a delete elsewhere does that.
    const draw = () => [id, null].includes(store.get().conversationId) && form.draw();
    return { nodes: [lead(words), form.node, reset], draw, leave: () => form.leave() };
  },

  defaults({ page: { store, prefer }, noted }) {
    const own = () => {
      const values = defaultsOf(store.get());
      for (const field of APART) if (values[field] === RECOMMENDED[field]) values[field] = null;
      return values;
    };
    const form = new SettingsForm({
      key: "defaults",
      limits: store.get().limits,
      own,
      inherited: (field) => ({ value: RECOMMENDED[field], from: "recommended" }),
      save: changeDefaults,
      noted,
      levels: false,
    });
    const theme = segments({
      name: "pg-set-theme",
      legend: "Theme",
      choices: [["system", "System"], ["light", "Light"], ["dark", "Dark"]],
      value: store.get().preferences.theme,
      testid: "set-theme",
      changed: (value) => prefer({ theme: value }),
    });
    const look = el("div", { class: "pg-field" }, el("div", { class: "pg-field-head" }, el("span", { class: "pg-field-name", text: "Theme" })), theme.node);
    const words = lead("For every conversation that does not set something else itself.");
    const reset = resetAll(form, noted, () => changeDefaults(nothing()));
    const draw = () => {
      form.draw();
      theme.set(store.get().preferences.theme);
    };
    form.node.prepend(look);
    return { nodes: [words, form.node, reset], draw, leave: () => form.leave() };
  },

  presets({ page: { store }, noted }) {
    const list = new PresetList(store, { apply: changeSettings, noted });
    list.load();
    return { nodes: [lead("Sets of settings with a name, to use in any conversation."), list.node], draw: () => list.drawCurrent() };
  },

  data({ page: parts, close }) {
    const links = new ShareList(null);
    links.load();
    const taken = (conversations) => {
      parts.imported();
      if (conversations.length) parts.open(conversations[0].id);
    };
    const show = (conversation) => {
      close();
      parts.open(conversation.id);
    };
    const section = (title, node) => el("section", { class: "pg-section" }, el("h3", { text: title }), node);
    return { nodes: [section("Import", importForm({ taken, show })), section("Export everything", exportForm(null)), links.node] };
  },
};

/**
 * Change a value where it is set now: for this conversation, else among the user's preferences.
 * @param {"effort"|"show_reasoning"} field
 * @param {any} value
 */
export async function chooseHere(field, value) {
  const { store, prefer, toast } = page;
  if ((store.get().settings?.[field] ?? null) === null) return prefer({ [field]: value });
  const { settings: before, conversationId: id } = store.get();
  store.set({ settings: { ...before, [field]: value } });
  try {
    await changeSettings({ [field]: value });
  } catch (error) {
    if (store.get().conversationId === id) store.set({ settings: before });
    toast(`Your choice could not be saved. ${error.message}`);
  }
}
