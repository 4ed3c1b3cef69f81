/** How long until it is worth another try: counted down where a message was refused. */

import { until } from "./dates.js";
import { el } from "./dom.js";

/** A wait that is longer is no matter of seconds. */
const COUNTED = 120;

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
    node.textContent = `Again ${left > COUNTED ? until(new Date(end).toISOString()) : `in ${left} s`}.`;
    timer = setTimeout(tick, 1000);
  };
  tick();
  return { node, stop: () => clearTimeout(timer) };
}
