// Runs before the first paint, so that a chosen theme does not flash.
try {
  const chosen = localStorage.getItem("pg-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.pgTheme = chosen;
} catch {
  // Without storage the system's theme is shown until the page knows better.
}
