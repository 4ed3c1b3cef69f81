// Runs before the first paint, so that a chosen theme does not flash.
try {
  const chosen = localStorage.getItem("pg-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.pgTheme = chosen;
} catch {
  // Without storage the system's theme is shown until the page knows better.
}
// A phone's keyboard takes its room from the page, and the page reaches below a notch.
document
  .querySelector("meta[name=viewport]")
  ?.setAttribute("content", "width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content");
