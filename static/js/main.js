/**
 * The page: puts the modules together once Gradio has drawn the shell.
 *
 * Stable `data-testid` values for browser tests:
 *   composer-input, send, stop, effort-low, effort-medium, effort-high (radio inputs), composer-hint,
 *   new-conversation, temporary-chat, temporary-label, temporary-note, conversation-list, list-message, conversation-item
 *   (link), running-dot, conversation-menu, pin, rename, rename-input, share, export, archive, delete, archive-open,
 *   archive-back, search-open, search-dialog, search-input, search-title (and the other kinds), search-results,
 *   search-result, search-status, search-deeper, search-again, shortcuts-open, shortcuts-sheet, toast-action, dialog, dialog-input, dialog-confirm,
 *   sidebar-toggle (opens), sidebar-close, show-reasoning (role switch), set-theme-system,
 *   set-theme-light, set-theme-dark (radio inputs of the settings), model-status (chip; opens model-picker with picker-note and model-offer),
 *   status-open (opens status-panel with status-note), model-banner, demo-label, title,
 *   suggestion, user-message, reply (article; data-status), waiting, reasoning-toggle, reasoning-body, answer, preamble,
 *   settings-open, settings-top, settings-dialog with tab-*, set-*, from-*, reset-*, problem-*, settings-saved; share-open,
 *   share-dialog, share-create, share-link, share-item, share-revoke; export-dialog, export-download; import-file,
 *   import-result, import-report; preset, preset-name, preset-save; context-open, context-panel, context-line, when-full-*,
 *   composer-ways (room-drop, room-fresh), dialog-close, reset-all, share-problem, import-choose, import-drop, import-open,
 *   import-problem; on a reader's page: shared-title, shared-facts, shared-import, shared-problem,
 *   edit, editor, edit-input, edit-send, edit-cancel, edit-hint, pending-note, version, version-previous, version-next,
 *   regenerate, choices, again, again-low (and the others), again-temperature-0 (and the others), again-model, reply-more,
 *   copy-markdown, read-raw, raw-dialog, raw-output, raw-prompt, details, receipt, offers, continue, answer-now, raise,
 *   raise-form, raise-input, raise-keep, raise-go, drop, fresh, context-full, full-drop, full-fresh, tool-show,
 *   tool-call, call-state, call-arguments (with -raw), tool-result, result-text (with -raw, -unfold), result-input, result-kind, result-form,
 *   result-send, result-problem, schema-badge, chip-functions, chip-schema, function-* (of the settings and their sheet),
 *   operator-*, recovered, reply-footer, reply-note, retry, jump-to-latest, skeleton, page-error (with missing-sign-in), toast;
 *   me (opens the account, or the menu of account-open, admin-open, sign-out), sign-in, framed-dialog, framed-reload, welcome with
 *   welcome-sign-in and welcome-note, quota-sign-in, usage-sign-in, sign-in-error (with sign-in-another), notice-dismiss, signed-out with away-sign-in and away-reload, countdown;
 *   account-dialog with tab-profile, profile, profile-name, guest-note, usage-tokens, usage-requests, usage-note, tab-sessions, session,
 *   session-end, sign-out-everywhere, tab-keys, key-name, scope-*, key-create, key-problem, key-made, key-secret, key-copy, key-done,
 *   key, key-revoke, tab-yours, delete-lead, delete-account, delete-dialog, delete-word, delete-export, delete-confirm; admin-dialog with
 *   admin-privacy, tab-overview, tab-users, users-accounts, users-guests, users-banned (radio inputs), users-search, users, user, user-ban, user-unban, user-admin, user-member, users-more,
 *   users-note; loading, sheet-problem, sheet-retry.
 * `document.documentElement.dataset.pgReady` is "true" once the page can be used.
 */

import * as api from "./api.js";
import { Chat } from "./chat.js";
import { bindChips } from "./chips.js";
import { Composer } from "./composer.js";
import { ContextMeter } from "./context.js";
import { byId, el, whenPresent } from "./dom.js";
import { Frame } from "./frame.js";
import { Identity } from "./identity.js";
import { watchKeyboard } from "./keyboard.js";
import { loadMarkdown } from "./markdown.js";
import { bindMe } from "./me.js";
import { ModelStatus } from "./model.js";
import { ModelPicker } from "./picker.js";
import * as router from "./router.js";
import { changeSettings, chooseHere, connectSettings, openSettings } from "./settings.js";
import { openShare } from "./share.js";
import { FIRST, hasArrived, showWelcome, tellAway, tellFarewell, tellOutcome } from "./sign_in.js";
import { createStore, INITIAL } from "./state.js";
import { StatusPanel } from "./status.js";
import { setTheme } from "./theme.js";
import { isTemporary } from "./temporary.js";
import { announce, toast } from "./toast.js";
import { Transcript } from "./transcript.js";
import { effective } from "./values.js";

const PRODUCT = "gpt-oss Playground";
const RETRY_MS = 2000;

const store = createStore(INITIAL);
// Asked before the shell is drawn: the two waits overlap.
const firstAnswer = api.bootstrap().catch((error) => error);
api.waitFor(firstAnswer.then(admit));

/** What was chosen before the server's first answer, which does not know of it yet. */
const early = {};

/** Keep a preference here at once and on the server soon. */
async function prefer(change) {
  if (!store.get().ready) Object.assign(early, change);
  store.set({ preferences: { ...store.get().preferences, ...change } });
  try {
    await api.changePreferences(change);
  } catch (error) {
    toast(`Your choice could not be saved. ${error.message}`);
  }
}

