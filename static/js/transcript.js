/** Draws the open conversation: its turns, the empty page, loading, and what went wrong. */

import { el } from "./dom.js";
import { Follower } from "./scroll.js";
import { TurnView } from "./turn.js";
import { guessHeight, isOpen, makeTurn, roundsOf } from "./turns.js";
import { focusVersion } from "./versions.js";
import { VirtualList } from "./virtual.js";

const FLASH_MS = 1800;

/**
 * @typedef {import("./turns.js").Turn} Turn
 * @typedef {object} Handlers what a reader can ask for
 * @property {(turn: Turn, text: string) => Promise<void>} edit
 * @property {(turn: Turn, fields: object) => void} regenerate
 * @property {(turn: Turn, of: string, which: object) => Promise<void>} version show another version of a turn's question or reply
 * @property {(turn: Turn, offer: string, fields?: any) => void} offer what was proposed under a reply that fell short
 * @property {(turn: Turn, results: any[]) => Promise<void>} results what the calls of a reply gave back
 * @property {() => boolean} expectsJson whether the next answer is asked for as JSON
 * @property {(generation: any) => void} raw
 * @property {() => void} changeModel
 * @property {(text: string) => void} toast
 * @property {() => void} fresh
 * @property {() => void} reload
 */

export class Transcript {
  /**
   * @param {{scroller: HTMLElement, list: HTMLElement, jump: HTMLElement, app: HTMLElement}} nodes
   * @param {Handlers} on
   */
  constructor({ scroller, list, jump, app }, on) {
    this.list = list;
    this.app = app;
    this.on = on;
    this.showReasoning = false;
    this.note = null;
    this.follower = new Follower(scroller, list, jump);
    this.turns = el("div", { class: "pg-turns" });
    this.window = new VirtualList(scroller, this.turns, {
      guess: guessHeight,
      draw: (turn) => this.view(turn),
      stays: (turn) => turn.view.stays(),
      keep: () => this.follower.keep(),
      atEnd: () => this.follower.following,
    });
    jump.addEventListener("click", () => this.toEnd());
  }

  /** @returns {Turn[]} */
  get items() {
    return this.window.items;
  }

  clear(view) {
    this.window.set([]);
    this.note = null;
    this.list.replaceChildren(this.turns);
    this.app.dataset.view = view;
    this.list.removeAttribute("aria-busy");
  }

  empty() {
    this.clear("empty");
  }

  loading() {
    this.clear("loading");
    this.list.setAttribute("aria-busy", "true");
    const line = (width) => el("div", { class: "pg-bone", style: `width:${width}` });
    const bones = el("div", { class: "pg-skeleton", testid: "skeleton" }, el("div", { class: "pg-bone pg-bone-user" }));
    bones.append(line("92%"), line("97%"), line("64%"));
    this.list.append(bones);
  }

  /** @param {string} message @param {boolean} missing @param {Node|null} [way] what else may help */
  failed(message, missing, way = null) {
    this.clear(missing ? "missing" : "error");
    const kind = way ? "pg-button pg-button-plain" : "pg-button";
    const button = el("button", { class: kind, type: "button", text: missing ? "New conversation" : "Try again" });
    button.addEventListener("click", missing ? this.on.fresh : this.on.reload);
    this.list.append(el("div", { class: "pg-blank", testid: "page-error" }, el("p", { text: message }), el("div", { class: "pg-blank-ways" }, way, button)));
  }

  /** @param {Turn[]} turns the path to the leaf, seen from its end */
  show(turns) {
    this.clear("open");
    this.follower.following = true;
    this.set(turns);
    this.toEnd();
  }

  /**
   * The path has changed: what is the same stays as it is, and what is read stays where it is.
   * @param {Turn[]} turns
   */
  update(turns) {
    const known = new Map(this.items.map((turn) => [turn.key, turn]));
    const next = turns.map((turn) => (alike(known.get(turn.key), turn) ? refreshed(known.get(turn.key), turn) : turn));
    const waiting = this.items.filter((turn) => turn.question?.pending && !next.includes(turn));
    this.app.dataset.view = "open";
    this.set([...next, ...waiting]);
  }

  /** @param {Turn[]} turns */
  set(turns) {
    const last = this.items.at(-1);
    this.window.set(turns);
    if (last !== turns.at(-1)) last?.view?.element.classList.remove("pg-last");
    this.markLast();
  }

  /** The last reply shows its actions; the others do when they are pointed at. */
  markLast() {
    const last = this.items.at(-1);
    for (const turn of this.items) turn.view?.element.classList.toggle("pg-last", turn === last);
  }

  /** The end is not to be followed any more: somebody is busy here. */
  stay() {
    this.follower.following = false;
    this.follower.hold();
  }

  toEnd() {
    this.follower.toEnd();
    this.window.update();
    this.follower.jump();
  }

  /** What had the focus left the page with an older version: go on where the next thing is written, or can be read. */
  keepFocus() {
    if (document.activeElement && document.activeElement !== document.body) return;
    const typing = matchMedia("(pointer: fine)").matches && document.getElementById("pg-input");
    (typing || this.follower.scroller).focus({ preventScroll: true });
  }

  /** @param {string} key @returns {Turn|undefined} */
  find(key) {
    return this.items.find((turn) => turn.key === key);
  }

  /**
   * @param {string} text
   * @param {number} [at] so many turns before it stay
   * @returns {{turn: Turn, undo: () => void}} the question that waits to be taken
   */
  addQuestion(text, at = this.items.length) {
    if (this.app.dataset.view !== "open") this.clear("open");
    const before = this.items;
    const turn = makeTurn({ id: null, content: text, pending: "sending" }, null);
    this.say(null);
    this.set([...before.slice(0, at), turn]);
    this.toEnd();
    const undo = () => {
      if (this.items.includes(turn)) this.set(at < before.length ? before : this.items.filter((each) => each !== turn));
    };
    return { turn, undo };
  }

