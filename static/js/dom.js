/** Small helpers to build DOM without ever parsing text as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** Outline icons on a 24 x 24 grid: lists of path data. */
const ICONS = {
  plus: ["M12 5v14", "M5 12h14"],
  menu: ["M4 5h16v14H4z", "M9.5 5v14"],
  send: ["M12 19V5", "M6 11l6-6 6 6"],
  stop: ["M7 7h10v10H7z"],
  chevron: ["M6 9l6 6 6-6"],
  down: ["M12 5v14", "M6 13l6 6 6-6"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  retry: ["M4 12a8 8 0 1 1 2.5 5.8", "M4 19v-5h5"],
  more: ["M5 12h.01", "M12 12h.01", "M19 12h.01"],
  tool: ["M5 7l5 5-5 5", "M12 18h7"],
  alert: ["M12 4l9 16H3z", "M12 10v4", "M12 17h.01"],
  braces: ["M9.500 4C7.500 4 7 5 7 6.500v2.500c0 1.800-.700 3-2.200 3 1.500 0 2.200 1.200 2.200 3v2.500C7 19 7.500 20 9.500 20", "M14.500 4c2 0 2.500 1 2.500 2.500v2.500c0 1.800.700 3 2.200 3-1.500 0-2.200 1.200-2.200 3v2.500c0 1.500-.500 2.500-2.500 2.500"],
  question: ["M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4", "M12 17.5h.01"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  search: ["M11 4a7 7 0 1 0 0 14a7 7 0 0 0 0-14z", "M20 20l-4-4"],
  pin: ["M15 4.5l-4 4-4 1.5L5.5 11.5l7 7 1.5-1.5 1.5-4 4-4", "M9 15l-4.5 4.5", "M14.5 4l5.5 5.5"],
  archive: ["M4 5h16v4H4z", "M6 9v10h12V9", "M10 13h4"],
  sliders: ["M4 8h9", "M17 8h3", "M15 6v4", "M4 16h3", "M11 16h9", "M9 14v4"],
  share: ["M12 15V4", "M8 8l4-4 4 4", "M6 12H5v8h14v-8h-1"],
  link: ["M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1", "M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1"],
  download: ["M12 4v11", "M8 11l4 4 4-4", "M5 20h14"],
  upload: ["M12 15V4", "M8 8l4-4 4 4", "M5 20h14"],
  trash: ["M5 7h14", "M10 4h4", "M7 7l1 13h8l1-13"],
  info: ["M12 4a8 8 0 1 1 0 16a8 8 0 1 1 0-16", "M12 11v5", "M12 8h.01"],
  edit: ["M4 20l1-4L16 5l3 3L8 19z", "M14 7l3 3"],
  person: ["M12 4a4 4 0 1 1 0 8a4 4 0 1 1 0-8z", "M4.500 20c.8-3.600 3.800-5.500 7.500-5.500s6.700 1.900 7.500 5.500"],
  shield: ["M12 3.500l7 2.500v5.500c0 4.200-2.800 7.300-7 9-4.200-1.700-7-4.800-7-9V6z", "M9 12l2.200 2.200L15.500 10"],
  leave: ["M14 5H5v14h9", "M10 12h10", "M16.500 8.500L20 12l-3.500 3.500"],
  temporary: ["M12 4a8 8 0 0 1 5 1.8", "M19.6 9.500a8 8 0 0 1 0 5", "M17 18.200a8 8 0 0 1-5 1.800", "M9 19.400a8 8 0 0 1-4-3.600", "M4 12a8 8 0 0 1 1-4", "M8 5.100a8 8 0 0 1 1-.5"],
};

/**
 * Make an element. `class`, `text`, `testid`, `on` and `data` are special; every other property is an attribute
 * (`true` gives an empty one, `false`, `null` and `undefined` leave it out).
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else if (key === "testid") node.dataset.testid = value;
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "on") for (const [name, run] of Object.entries(value)) node.addEventListener(name, run);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/**
 * An outline icon, hidden from assistive technology.
 * @param {keyof typeof ICONS} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `pg-icon pg-icon-${name}`);
  for (const data of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    svg.append(path);
  }
  return svg;
}

/**
 * @param {string} id
 * @returns {HTMLElement} the element of the shell with this id
 */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`The page has no element ${id}.`);
  return node;
}

/**
 * Wait until Gradio has drawn the shell.
 * @param {string[]} ids
 * @returns {Promise<void>}
 */
export function whenPresent(ids) {
  const present = () => ids.every((id) => document.getElementById(id));
  if (present()) return Promise.resolve();
  return new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      if (!present()) return;
      observer.disconnect();
      resolve();
    });
    observer.observe(document.documentElement, { childList: true, subtree: true });
  });
}

/**
 * Put text on the clipboard, also where the modern clipboard is missing (plain http on a local network).
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "pg-vh", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * A quiet "Copy" button that says "Copied" for a moment.
 * @param {() => string} text
 * @param {string} label
 * @param {string} [name] what stands on it
 * @param {() => void} [done] is called when it was copied
 * @returns {HTMLElement}
 */
export function copyButton(text, label, name = "Copy", done = () => {}) {
  const words = el("span", { text: name });
  const button = el("button", { class: "pg-quiet", type: "button", "aria-label": label }, icon("copy"), words);
  button.addEventListener("click", async () => {
    const copied = await copyText(text());
    words.textContent = copied ? "Copied" : "Not copied";
    if (copied) done();
    button.dataset.done = "";
    setTimeout(() => {
      words.textContent = name;
      delete button.dataset.done;
    }, 1600);
  });
  return button;
}
