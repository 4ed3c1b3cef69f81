/** Temporary chats: what the page says about them, and what it says when one is left. */

import { byId, el } from "./dom.js";

const NOTE = "It is kept nowhere: not in the list, not in the search, and it is lost once you leave it.";
const LEFT = "You left the temporary chat. It is kept nowhere, and soon gone.";

/** @param {string|null} id @returns {boolean} whether a conversation with this id is temporary */
export const isTemporary = (id) => id?.startsWith("t") ?? false;

/**
 * @param {import("./state.js").Store<any>} store
 * @param {{open: (id: string|null, temporary: boolean) => void, toast: (text: string, offer: object) => void}} on
 */
export function bindTemporary(store, on) {
  const button = byId("pg-temporary");
  const label = el("span", { class: "pg-temporary-label", testid: "temporary-label", hidden: true, text: "Temporary", title: NOTE });
  const note = el("p", { class: "pg-hero-line pg-temporary-note", testid: "temporary-note", hidden: true, text: NOTE });
  const name = document.querySelector(".pg-hero-name");
  const usual = name.textContent;
  byId("pg-title").before(label);
  document.querySelector(".pg-hero").append(note);
  button.addEventListener("click", () => on.open(null, !store.get().temporary || store.get().conversationId !== null));
  let last = store.get().conversationId;
  store.on(["conversationId", "temporary", "view"], ({ conversationId, temporary, view }) => {
    const is = conversationId === null ? temporary : isTemporary(conversationId);
    label.hidden = !is;
    name.textContent = is ? "Temporary chat" : usual;
    note.hidden = !(is && view === "empty");
    byId("pg-app").classList.toggle("pg-is-temporary", is);
    button.setAttribute("aria-pressed", String(is));
    if (conversationId === last) return;
    const left = last;
    last = conversationId;
    if (isTemporary(left)) on.toast(LEFT, { action: "Go back", run: () => on.open(left, false) });
  });
}
