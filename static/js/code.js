/** Code blocks: a bar with the language and a Copy button, and colours. */

import { copyButton, el } from "./dom.js";

/**
 * Dress every `<pre><code>` below `root`.
 * @param {ParentNode} root
 * @param {any} highlighter highlight.js
 */
export function dressCode(root, highlighter) {
  for (const code of root.querySelectorAll("pre > code")) {
    const language = (code.getAttribute("data-pg-lang") ?? "").toLowerCase();
    colour(code, language, highlighter);
    const pre = code.parentElement;
    pre.tabIndex = 0;
    const bar = el(
      "div",
      { class: "pg-code-bar" },
      el("span", { text: language || "text" }),
      copyButton(() => code.textContent ?? "", "Copy code"),
    );
    const box = el("div", { class: "pg-code" }, bar);
    pre.replaceWith(box);
    box.append(pre);
  }
}

function colour(code, language, highlighter) {
  if (!language || !highlighter.getLanguage(language)) return;
  const text = code.textContent ?? "";
  // highlight.js escapes what it is given and adds only spans with classes of its own.
  if (text.length < 60_000) code.innerHTML = highlighter.highlight(text, { language, ignoreIllegals: true }).value;
}
