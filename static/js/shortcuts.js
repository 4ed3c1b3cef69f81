/** Keys that work everywhere on the page. */

/** What lies over the page takes Escape for itself. */
const OVER = "dialog[open], [popover]:popover-open";

/**
 * @param {{stop: () => boolean, fresh: () => void, closeSidebar: () => boolean}} on `stop` and `closeSidebar` say
 *   whether there was something to do
 */
export function installShortcuts(on) {
  window.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector(OVER)) {
      if (on.closeSidebar() || on.stop()) event.preventDefault();
    } else if (event.shiftKey && (event.ctrlKey || event.metaKey) && event.code === "KeyO") {
      event.preventDefault();
      on.fresh();
    }
  });
}
