/** ‹ 2/3 ›: the versions of a question or of a reply, at the place where they part. */

import { el, icon } from "./dom.js";

/**
 * @param {{ids: string[], shown: string, of: string, pick: (id: string) => Promise<void>}} options `of` names what has
 *   the versions ("question", "reply")
 * @returns {HTMLElement|null} nothing where there is only one
 */
export function versionSwitch({ ids, shown, of, pick }) {
  const at = ids.indexOf(shown);
  if (ids.length < 2 || at < 0) return null;
  const name = `Version ${at + 1} of ${ids.length}`;
  const step = (by, label, testid) => {
    const target = ids[at + by];
    // An end stays focusable, so that the keyboard does not lose its place.
    const button = el(
      "button",
      { class: `pg-quiet pg-step ${testid}`, type: "button", testid, "aria-label": label, title: label,
        "aria-disabled": target ? null : "true", data: { step: String(by) } },
      icon("chevron"),
    );
    button.addEventListener("click", () => target && pick(target));
    return button;
  };
  const back = step(-1, `Previous version of this ${of}`, "version-previous");
  const next = step(1, `Next version of this ${of}`, "version-next");
  const words = el("span", { class: "pg-version", testid: "version", "aria-hidden": "true", text: `${at + 1}/${ids.length}` });
  const box = el("div", { class: "pg-versions", role: "group", "aria-label": name, data: { of } }, back, words, next);
  box.addEventListener("keydown", (event) => {
    const button = { ArrowLeft: back, ArrowRight: next }[event.key];
    if (!button) return;
    event.preventDefault();
    button.focus();
    button.click();
  });
  return box;
}

/**
 * Give the focus back to the switch that was used, after the branch was drawn anew.
 * @param {ParentNode|null|undefined} root
 * @param {string} of
 * @param {string} step "-1" or "1"
 * @returns {string} the name of what is shown now, to be told
 */
export function focusVersion(root, of, step) {
  const box = root?.querySelector(`.pg-versions[data-of="${of}"]`);
  const button = /** @type {HTMLElement|null|undefined} */ (box?.querySelector(`[data-step="${step}"]`));
  button?.focus({ preventScroll: true });
  return box?.getAttribute("aria-label") ?? "";
}
