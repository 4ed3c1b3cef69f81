/** Keeps the page above a phone's keyboard where the browser does not do it by itself (Safari). */

/** A part this tall that is hidden below is a keyboard, and no toolbar. */
const LEAST = 120;

export function watchKeyboard() {
  const view = window.visualViewport;
  if (!view) return;
  const style = document.documentElement.style;
  const fit = () => {
    const covered = view.scale === 1 && innerHeight - view.height > LEAST;
    style.setProperty("--pg-height", covered ? `${view.height}px` : "100dvh");
    style.setProperty("--pg-shift", covered ? `${view.offsetTop}px` : "0px");
  };
  view.addEventListener("resize", fit);
  view.addEventListener("scroll", fit);
}
