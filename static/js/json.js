/**
 * JSON read by hand: browsers' own parser names the place of a mistake each in its own way, or not at all, and changes
 * numbers that are longer than a float holds. Here a mistake has a line and a column, and a number keeps its digits.
 */

const DEEPEST = 200;
const SHORT = 64;
const BLANK = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_$][\w$]*/y;
const QUOTES = "names and texts stand in double quotes, not in single ones.";
const WORDS = new Map([["true", true], ["false", false], ["null", null]]);
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/**
 * @typedef {{kind: "object", entries: [string, Node][]} | {kind: "array", items: Node[]} | {kind: "string", value: string}
 *   | {kind: "number", text: string} | {kind: "word", value: boolean|null}} Node
 */

/** What is wrong with a text that should be JSON; `message` is made for people. */
export class JsonError extends Error {
  /** @param {string} reason @param {string} text @param {number} at */
  constructor(reason, text, at) {
    const before = text.slice(0, at);
    const line = before.split("\n").length;
    const column = [...before.slice(before.lastIndexOf("\n") + 1)].length + 1;
    super(`Line ${line}, column ${column}: ${reason}`);
    this.line = line;
    this.column = column;
    this.at = at;
  }
}

/** @param {string} text @returns {Node} @throws {JsonError} */
export function parseJson(text) {
  return new Reader(text).whole();
}

/** @param {string} text @returns {Node|null} null where it is no JSON */
export function tryJson(text) {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
}

/** @param {Node} node @returns {boolean} whether it has anything inside that could be opened and closed */
export const isTree = (node) => node.kind === "object" || node.kind === "array";

/** @param {Node} node @returns {number} how many entries or items it has */
export const sizeOf = (node) => (node.kind === "object" ? node.entries.length : node.kind === "array" ? node.items.length : 0);

/**
 * @param {Node} node
 * @param {string} [indent]
 * @returns {string} the same JSON, one entry a line; what is short and has nothing inside to open stays on one line
 */
export function pretty(node, indent = "") {
  const inner = `${indent}  `;
  if (node.kind === "number") return node.text;
  if (!isTree(node)) return JSON.stringify(node.value);
  const [open, close] = node.kind === "object" ? "{}" : "[]";
  if (!sizeOf(node)) return open + close;
  const lines = node.kind === "object"
    ? node.entries.map(([key, value]) => `${JSON.stringify(key)}: ${pretty(value, inner)}`)
    : node.items.map((item) => pretty(item, inner));
  const short = lines.join(", ");
  const children = node.kind === "object" ? node.entries.map(([, value]) => value) : node.items;
  if (indent && short.length <= SHORT && !children.some(isTree)) return open + (open === "{" ? ` ${short} ` : short) + close;
  return `${open}\n${inner}${lines.join(`,\n${inner}`)}\n${indent}${close}`;
}

/** @param {any} value @returns {string} as `pretty` writes it */
export const written = (value) => pretty(parseJson(JSON.stringify(value)));

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(reason, at = this.at) {
    throw new JsonError(at >= this.text.length && at === this.at ? `the text ends here, but ${reason}` : reason, this.text, at);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    return found;
  }

  /** @returns {string} the next character that is not blank, which stays where it is; "" at the end */
  next() {
    this.match(BLANK);
    return this.text[this.at] ?? "";
  }

  whole() {
    if (this.next() === "") this.fail("a value is missing.");
    const node = this.value(0);
    if (this.next() !== "") this.fail("there is something after the end of the JSON.");
    return node;
  }

  value(depth) {
    if (depth > DEEPEST) this.fail("this is nested too deeply.");
    const sign = this.next();
    if (sign === "{") return this.object(depth);
    if (sign === "[") return this.array(depth);
    if (sign === '"') return { kind: "string", value: this.string() };
    const begin = this.at;
    const number = this.match(NUMBER);
    if (number && !/[\w.]/.test(this.text[this.at] ?? "")) return { kind: "number", text: number };
    this.at = begin;
    const word = this.match(WORD);
    if (WORDS.has(word)) return { kind: "word", value: WORDS.get(word) };
    this.at = begin;
    return this.fail(notValue(sign, word, number));
  }

  object(depth) {
    this.at += 1;
    /** @type {[string, Node][]} */
    const entries = [];
    while (this.next() !== "}") {
      if (this.text[this.at] !== '"') this.fail(this.text[this.at] === "'" ? QUOTES : "a name in double quotes is missing.");
      const key = this.string();
      if (this.next() !== ":") this.fail("a colon is missing after the name.");
      this.at += 1;
      entries.push([key, this.value(depth + 1)]);
      if (!this.more("}")) break;
    }
    this.at += 1;
    return { kind: "object", entries };
  }

  array(depth) {
    this.at += 1;
    const items = [];
    while (this.next() !== "]") {
      items.push(this.value(depth + 1));
      if (!this.more("]")) break;
    }
    this.at += 1;
    return { kind: "array", items };
  }

  /** Past a comma; false where the end comes instead. */
  more(end) {
    const sign = this.next();
    if (sign === end) return false;
    if (sign !== ",") this.fail(`a comma or ${end} is missing.`);
    const comma = this.at;
    this.at += 1;
    if (this.next() === end) this.fail(`there must be no comma before ${end}.`, comma);
    return true;
  }

  string() {
    const begin = this.at;
    let value = "";
    this.at += 1;
    let from = this.at;
    for (;;) {
      const sign = this.text[this.at];
      if (sign === undefined) this.fail("the double quotes that begin here are never closed.", begin);
      if (sign === '"') break;
      if (sign < " ") this.fail(sign === "\n" ? "a line break in a text is written \\n." : "this invisible character must be written with a backslash.");
      if (sign !== "\\") {
        this.at += 1;
        continue;
      }
      value += this.text.slice(from, this.at) + this.escape();
      from = this.at;
    }
    value += this.text.slice(from, this.at);
    this.at += 1;
    return value;
  }

  escape() {
    const sign = this.text[this.at + 1];
    const code = this.text.slice(this.at + 2, this.at + 6);
    if (sign === "u" && /^[\da-fA-F]{4}$/.test(code)) {
      this.at += 6;
      return String.fromCharCode(parseInt(code, 16));
    }
    if (sign === undefined || ESCAPES[sign] === undefined) this.fail("after a backslash comes one of \" \\ / b f n r t, or u with four digits.");
    this.at += 2;
    return ESCAPES[sign];
  }
}

function notValue(sign, word, number) {
  if (sign === "'") return QUOTES;
  if (sign === ",") return "a value is missing before the comma.";
  if (number || /[-+.\d]/.test(sign)) return "this is not a number as JSON writes it.";
  if (word) return `${word.length > 20 ? "this word" : word} is no value: texts stand in double quotes, and true, false and null are written small.`;
  return "a value is missing.";
}
