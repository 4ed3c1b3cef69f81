/**
 * The page: puts the modules together once Gradio has drawn the shell.
 *
 * Stable `data-testid` values for browser tests:
 *   composer-input, send, stop, effort-low, effort-medium, effort-high (radio inputs), composer-hint,
 *   new-conversation, conversation-item (link), conversation-menu, rename, delete, dialog, dialog-input, dialog-confirm,
 *   sidebar-toggle (opens), sidebar-close, show-reasoning (role switch), theme-choice (fieldset), theme-system,
 *   theme-light, theme-dark (radio inputs), model-status (chip; opens model-picker with picker-note and model-offer),
 *   status-open (opens status-panel with status-note), model-banner, demo-label, title,
 *   suggestion, user-message, reply (article; data-status), waiting, reasoning-toggle, reasoning-body, answer, preamble,
 *   tool-call, tool-result, recovered, reply-footer, reply-note, retry, jump-to-latest, skeleton, page-error, toast.
 * `document.documentElement.dataset.pgReady` is "true" once the page can be used.
 */

import * as api from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { byId, el, whenPresent } from "./dom.js";
import { createDrawer } from "./drawer.js";
import { loadMarkdown } from "./markdown.js";
import { ModelStatus } from "./model.js";
import { ModelPicker } from "./picker.js";
import * as router from "./router.js";
import { installShortcuts } from "./shortcuts.js";
import { ConversationList } from "./sidebar.js";
import { createStore, INITIAL } from "./state.js";
import { StatusPanel } from "./status.js";
import { setTheme } from "./theme.js";
import { announce, toast } from "./toast.js";
import { Transcript } from "./transcript.js";

const PRODUCT = "gpt-oss Playground";
const RETRY_MS = 2000;

const store = createStore(INITIAL);
// Asked before the shell is drawn: the two waits overlap.
const firstAnswer = api.bootstrap().catch((error) => error);

/** Keep a preference here at once and on the server soon. */
async function prefer(change) {
  store.set({ preferences: { ...store.get().preferences, ...change } });
  try {
    await api.changePreferences(change);
  } catch (error) {
    toast(`Your choice could not be saved. ${error.message}`);
  }
}

function buildChat(status) {
  /** @type {Chat} */
  let chat;
  const transcript = new Transcript(
    { scroller: byId("pg-scroller"), list: byId("pg-messages"), jump: byId("pg-jump"), app: byId("pg-app") },
    { retry: (reply) => chat.retry(reply), fresh: () => chat.open(null, true), reload: () => chat.reload() },
  );
  store.on(["preferences"], ({ preferences }) => transcript.setReasoning(preferences.show_reasoning));
  const list = new ConversationList(byId("pg-list"), store, {
    open: (id) => open(id),
    toast,
    renamed: ({ id, title }) => store.get().conversationId === id && store.set({ title }),
  });
  chat = new Chat(store, {
    transcript,
    announce,
    toast,
    listChanged: (conversation) => list.refresh(conversation),
    recheck: () => status.poll(),
  });
  const composer = buildComposer(chat);
  const drawer = createDrawer();

  function open(id) {
    drawer.leave();
    chat.open(id, true);
    composer.focus();
  }
  byId("pg-new").addEventListener("click", (event) => {
    if (!router.isPlainClick(event)) return;
    event.preventDefault();
    open(null);
  });
  byId("pg-new-top").addEventListener("click", () => open(null));
  router.onNavigate((id) => chat.open(id));
  installShortcuts({
    stop: () => Boolean(store.get().running) && (chat.stop(), true),
    fresh: () => open(null),
    closeSidebar: () => drawer.close(),
  });
  return { chat, list, composer };
}

function buildComposer(chat) {
  const form = /** @type {HTMLFormElement} */ (byId("pg-composer"));
  return new Composer(
    {
      form,
      input: byId("pg-input"),
      send: byId("pg-send"),
      stop: byId("pg-stop"),
      hint: byId("pg-hint"),
      efforts: form.querySelectorAll("input[name=pg-effort]"),
    },
    store,
    { send: (text) => chat.send(text), stop: () => chat.stop(), effort: (effort) => prefer({ effort }) },
  );
}

function bindPreferences() {
  const toggle = byId("pg-show-reasoning");
  toggle.addEventListener("click", () => prefer({ show_reasoning: !store.get().preferences.show_reasoning }));
  const themes = document.querySelectorAll("input[name=pg-theme]");
  for (const radio of themes) radio.addEventListener("change", () => radio.checked && prefer({ theme: radio.value }));
  store.on(["preferences", "ready"], ({ preferences, ready }) => {
    toggle.setAttribute("aria-checked", String(preferences.show_reasoning));
    for (const radio of themes) radio.checked = radio.value === preferences.theme;
    if (ready) setTheme(preferences.theme);
  });
}

function bindTitle() {
  store.on(["title", "view"], ({ title, view }) => {
    document.title = title ? `${title} – ${PRODUCT}` : PRODUCT;
    byId("pg-title").textContent = title;
    byId("pg-heading").textContent = title ? `${PRODUCT}: ${title}` : PRODUCT;
  });
}

function bindSuggestions(composer) {
  const box = byId("pg-suggestions");
  store.on(["suggestions", "view"], ({ suggestions, view }) => {
    box.hidden = view !== "empty" || !suggestions.length;
    const buttons = suggestions.slice(0, 4).map((suggestion) => {
      const text = typeof suggestion === "string" ? suggestion : suggestion.text;
      const button = el("button", { class: "pg-suggestion", type: "button", testid: "suggestion", text });
      button.addEventListener("click", async () => {
        composer.fill(text);
        await composer.submit();
      });
      return button;
    });
    box.replaceChildren(...buttons);
  });
}

function watchConnection() {
  const change = () => store.set({ connection: navigator.onLine ? "ok" : "offline" });
  window.addEventListener("online", change);
  window.addEventListener("offline", change);
  if (!navigator.onLine) change();
}

/** The server may be starting: keep asking until it answers. */
async function firstState() {
  let answer = await firstAnswer;
  while (answer instanceof Error) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    answer = await api.bootstrap().catch((error) => error);
  }
  const { preferences, model, limits, suggestions } = answer;
  store.set({ ready: true, preferences, model, limits, suggestions });
}

async function main() {
  await whenPresent(["pg-side", "pg-list", "pg-app", "pg-composer"]);
  bindPreferences();
  bindTitle();
  const nodes = { chip: byId("pg-model"), banner: byId("pg-banner"), label: byId("pg-demo") };
  const status = new ModelStatus(nodes, store);
  const picker = /** @type {HTMLButtonElement} */ (nodes.chip);
  new ModelPicker(picker, store, { toast, chosen: () => status.expect() });
  new StatusPanel(/** @type {HTMLButtonElement} */ (byId("pg-status")));
  const { chat, list, composer } = buildChat(status);
  bindSuggestions(composer);
  watchConnection();
  const opened = chat.open(router.idOf());
  composer.focus();
  document.documentElement.dataset.pgReady = "true";
  await firstState();
  status.poll();
  list.more();
  await opened;
  loadMarkdown().catch(() => {});
}

main();
