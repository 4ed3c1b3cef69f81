/** The card at the bottom: text, effort, model, send and stop. */

import { isRestarting } from "./api.js";
import { warning } from "./context.js";
import { counted, countdown } from "./countdown.js";
import { el } from "./dom.js";
import { count, isDemo, modelName } from "./format.js";
import { helpsToSignIn, toSignIn } from "./sign_in.js";
import { effective } from "./values.js";

const DRAFT = "pg-draft:";
const ERROR_SHOWN_MS = 12_000;
const PENDING = "Your message goes out as soon as the model is ready. Type to hold it back.";
const PENDING_HERE = "Your message goes out as soon as the conversation is here. Type to hold it back.";
const RESTARTING = "The playground is restarting. Your text is kept, and this page keeps trying.";
const PENDING_RESTART = "The playground is restarting. Your message goes out as soon as it is back. Type to hold it back.";

export class Composer {
  /**
   * @param {{form: HTMLFormElement, input: HTMLTextAreaElement, send: HTMLButtonElement, stop: HTMLButtonElement,
   *   hint: HTMLElement, ways: HTMLElement, efforts: NodeListOf<HTMLInputElement>}} nodes
   * @param {import("./state.js").Store<any>} store
   * @param {{send: (text: string) => Promise<boolean>, stop: () => void, effort: (effort: string) => void,
   *   fresh: () => void, dropOldest: () => Promise<void>}} on
   */
  constructor(nodes, store, on) {
    Object.assign(this, nodes);
    this.store = store;
    this.on = on;
    this.error = "";
    /** Until a refused message may be sent again. @type {{node: HTMLElement, stop: () => void}|null} */
    this.wait = null;
    /** Whether signing in is another way on than waiting. */
    this.mayJoin = false;
    /** What the hint shows. */
    this.words = "";
    /** @type {{node: HTMLElement, stop: () => void}|null} */
    this.drawn = null;
    /** Enter was pressed while the model was on its way: the text goes out when it is there. */
    this.pending = false;
    this.draftKey = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("input", () => this.edited());
    this.input.addEventListener("keydown", (event) => this.key(event));
    // Stop appears where Send was: the second click of a double click is not meant for it.
    this.stop.addEventListener("click", (event) => event.detail > 1 || on.stop());
    for (const radio of this.efforts) radio.addEventListener("change", () => radio.checked && on.effort(radio.value));
    // A click beside the text means the text.
    this.form.addEventListener("pointerdown", (event) => {
      if (event.target === this.form || event.target.classList.contains("pg-composer-row")) {
        event.preventDefault();
        this.input.focus();
      }
    });
    store.on(["me"], ({ me }) => this.mayJoin && me.kind === "account" && this.setError(""));
    store.on(["conversationId"], ({ conversationId }) => this.recall(conversationId));
    store.on(["ready", "refusal", "away", "model", "running", "sending", "connection", "view", "preferences", "settings", "context"], () =>
      this.draw(),
    );
    this.input.disabled = false;
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.submit();
  }

  edited() {
    this.pending = false;
    this.setError("");
    const text = this.input.value;
    try {
      if (text) sessionStorage.setItem(this.draftKey, text);
      else sessionStorage.removeItem(this.draftKey);
    } catch {
      // Storage may be full or forbidden; the draft then lives only as long as the page.
    }
    this.grow();
    this.draw();
  }

  recall(id) {
    const key = DRAFT + (id ?? "new");
    if (key === this.draftKey) return;
    this.draftKey = key;
    // Enter was meant for the text that stood here.
    this.pending = false;
    // A new conversation got its address while the user was already typing on.
    if (this.store.get().sending && this.input.value) {
      this.edited();
      return;
    }
    let saved = "";
    try {
      saved = sessionStorage.getItem(key) ?? "";
    } catch {
      saved = "";
    }
    this.input.value = saved;
    this.setError("");
    this.grow();
  }

  /** @param {string} text */
  fill(text) {
    this.input.value = text;
    this.edited();
    this.input.focus();
  }

