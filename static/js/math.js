/** TeX in Markdown: `$…$`, `$$…$$`, `\(…\)` and `\[…\]` become placeholders that KaTeX fills in later. */

// The version is part of the address, so that a browser may keep the file for good.
const KATEX = "/static/vendor/katex/katex.min.js?v=0.19.1";
const KATEX_CSS = "/static/vendor/katex/katex.min.css?v=0.19.1";
/** `trust: false` keeps links, images and classes of the model out. */
const OPTIONS = { throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };

/** A block that grows is drawn again and again: its formulas are set once and copied. */
const KEPT = 400;
const set = new Map();

let loading = null;
let katex = null;

/** Pairs of delimiters for inline text; the display ones come first because they are longer. */
const INLINE = [
  { open: "$$", close: "$$", display: true },
  { open: "\\[", close: "\\]", display: true },
  { open: "\\(", close: "\\)", display: false },
  { open: "$", close: "$", display: false },
];

function inlineMath(state, silent) {
  const rest = state.src;
  const pair = INLINE.find(({ open }) => rest.startsWith(open, state.pos));
  if (!pair) return false;
  const begin = state.pos + pair.open.length;
  const end = closing(rest, begin, state.posMax, pair);
  if (end < 0) return false;
  if (!silent) {
    const token = state.push("pg_math", "span", 0);
    token.content = rest.slice(state.pos, end + pair.close.length);
    token.meta = pair.display;
  }
  state.pos = end + pair.close.length;
  return true;
}

/** A single `$` is money or a variable of a shell unless it hugs its formula and no digit follows. */
function closing(text, begin, limit, pair) {
  let end = text.indexOf(pair.close, begin);
  while (end >= 0 && end < limit) {
    const body = text.slice(begin, end);
    const escaped = text[end - 1] === "\\";
    const hugs = !/^\s|\s$/.test(body) && !/\d/.test(text[end + 1] ?? "");
    if (body.trim() && !escaped && (pair.open !== "$" || (hugs && !/[`\n]/.test(body)))) return end;
    end = text.indexOf(pair.close, end + 1);
  }
  return -1;
}

function blockMath(state, startLine, endLine, silent) {
  const at = state.bMarks[startLine] + state.tShift[startLine];
  const first = state.src.slice(at, state.eMarks[startLine]);
  const close = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\]" : "";
  if (!close || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const lines = [first.slice(2)];
  let line = startLine;
  while (!lines[lines.length - 1].trimEnd().endsWith(close)) {
    line += 1;
    if (line >= endLine || lines[0].includes(close)) return false;
    lines.push(state.getLines(line, line + 1, state.blkIndent, false));
  }
  if (silent) return true;
  const token = state.push("pg_math_block", "div", 0);
  token.block = true;
  token.content = first.slice(0, 2) + lines.join("\n").trimEnd();
  token.map = [startLine, line + 1];
  state.line = line + 1;
  return true;
}

/**
 * A markdown-it plugin.
 * @param {any} md
 */
export function mathPlugin(md) {
  const escape = md.utils.escapeHtml;
  md.inline.ruler.before("escape", "pg_math", inlineMath);
  md.block.ruler.before("fence", "pg_math_block", blockMath, { alt: ["paragraph", "blockquote", "list"] });
  md.renderer.rules.pg_math = (tokens, index) => {
    const token = tokens[index];
    return `<span data-pg-math="${token.meta ? "display" : "inline"}">${escape(token.content)}</span>`;
  };
  md.renderer.rules.pg_math_block = (tokens, index) =>
    `<div data-pg-math="display">${escape(tokens[index].content)}</div>`;
}

/**
 * Fetch KaTeX and its styles: a formula without them would change its size a moment later.
 * @returns {Promise<any>}
 */
export function loadMaths() {
  loading ??= (async () => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = KATEX_CSS;
    const styled = new Promise((resolve) => {
      link.onload = resolve;
      link.onerror = resolve;
    });
    document.head.append(link);
    await Promise.all([import(KATEX), styled]);
    katex = globalThis.katex;
    return katex;
  })();
  return loading;
}

/**
 * Set every formula below `root`; KaTeX is fetched when the first one appears.
 * @param {ParentNode} root
 */
export function typesetMath(root) {
  for (const node of root.querySelectorAll("[data-pg-math]")) {
    if (katex) typeset(node, katex);
    else loadMaths().then((library) => typeset(node, library), () => {});
  }
}

/** What KaTeX does not understand stays as it was written, delimiters included. */
function typeset(node, library) {
  const source = node.textContent ?? "";
  const width = source.startsWith("$") && !source.startsWith("$$") ? 1 : 2;
  const displayMode = node.getAttribute("data-pg-math") === "display";
  const key = `${displayMode} ${source}`;
  const known = set.get(key);
  if (known) {
    node.replaceChildren(known.cloneNode(true));
    return;
  }
  try {
    library.render(source.slice(width, -width).trim(), node, { ...OPTIONS, displayMode });
    if (set.size >= KEPT) set.delete(set.keys().next().value);
    set.set(key, node.firstChild.cloneNode(true));
  } catch {
    node.textContent = source;
    node.removeAttribute("data-pg-math");
  }
}