  /** @param {Turn} turn that was waiting @param {any} message as the server has it */
  taken(turn, message) {
    turn.key = message.id;
    turn.question = message;
    if (!turn.view) return;
    turn.view.element.dataset.turn = message.id;
    turn.view.question.refresh();
  }

  /**
   * The turn gets this reply, and those after it leave the path.
   * @param {Turn} turn
   * @param {any} generation
   * @returns {import("./message.js").Reply}
   */
  startReply(turn, generation) {
    turn.before = [];
    turn.generation = generation;
    turn.messages = [];
    turn.touched = true;
    if (!turn.replies.includes(generation.id)) turn.replies = [...turn.replies, generation.id];
    this.set(this.items.slice(0, this.items.indexOf(turn) + 1));
    this.view(turn);
    const reply = turn.view.reply?.generation === generation && turn.view.reply.clock ? turn.view.reply : turn.view.answer();
    this.window.update(true);
    this.toEnd();
    this.markLast();
    return reply;
  }

  /** @returns {{turn: Turn, reply: import("./message.js").Reply}|null} the reply that is being written */
  running() {
    const turn = this.items.findLast(isOpen);
    if (!turn) return null;
    turn.touched = true;
    const { reply } = this.view(turn);
    this.window.update(true);
    return { turn, reply };
  }

  /**
   * The reply goes on from its calls, where it stands; what came after those calls leaves the path.
   * @param {Turn} turn
   * @param {any} generation that `answers` one of the turn's
   * @param {any[]} [results] messages of the functions
   * @returns {import("./message.js").Reply}
   */
  goOn(turn, generation, results = []) {
    const rounds = roundsOf(turn);
    const at = rounds.findIndex((round) => round.id === generation.answers);
    const called = { ...rounds[at], next_generation_id: generation.id };
    const others = called.next_generation_ids ?? [];
    called.next_generation_ids = others.includes(generation.id) ? others : [...others, generation.id];
    turn.before = [...rounds.slice(0, at), called];
    turn.messages = turn.messages.filter((message) => turn.before.some((round) => round.id === message.generation_id));
    turn.generation = generation;
    turn.touched = true;
    this.set(this.items.slice(0, this.items.indexOf(turn) + 1));
    const { reply } = this.view(turn);
    const drawn = at === rounds.length - 1 && reply ? reply : turn.view.answer();
    if (drawn === reply) reply.goOn();
    if (results.length) drawn.results(results);
    this.window.update(true);
    this.markLast();
    return drawn;
  }

  /** @param {Turn} turn @returns {TurnView} also of a turn that is not drawn now */
  view(turn) {
    turn.view ??= new TurnView(turn, { showReasoning: this.showReasoning, on: this.on });
    return turn.view;
  }

  /**
   * Scroll to a message, open what hides it, and show for a moment which it is.
   * @param {string} id
   * @returns {Promise<boolean>} whether it is on the path
   */
  async reveal(id) {
    const turn = this.items.find((each) => each.key === id || each.messages.some((message) => message.id === id));
    if (!turn) return false;
    this.follower.following = false;
    this.window.goTo(turn);
    turn.touched = true;
    this.follower.show(turn.view.element);
    const found = id === turn.question?.id ? turn.view.question.bubble : await turn.view.reply?.reveal(id);
    const node = found ?? turn.view.element;
    this.follower.show(node);
    node.classList.add("pg-flash");
    setTimeout(() => node.classList.remove("pg-flash"), FLASH_MS);
    return true;
  }

  /**
   * Give the focus to the version switch of what stands now in place of another version.
   * @param {number} index of the turn
   * @param {string} of
   * @param {string} step
   * @param {number|null} top where the turn was in the window
   * @returns {string} what to tell
   */
  focusVersion(index, of, step, top) {
    const turn = this.items[index];
    if (turn && !turn.view?.element.isConnected) this.window.goTo(turn);
    const element = turn?.view?.element;
    if (element && top !== null) {
      this.follower.place(this.follower.scroller.scrollTop + element.getBoundingClientRect().top - top);
      this.follower.hold();
      this.window.update();
    }
    return focusVersion(element, of, step);
  }

  /**
   * Something to decide, below the last turn.
   * @param {HTMLElement|null} node
   */
  say(node) {
    this.note?.remove();
    this.note = node;
    if (!node) return;
    this.list.append(node);
    this.follower.toEnd();
  }

  /** @param {boolean} open */
  setReasoning(open) {
    if (this.showReasoning === open) return;
    this.showReasoning = open;
    for (const turn of this.items) {
      if (turn.view) turn.view.how.showReasoning = open;
      turn.view?.reply?.showReasoning(open);
    }
  }
}

/** @param {Turn|undefined} old @param {Turn} fresh @returns {boolean} whether what is drawn of the old one is still right */
function alike(old, fresh) {
  if (!old || old.generation?.id !== fresh.generation?.id) return false;
  return isOpen(old) || old.generation?.status === fresh.generation?.status;
}

/** The old turn, which knows of versions that were made elsewhere. */
function refreshed(old, fresh) {
  const same = String(old.replies) === String(fresh.replies) && String(old.question?.siblings) === String(fresh.question?.siblings);
  if (same || isOpen(old)) return old;
  old.replies = fresh.replies;
  old.question = fresh.question;
  old.view?.question?.refresh();
  old.view?.reply?.settle();
  return old;
}
