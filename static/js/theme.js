/** Light, dark, or as the system has it. `early.js` sets the same attribute before the first paint. */

const KEY = "pg-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
let choice = rememberedTheme();

function apply() {
  const night = choice === "dark" || (choice === "system" && dark.matches);
  document.documentElement.dataset.pgTheme = night ? "dark" : "light";
  // Gradio's own components read this class.
  document.body.classList.toggle("dark", night);
}

dark.addEventListener("change", apply);
apply();

/** @returns {"system"|"light"|"dark"} what was shown last */
function rememberedTheme() {
  try {
    const last = localStorage.getItem(KEY);
    return last === "light" || last === "dark" ? last : "system";
  } catch {
    return "system";
  }
}

/** @param {"system"|"light"|"dark"} theme */
export function setTheme(theme) {
  choice = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Only the first paint of the next visit needs it.
  }
  apply();
}
