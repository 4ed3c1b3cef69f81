/** How long until it is worth another try: counted down where a message was refused. */

import { until } from "./dates.js";
import { el } from "./dom.js";

/** A wait that is longer is no matter of seconds. */
const COUNTED = 120;
/** The server's last words about it, which stand still. */
const SAID = /\s*Try again in [^.]+\.$/;
/** Another way than waiting, which stands beside it as a link. */
const OTHER_WAY = /, or [^.]+(?=\.$)/;

/**
 * @param {number} seconds
 * @param {() => void} over is called when the time has come
 * @returns {{node: HTMLElement, stop: () => void}} `node` is silent for screen readers: it changes every second, and the
 *   sentence beside it says what happened
 */
export function countdown(seconds, over) {
  const end = Date.now() + 1000 * seconds;
  const node = el("span", { class: "pg-countdown", "aria-hidden": "true", testid: "countdown" });
  let timer = 0;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left <= 0) {
      over();
      return;
    }
    node.textContent = `Try again ${left > COUNTED ? until(new Date(end).toISOString()) : `in ${left} s`}.`;
    timer = setTimeout(tick, 1000);
  };
  tick();
  return { node, stop: () => clearTimeout(timer) };
}

/**
 * A refusal in which the time that is left takes the place of the one that was said; screen readers get what was said.
 * @param {string} text
 * @param {HTMLElement} node of a countdown
 * @returns {(Node|string)[]}
 */
export function counted(text, node) {
  const said = SAID.exec(text)?.[0] ?? "";
  return [text.slice(0, text.length - said.length), el("span", { class: "pg-vh", text: said.replace(OTHER_WAY, "") }), " ", node];
}
