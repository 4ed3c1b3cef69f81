/** The text of a drawn answer as one would write it without Markdown: for the clipboard. */

const BLOCKS = /^(P|DIV|H[1-6]|UL|OL|LI|BLOCKQUOTE|PRE|TABLE|TR|HR)$/;

/**
 * @param {Element} root
 * @returns {string}
 */
export function plainText(root) {
  const pieces = [];
  walk(root, pieces);
  return pieces.join("").replace(/[ \t]+\n/g, "\n").replace(/\n{3,}/g, "\n\n").trim();
}

function walk(node, pieces) {
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) pieces.push(inCode(child) ? child.data : flowing(child.data, pieces));
    else if (child.nodeType === Node.ELEMENT_NODE) element(child, pieces);
  }
}

function element(node, pieces) {
  if (node.classList.contains("pg-code-bar")) return;
  if (node.hasAttribute("data-pg-math")) {
    // What KaTeX draws says everything twice: as it looks, and as MathML with the source.
    pieces.push(node.querySelector("annotation")?.textContent ?? node.textContent);
    if (node.getAttribute("data-pg-math") === "display") pieces.push("\n\n");
    return;
  }
  if (node.tagName === "BR") pieces.push("\n");
  if (node.tagName === "LI") pieces.push(marker(node));
  const block = BLOCKS.test(node.tagName);
  walk(node, pieces);
  if (/^T[HD]$/.test(node.tagName) && node.nextElementSibling) pieces.push("\t");
  if (block) pieces.push(/^(LI|TR)$/.test(node.tagName) || node.closest("li") ? "\n" : "\n\n");
}

function marker(item) {
  let depth = -1;
  for (let list = item.parentElement; list; list = list.parentElement.closest("ul, ol")) depth += 1;
  const list = item.parentElement;
  const number = Number(list.getAttribute("start") ?? 1) + [...list.children].indexOf(item);
  return `${"  ".repeat(depth)}${list.tagName === "OL" ? `${number}.` : "-"} `;
}

/** Spaces and line breaks of the source are one space, and none where a line begins. */
function flowing(text, pieces) {
  const line = text.replace(/\s+/g, " ");
  const before = pieces.findLast((piece) => piece !== "") ?? "\n";
  return before.endsWith("\n") ? line.trimStart() : line;
}

const inCode = (text) => text.parentElement.closest("pre") !== null;
