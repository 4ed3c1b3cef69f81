/** Signing in: the button, what a frame needs, the page before it, and what became of it. */

import * as api from "./api.js";
import { createDialog } from "./dialog.js";
import { byId, el } from "./dom.js";
import { notice } from "./notice.js";
import { idOf, pathOf } from "./router.js";
import { toast } from "./toast.js";

const FRAMED = "Browsers keep sign-in out of pages that are shown inside another page. It opens in a new tab, and you can go on there.";
/** The code of a refusal: no more tokens today. */
const OVER = "quota_exceeded";
export const FIRST = "Sign in to use this playground.";
const FAILED = {
  denied: "You were not signed in, because the sign-in was cancelled.",
  expired: "The sign-in took too long. Please try again.",
  failed: "The sign-in did not work. Please try again.",
  not_allowed: (who) => `${who} is not among those that may use this playground.`,
  banned: (who) => `${who} was blocked here by an administrator.`,
  busy: "Too many people are signing in from your network. Try again in a minute.",
  unavailable: "The sign-in service cannot be reached. Please try again in a few minutes.",
};

const LOGIN = "/oauth/login";
const ANOTHER = "Use another account";
/** The provider's name for whoever was not let in; the server sets it for a minute. */
const REFUSED = /(?:^|; )((?:__Host-)?playground-refused)=([^;]*)/;
/** Set from a sign-out to the next sign-in: whoever is still signed in at the provider may be somebody else. */
const LEFT = "pg-signed-out";
const FAREWELL = "pg-farewell";
const FAREWELLS = {
  out: "You are signed out.",
  everywhere: "You are signed out everywhere.",
  account: "Your account was deleted, with everything in it.",
  guest: "Everything that this browser had here was deleted.",
};

/** Whether another page shows this one. */
const framed = window.self !== window.top;

/**
 * @param {any} signIn what the server says about it
 * @param {boolean} [another] whether one chooses who signs in
 * @returns {string} where it begins; it ends at the page that is open
 */
function address({ url }, another = false) {
  return `${url}?next=${encodeURIComponent(pathOf(idOf()))}${another || hasLeft() ? "&account=another" : ""}`;
}

function hasLeft() {
  try {
    return localStorage.getItem(LEFT) !== null;
  } catch {
    return false;
  }
}

/** Somebody has signed out here, or in. @param {boolean} left */
function noteLeft(left) {
  try {
    if (left) localStorage.setItem(LEFT, "1");
    else localStorage.removeItem(LEFT);
  } catch {
    // Then nobody is asked who signs in.
  }
}

/** Somebody is signed in here. */
export const hasArrived = () => noteLeft(false);

/** @param {any} signIn @returns {string} */
function wording({ provider }) {
  return provider ? `Sign in with ${provider}` : "Sign in";
}

/**
 * A link that looks like a button. It is a link because it leaves the page.
 * @param {() => any} signIn
 * @param {{kind?: string, testid: string, words?: string, another?: boolean}} look
 * @returns {HTMLElement}
 */
export function signInLink(signIn, { kind = "pg-button", testid, words, another = false }) {
  const link = el("a", { class: kind, href: address(signIn(), another), testid }, el("span", { text: words ?? wording(signIn()) }));
  aim(link, signIn, another);
  return link;
}

/**
 * Whether somebody who has used up the day's tokens goes on by signing in.
 * @param {any} state of the page
 * @param {any} [error] the refusal that it is about
 */
export function helpsToSignIn({ me, signIn }, error = null) {
  return Boolean(signIn.available && signIn.more_tokens && me.kind !== "account" && (error?.code ?? OVER) === OVER);
}

/** What follows on when a day's tokens begin anew. @param {() => any} signIn @param {string} testid @returns {(Node|string)[]} */
export function toSignIn(signIn, testid) {
  return [signInLink(signIn, { kind: "pg-link", testid, words: "sign in" }), " to go on."];
}

/** What a short message offers beside a refusal. @param {any} error @param {any} state of the page */
export function wayOn(error, state) {
  if (!helpsToSignIn(state, error)) return {};
  const run = () => {
    if (!framed) return location.assign(address(state.signIn));
    window.open(address(state.signIn), "_blank", "noopener");
    explain();
  };
  return { action: "Sign in", run };
}

/** Let a link lead to the sign-in. @param {HTMLElement} link @param {() => any} signIn @param {boolean} [another] */
export function aim(link, signIn, another = false) {
  // The open conversation is another one by the time that it is pressed.
  link.addEventListener("pointerdown", () => link.setAttribute("href", address(signIn(), another)));
  link.addEventListener("click", () => {
    link.setAttribute("href", address(signIn(), another));
    if (framed && !link.closest("dialog, .pg-welcome")) explain();
  });
  if (!framed) return;
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener");
}

