/** The foot of the sidebar: who one is here, and the way to the account. */

import { openAccount } from "./account.js";
import { openAdmin } from "./admin.js";
import { byId, icon } from "./dom.js";
import { openMenu } from "./menu.js";
import { aim, signOut } from "./sign_in.js";

/**
 * @param {import("./state.js").Store<any>} store
 * @param {{over: (open: () => void) => void, identity: import("./identity.js").Identity, toast: (text: string) => void}} on
 *   `over` opens what lies over the page
 */
export function bindMe(store, { over, identity, toast }) {
  const button = byId("pg-me");
  const link = byId("pg-sign-in");
  const account = () => over(() => openAccount({ store, identity }));
  const admin = () => over(() => openAdmin({ store }));
  const leave = () => signOut(identity).catch((error) => toast(error.message));
  aim(link, () => store.get().signIn);
  button.addEventListener("click", () => {
    const { me } = store.get();
    if (me.kind !== "account") {
      account();
      return;
    }
    const entries = [
      { label: "Account", icon: "person", testid: "account-open", run: account },
      me.role === "admin" && { label: "Admin", icon: "shield", testid: "admin-open", run: admin },
      { label: "Sign out", icon: "leave", testid: "sign-out", run: leave },
    ];
    openMenu(button, entries.filter(Boolean));
  });
  store.on(["me", "signIn"], ({ me, signIn }) => draw(button, link, me, signIn));
}

function draw(button, link, me, signIn) {
  const known = me.kind === "account";
  const offer = signIn.available && !known;
  link.hidden = !offer;
  link.querySelector("[data-pg-text]").textContent = signIn.provider ? `Sign in with ${signIn.provider}` : "Sign in";
  const name = known ? me.display_name || me.handle : "Account";
  button.querySelector("[data-pg-text]").textContent = name;
  button.querySelector(".pg-initials").replaceChildren(known ? me.initials : icon("person"));
  button.setAttribute("aria-haspopup", known ? "menu" : "dialog");
  if (known) button.setAttribute("aria-expanded", "false");
  else button.removeAttribute("aria-expanded");
  // Beside the offer to sign in there is room for its picture only.
  button.toggleAttribute("data-pg-small", offer);
  button.title = offer ? "Account" : "";
}