/** Whoever must sign in first asks for nothing else, and is refused nothing. @param {any} answer or an error */
function admit(answer) {
  const { me, sign_in: signIn } = answer;
  if (signIn?.required && me.kind !== "account") api.close(new api.ApiError(FIRST, "sign_in_required", 401));
}

/** The page's person goes, and perhaps comes back. */
function watchIdentity(frame) {
  let takeAway = () => {};
  const identity = new Identity(store, {
    away: (text, other) => {
      takeAway();
      takeAway = tellAway(store, text, other);
    },
    back: () => {
      takeAway();
      frame.reload();
    },
  });
  return identity;
}

function buildChat(status) {
  const frame = new Frame(store);
  const identity = watchIdentity(frame);
  const chat = new Chat(store, {
    announce,
    toast,
    listChanged: (conversation) => frame.list.refresh(conversation),
    recheck: () => status.poll(),
    changeModel: () => byId("pg-model").click(),
    stillMe: () => identity.check(),
  });
  const transcript = new Transcript(
    { scroller: byId("pg-scroller"), list: byId("pg-messages"), jump: byId("pg-jump"), app: byId("pg-app") },
    chat.handlers(),
  );
  chat.transcript = transcript;
  store.on(["preferences", "settings"], (state) => transcript.setReasoning(effective(state, "show_reasoning")));
  const composer = buildComposer(chat, () => frame.open(null));
  frame.connect({ chat, composer });
  bindMe(store, { over: (open) => frame.over(open), identity, toast });
  return { chat, frame, composer, identity };
}

function buildComposer(chat, fresh) {
  const form = /** @type {HTMLFormElement} */ (byId("pg-composer"));
  return new Composer(
    {
      form,
      input: byId("pg-input"),
      send: byId("pg-send"),
      stop: byId("pg-stop"),
      hint: byId("pg-hint"),
      ways: byId("pg-ways"),
      efforts: form.querySelectorAll("input[name=pg-effort]"),
    },
    store,
    {
      send: (text) => chat.send(text),
      stop: () => chat.stop(),
      effort: (effort) => chooseHere("effort", effort),
      fresh,
      dropOldest: () => changeSettings({ when_full: "drop_oldest" }),
    },
  );
}

function bindPreferences() {
  const toggle = byId("pg-show-reasoning");
  toggle.addEventListener("click", () => chooseHere("show_reasoning", !effective(store.get(), "show_reasoning")));
  store.on(["preferences", "settings", "ready"], (state) => {
    const { preferences, ready } = state;
    toggle.setAttribute("aria-checked", String(effective(state, "show_reasoning")));
    if (ready) setTheme(preferences.theme);
  });
}

/** Settings, sharing and the context meter, in the top bar and by key. */
function bindTop({ chat, frame }) {
  connectSettings({ store, prefer, toast, open: (id) => chat.open(id, true), imported: () => frame.list.refresh() });
  for (const id of ["pg-settings", "pg-settings-top"]) byId(id).addEventListener("click", () => openSettings());
  bindChips(store);
  new ContextMeter(/** @type {HTMLButtonElement} */ (byId("pg-context")), store, { change: changeSettings });
  const button = byId("pg-share");
  button.addEventListener("click", () => openShare({ id: store.get().conversationId, title: store.get().title }));
  store.on(["conversationId", "view"], ({ conversationId, view }) => {
    button.hidden = view !== "open" || isTemporary(conversationId);
  });
  watchKeyboard();
}

function bindTitle() {
  store.on(["title", "view", "temporary", "conversationId"], ({ title, temporary, conversationId }) => {
    const hidden = conversationId === null ? temporary : isTemporary(conversationId);
    const name = title || (hidden ? "Temporary chat" : "");
    document.title = name ? `${name} – ${PRODUCT}` : PRODUCT;
    byId("pg-title").textContent = title;
    byId("pg-heading").textContent = name ? `${PRODUCT}: ${name}` : PRODUCT;
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

/** The server may be starting: keep asking until it answers. @returns {Promise<boolean>} whether one may come in */
async function firstState() {
  let answer = await firstAnswer;
  while (answer instanceof Error && ![401, 403].includes(answer.status)) {
    if (answer.status) store.set({ refusal: answer.message });
    await new Promise((resolve) => setTimeout(resolve, Math.max(RETRY_MS, 1000 * (answer.retryAfter ?? 0))));
    answer = await api.bootstrap().catch((error) => error);
    admit(answer);
  }
  if (answer instanceof Error) {
    showWelcome({ url: "/oauth/login" }, answer.message, answer.status === 403);
    return false;
  }
  const { me, sign_in: signIn, preferences, model, limits, suggestions } = answer;
  if (signIn.required && me.kind !== "account") {
    showWelcome(signIn, signIn.reason);
    return false;
  }
  store.set({ ready: true, me, signIn, preferences: { ...preferences, ...early }, model, limits, suggestions });
  return true;
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
  const { chat, frame, composer, identity } = buildChat(status);
  bindTop({ chat, frame });
  bindSuggestions(composer);
  watchConnection();
  const opened = chat.open(router.idOf());
  composer.focus();
  document.documentElement.dataset.pgReady = "true";
  tellOutcome();
  tellFarewell();
  if (!(await firstState())) return;
  // A tab that was opened before may still show a guest.
  if (store.get().me.kind === "account") {
    identity.tell();
    hasArrived();
  }
  status.poll();
  frame.start();
  await opened;
  loadMarkdown().catch(() => {});
}

main();
