// Runs before the first paint, so that neither a chosen theme nor a dark system's is preceded by a light page.
let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
try {
  const chosen = localStorage.getItem("pg-theme");
  if (chosen === "light" || chosen === "dark") theme = chosen;
} catch {
  // Without storage the system's theme is shown until the page knows better.
}
document.documentElement.dataset.pgTheme = theme;
// A phone's keyboard takes its room from the page, and the page reaches below a notch.
document
  .querySelector("meta[name=viewport]")
  ?.setAttribute("content", "width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content");