  focus() {
    // On a phone the keyboard would cover the page that was just opened.
    if (matchMedia("(pointer: fine)").matches) this.input.focus({ preventScroll: true });
  }

  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }

  async submit() {
    const text = this.input.value;
    if (this.store.get().running) return;
    if (this.blocked() !== null) {
      this.pending = this.onItsWay() && text.trim() !== "" && this.tooLong() === null;
      this.draw();
      return;
    }
    this.pending = false;
    if (!text.trim()) {
      if (text) this.setError("Write a message first.");
      return;
    }
    const key = this.draftKey;
    this.input.value = "";
    this.grow();
    this.setError("");
    try {
      if (!(await this.on.send(text))) this.restore(text, key);
      else forget(key, text);
    } catch (error) {
      this.restore(text, key);
      if (isRestarting(error)) this.pending = this.draftKey === key;
      else this.setError(error.message, error.status === 429 ? error.retryAfter : null, helpsToSignIn(this.store.get(), error));
      if (error.code === "context_length_exceeded" && this.draftKey === key) this.offerRoom();
    }
    this.draw();
  }

  /** The context is full: nothing is cut in silence, and the ways on are buttons. */
  offerRoom() {
    clearTimeout(this.errorTimer);
    const { settings, preferences, conversationId } = this.store.get();
    const way = (words, testid, run) => {
      const button = el("button", { class: "pg-button pg-button-plain", type: "button", testid, text: words });
      button.addEventListener("click", run);
      return button;
    };
    const drops = effective({ settings, preferences }, "when_full") === "drop_oldest";
    const ways = [way("Start a new conversation with it", "room-fresh", () => this.moveOn())];
    if (!drops && conversationId) ways.unshift(way("Leave out the oldest turns", "room-drop", () => this.dropOldest()));
    this.ways.replaceChildren(...ways);
    this.ways.hidden = !conversationId;
  }

  async dropOldest() {
    const key = this.draftKey;
    try {
      await this.on.dropOldest();
      if (this.draftKey !== key) return;
      this.setError("");
      await this.submit();
    } catch (error) {
      this.setError(error.message);
    }
  }

  moveOn() {
    const text = this.input.value;
    this.input.value = "";
    this.edited();
    this.on.fresh();
    this.fill(text);
  }

  /** What could not be sent goes back, unless something new was typed meanwhile. */
  restore(text, key) {
    if (this.draftKey !== key) return;
    this.input.value = this.input.value ? `${text}\n${this.input.value}` : text;
    this.edited();
  }

  /**
   * @param {string} text
   * @param {number|null} [seconds] after which it is worth another try
   * @param {boolean} [mayJoin] whether signing in helps, too
   */
  setError(text, seconds = null, mayJoin = false) {
    clearTimeout(this.errorTimer);
    this.wait?.stop();
    this.error = text;
    this.mayJoin = mayJoin;
    this.wait = seconds ? countdown(seconds, () => this.setError("")) : null;
    this.ways.hidden = true;
    if (text && !this.wait) this.errorTimer = setTimeout(() => this.setError(""), ERROR_SHOWN_MS);
    this.draw();
  }

  /** @returns {boolean} whether it can be sent soon without anybody's doing */
  onItsWay() {
    const { ready, refusal, model, view, connection } = this.store.get();
    if (!ready) return !refusal && connection !== "offline";
    if (connection === "restarting") return true;
    if (connection === "offline" || ["missing", "error"].includes(view)) return false;
    if (model.active?.stage === "ready") return view === "loading";
    return (model.active ?? model.target)?.stage !== "failed";
  }

  /** @returns {string|null} why nothing can be sent now; "" when it needs no words */
  blocked() {
    const { ready, refusal, model, sending, view, connection, away } = this.store.get();
    if (!ready) return refusal || (this.pending ? PENDING : "Connecting… you can already type.");
    if (away) return "";
    if (view === "loading") return this.pending ? PENDING_HERE : "";
    if (view === "missing" || view === "error") return "";
    if (connection === "offline") return "You are offline. Your text is kept, and you can type on.";
    if (connection === "restarting") return this.pending ? PENDING_RESTART : RESTARTING;
    const active = model.active;
    if (active?.stage !== "ready") return this.pending ? PENDING : waiting(active ?? model.target);
    return sending ? "" : this.tooLong();
  }

  /** The server counts Unicode characters, not halves of them. */
  tooLong() {
    const limit = this.store.get().limits.max_message_chars;
    const text = this.input.value;
    if (!limit || text.length <= limit) return null;
    const over = [...text].length - limit;
    return over > 0 ? `The message is ${count(over)} characters too long.` : null;
  }

  /** What stands beside a countdown. @returns {(Node|string)[]} */
  otherWay() {
    return this.mayJoin ? [" Or ", ...toSignIn(() => this.store.get().signIn, "quota-sign-in")] : [];
  }

  draw() {
    const state = this.store.get();
    const { running, connection } = state;
    // What was meant for a quiet conversation does not break into a reply.
    if (running || state.view === "missing" || state.view === "error") this.pending = false;
    const blocked = this.blocked();
    const offer = this.input.value.trim() !== "";
    if (this.pending && blocked === null) {
      this.submit();
      return;
    }
    this.send.hidden = Boolean(running);
    this.stop.hidden = !running;
    this.send.disabled = (blocked !== null && !this.onItsWay()) || !offer;
    const effort = effective(state, "effort");
    for (const radio of this.efforts) radio.checked = radio.value === effort;
    const lost = connection === "reconnecting" ? "Connection lost. Trying again…" : "";
    const words = this.error || lost || blocked || (state.view === "open" ? warning(state) : "");
    if (this.words !== words || this.drawn !== this.wait) {
      this.words = words;
      this.drawn = this.wait;
      if (this.wait) this.hint.replaceChildren(...counted(words, this.wait.node), ...this.otherWay());
      else this.hint.textContent = words;
    }
    this.hint.classList.toggle("pg-hint-error", Boolean(this.error));
  }
}

/** What was typed since the text was sent is a draft of its own. */
function forget(key, text) {
  try {
    if (sessionStorage.getItem(key) === text) sessionStorage.removeItem(key);
  } catch {
    // Nothing was kept.
  }
}

function waiting(model) {
  if (!model || model.stage === "none") return "No model is loaded yet. You can already type.";
  if (model.stage === "failed") return "No model could be loaded, so nothing can be sent. Your text is kept.";
  const name = isDemo(model) ? "The demonstration model" : modelName(model.name, false);
  const doing = { queued: "is about to load", downloading: "is being downloaded", warming: "is warming up" }[model.stage];
  return `${name} ${doing ?? "is loading"}… you can already type.`;
}
