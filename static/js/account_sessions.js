/** The browsers that one is signed in with. */

import * as api from "./api.js";
import { ago } from "./dates.js";
import { el } from "./dom.js";
import { confirm } from "./menu.js";
import { signOut, startAnew } from "./sign_in.js";
import { announce } from "./toast.js";

const LEAD = "Each browser in which you signed in. Sign out of what you do not know.";
const EVERYWHERE = "All of these browsers are signed out at once, this one too.";

/** @param {import("./account.js").View} view @returns {Node[]} */
export function sessionsView({ answer, identity, draw }) {
  const problem = el("p", { class: "pg-problem", role: "alert", testid: "sessions-problem" });
  const attempt = async (run) => {
    problem.textContent = "";
    try {
      await run();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const end = (session) =>
    attempt(async () => {
      if (session.current) return signOut(identity);
      await gone(api.endSession(session.id));
      announce("That browser was signed out.");
      await draw();
      document.getElementById("pg-end-all")?.focus();
    });
  const rows = answer.sessions.map((session) => row(session, end));
  const all = el("button", { class: "pg-button pg-button-plain", type: "button", id: "pg-end-all", testid: "sign-out-everywhere", text: "Sign out everywhere" });
  all.addEventListener("click", async () => {
    if (!(await confirm({ title: "Sign out everywhere?", text: EVERYWHERE, action: "Sign out everywhere" }))) return;
    await attempt(async () => {
      await api.endSessions();
      startAnew(identity, "everywhere");
    });
  });
  return [
    el("p", { class: "pg-sheet-lead", text: LEAD }),
    el("ul", { class: "pg-rows", "aria-label": "Sessions" }, ...rows),
    problem,
    el("div", { class: "pg-sheet-row pg-sheet-row-start" }, all),
  ];
}

/** One that ended meanwhile is what was wanted. @param {Promise<any>} ending */
export async function gone(ending) {
  try {
    await ending;
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

function row(session, end) {
  const name = session.client || "Unknown browser";
  const head = el("div", { class: "pg-row-head" }, el("span", { class: "pg-row-name", text: name }));
  if (session.current) head.append(el("span", { class: "pg-badge", text: "This browser" }));
  const seen = session.current ? "in use now" : `last seen ${ago(session.last_seen_at)}`;
  const words = el("div", { class: "pg-row-words" }, head, el("small", { text: `Signed in ${ago(session.created_at)} · ${seen}` }));
  const button = el("button", { class: "pg-quiet", type: "button", testid: "session-end", "aria-label": `Sign out ${session.current ? "this browser" : name}`, text: "Sign out" });
  button.addEventListener("click", () => end(session));
  return el("li", { class: "pg-row", testid: "session" }, words, el("div", { class: "pg-row-acts" }, button));
}
