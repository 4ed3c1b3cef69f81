/** Markdown of the model → safe DOM. The libraries are fetched after the page is usable. */

import { dressCode } from "./code.js";
import { mathPlugin, typesetMath } from "./math.js";

// The version is part of the address, so that a browser may keep the file for good.
const MARKDOWN_IT = "/static/vendor/markdown-it/markdown-it.esm.min.mjs?v=15.0.3";
const HIGHLIGHT = "/static/vendor/highlight/highlight.min.js?v=11.12.0";
const PURIFY = "/static/vendor/dompurify/purify.min.js?v=3.4.18";
const SCHEMES = /^(?:https?:\/\/|mailto:)/i;

/** Nothing else survives: no images, forms, media, styles, classes, ids or event handlers. */
const ALLOWED = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div",
  ],
  ALLOWED_ATTR: ["href", "title", "start", "align", "data-pg-lang", "data-pg-math"],
  ALLOWED_URI_REGEXP: SCHEMES,
  ADD_URI_SAFE_ATTR: ["start", "align", "data-pg-lang", "data-pg-math"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/**
 * @typedef {object} Markdown
 * @property {any} parser markdown-it
 * @property {(tokens: any[], env: object) => DocumentFragment} draw
 */

let loading = null;
/** @type {Markdown|null} */
let loaded = null;

/** @returns {Promise<Markdown>} */
export function loadMarkdown() {
  loading ??= build().then((library) => (loaded = library));
  return loading;
}

/** @returns {Markdown|null} the libraries if they are here: what is drawn then has its height at once */
export function loadedMarkdown() {
  return loaded;
}

async function build() {
  const [{ default: MarkdownIt }, { default: highlighter }] = await Promise.all([
    import(MARKDOWN_IT),
    import(HIGHLIGHT),
    import(PURIFY),
  ]);
  const purifier = globalThis.DOMPurify;
  const parser = createParser(MarkdownIt);
  return { parser, draw: (tokens, env) => draw(tokens, env, { parser, purifier, highlighter }) };
}

function createParser(MarkdownIt) {
  const parser = new MarkdownIt({ html: false, linkify: true, breaks: false });
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  parser.validateLink = (url) => SCHEMES.test(url.trim());
  parser.use(mathPlugin);
  // The page has its own h1 and h2.
  parser.core.ruler.push("pg_headings", (state) => {
    for (const token of state.tokens) {
      if (token.type.startsWith("heading_")) token.tag = `h${Math.min(6, Number(token.tag[1]) + 2)}`;
      const style = token.attrGet("style");
      if (style) token.attrs[token.attrIndex("style")] = ["align", style.replace("text-align:", "")];
    }
  });
  const escape = parser.utils.escapeHtml;
  parser.renderer.rules.fence = (tokens, index) => {
    const language = tokens[index].info.trim().split(/[\s{:,]/)[0].slice(0, 30);
    return `<pre><code data-pg-lang="${escape(language)}">${escape(tokens[index].content)}</code></pre>`;
  };
  // A remote image would tell its host what was asked: it becomes a link that the reader may follow.
  parser.renderer.rules.image = (tokens, index) => {
    const source = tokens[index].attrGet("src") ?? "";
    const label = escape(tokens[index].content || "image");
    return `<a href="${escape(source)}">Image: ${label}</a>`;
  };
  return parser;
}

function draw(tokens, env, { parser, purifier, highlighter }) {
  const html = parser.renderer.render(tokens, parser.options, env);
  const fragment = purifier.sanitize(html, ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const table of fragment.querySelectorAll("table")) {
    const box = document.createElement("div");
    box.className = "pg-table";
    box.tabIndex = 0;
    table.replaceWith(box);
    box.append(table);
  }
  dressCode(fragment, highlighter);
  typesetMath(fragment);
  return fragment;
}
