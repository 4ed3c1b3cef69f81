// Before the first paint: light or dark, as the system has it.
const night = matchMedia("(prefers-color-scheme: dark)");
const follow = () => (document.documentElement.dataset.pgTheme = night.matches ? "dark" : "light");
night.addEventListener("change", follow);
follow();