/** What a frame says once the new tab is open. */
function explain() {
  const { body } = createDialog({ title: "Sign in in the new tab", testid: "framed-dialog", kind: "pg-sheet-small" });
  body.append(el("p", { class: "pg-sheet-lead", text: FRAMED }), el("div", { class: "pg-sheet-row" }, reloadButton()));
}

function reloadButton() {
  const button = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "framed-reload", text: "I have signed in – reload" });
  button.addEventListener("click", () => location.reload());
  return button;
}

/**
 * The page of somebody who must sign in first: one sentence and one button.
 * @param {any} signIn
 * @param {string} [reason] why this person is not let in
 * @param {boolean} [known] whether it is about who it is: then somebody else may come
 */
export function showWelcome(signIn, reason = "", known = false) {
  document.documentElement.dataset.pgGate = "";
  const link = signInLink(() => signIn, { testid: "welcome-sign-in", another: known, ...(known ? { words: ANOTHER } : {}) });
  const note = reason || FIRST;
  const section = el(
    "section",
    { class: "pg-welcome", testid: "welcome", "aria-label": "Welcome" },
    el("p", { class: "pg-hero-name", text: "gpt-oss Playground" }),
    el("p", { class: "pg-hero-line", text: "Ask something, and watch an open-weight model reason its way to the answer." }),
    link,
    framed ? reloadButton() : null,
    el("p", { class: "pg-welcome-note", testid: "welcome-note", text: framed ? `${note} ${FRAMED}` : note }),
  );
  byId("pg-notices").after(section);
}

/** Say once what became of a sign-in, and take it out of the address. */
export function tellOutcome() {
  const here = new URL(location.href);
  const code = here.searchParams.get("sign_in_error");
  if (code === null) return;
  here.searchParams.delete("sign_in_error");
  history.replaceState(history.state, "", here.pathname + here.search + here.hash);
  const words = Object.hasOwn(FAILED, code) ? FAILED[code] : FAILED.failed;
  const person = typeof words === "function";
  // A provider that cannot let one choose may refuse the whole sign-in for it.
  if (words === FAILED.failed) noteLeft(false);
  const actions = person ? [another()] : [];
  notice(person ? words(refused()) : words, { testid: "sign-in-error", actions, dismiss: true, kind: "bad" });
}

/** A way out for somebody whom the provider would sign in as the same person again. */
function another() {
  return signInLink(() => ({ url: LOGIN }), { kind: "pg-button pg-button-plain", testid: "sign-in-another", words: ANOTHER, another: true });
}

/** Who was not let in, told once. @returns {string} a text of somebody else */
function refused() {
  const [, name, value] = REFUSED.exec(document.cookie) ?? [];
  if (!name) return "Your account";
  document.cookie = `${name}=; Path=/; Max-Age=0; SameSite=Lax${name.startsWith("__Host-") ? "; Secure" : ""}`;
  try {
    return `The account “${decodeURIComponent(value)}”`;
  } catch {
    return "Your account";
  }
}

/**
 * The bar of a page whose person has gone.
 * @param {import("./state.js").Store<any>} store
 * @param {string} text
 * @param {any} other who came instead
 * @returns {() => void} take it away
 */
export function tellAway(store, text, other) {
  const { signIn } = store.get();
  const actions = [];
  if (signIn.available && other?.kind !== "account") {
    actions.push(signInLink(() => store.get().signIn, { kind: "pg-button", testid: "away-sign-in", words: "Sign in" }));
  }
  if (other && !(signIn.required && other.kind !== "account")) {
    const words = other.kind === "account" ? "Go on as this person" : "Go on as a guest";
    const go = el("button", { class: "pg-button pg-button-plain", type: "button", testid: "away-reload", text: words });
    go.addEventListener("click", () => location.assign(pathOf(null)));
    actions.push(go);
  }
  return notice(text, { testid: "signed-out", actions });
}

/**
 * Leave: nothing of this person stays in this tab, and the page begins anew.
 * @param {import("./identity.js").Identity|null} identity
 * @param {keyof FAREWELLS} how what the new page says of it
 */
export function startAnew(identity, how) {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith("pg-draft:")) sessionStorage.removeItem(key);
    sessionStorage.setItem(FAREWELL, how);
  } catch {
    // Nothing was kept.
  }
  noteLeft(true);
  identity?.tell();
  location.assign(pathOf(null));
}

/** Sign out here. @param {import("./identity.js").Identity} identity */
export async function signOut(identity) {
  await api.signOut();
  startAnew(identity, "out");
}

/** Say once what became of a wish to leave, on the page that began anew. */
export function tellFarewell() {
  try {
    const how = sessionStorage.getItem(FAREWELL) ?? "";
    sessionStorage.removeItem(FAREWELL);
    if (Object.hasOwn(FAREWELLS, how)) toast(FAREWELLS[how]);
  } catch {
    // Nothing was kept.
  }
}

