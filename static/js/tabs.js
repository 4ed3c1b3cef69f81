/** The tabs of a sheet: arrow keys walk through them, and what is chosen is shown at once. */

import { el } from "./dom.js";

/**
 * @param {{label: string, panel: string, tabs: string[][], chosen: string, show: (name: string) => void}} options
 *   `panel` is the id of what they fill; `tabs` are pairs of name and words
 * @returns {HTMLElement} the one that is `chosen` is marked, and not yet shown
 */
export function tabList({ label, panel, tabs: pairs, chosen, show }) {
  const list = el("div", { class: "pg-tabs", role: "tablist", "aria-label": label });
  const tabs = pairs.map(([name, words]) =>
    el("button", { class: "pg-tab", type: "button", role: "tab", id: `pg-tab-${name}`, "aria-controls": panel, testid: `tab-${name}`, text: words }),
  );
  const mark = (index) =>
    tabs.forEach((tab, each) => {
      tab.setAttribute("aria-selected", String(each === index));
      tab.tabIndex = each === index ? 0 : -1;
    });
  const choose = (index) => {
    mark(index);
    show(pairs[index][0]);
  };
  tabs.forEach((tab, index) => tab.addEventListener("click", () => choose(index)));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (tabs.indexOf(/** @type {any} */ (document.activeElement)) + step + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  });
  list.append(...tabs);
  mark(Math.max(0, pairs.findIndex(([name]) => name === chosen)));
  return list;
}
