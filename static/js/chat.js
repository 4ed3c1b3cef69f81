/** The open conversation: load it, ask, follow the reply, stop it, ask again, go through its branches. */

import * as api from "./api.js";
import { showRaw } from "./raw.js";
import { Rescue } from "./rescue.js";
import { BUSY, Rounds } from "./rounds.js";
import * as router from "./router.js";
import { signInLink, wayOn } from "./sign_in.js";
import { follow } from "./stream.js";
import { totalsOf, turnsOf } from "./turns.js";
import { answerSchema, effective } from "./values.js";

const WAITING = "Waiting for the reply above";
/** A question that is not taken within this time says what it waits for. */
const SOON_MS = 700;
const AGAIN_MS = 3000;
const RESTART_MS = 2000;
const FULL = "context_length_exceeded";

export class Chat {
  /**
   * @param {import("./state.js").Store<any>} store
   * @param {{announce: (text: string) => void, toast: (text: string) => void, listChanged: (conversation?: any) => void,
   *   recheck: () => void, changeModel: () => void, stillMe: () => Promise<boolean>}} parts `recheck` asks again how the
   *   model is, `changeModel` shows the models, `stillMe` asks whether the page's person is still signed in
   */
  constructor(store, { announce, toast, listChanged, recheck, changeModel, stillMe }) {
    this.store = store;
    this.announce = announce;
    this.toast = toast;
    this.listChanged = listChanged;
    this.recheck = recheck;
    this.changeModel = changeModel;
    this.stillMe = stillMe;
    /** @type {import("./transcript.js").Transcript} */
    this.transcript = null;
    this.unfollow = () => {};
    this.loading = null;
    this.sent = null;
    /** @type {string|null} the last message that stands here */
    this.leaf = null;
    this.rescue = new Rescue(this);
    this.rounds = new Rounds(this);
    this.sequence = 0;
    this.updatedAt = "";
    /** Answers about the path that were asked for before this many changes of it are out of date. */
    this.changes = 0;
  }

  /** What the transcript asks for. @returns {import("./transcript.js").Handlers} */
  handlers() {
    return {
      edit: (turn, text) => this.edit(turn, text),
      regenerate: (turn, fields) => this.again({ regenerate: turn.question.id, ...fields }, turn),
      version: (turn, of, which) => this.version(turn, of, which),
      offer: (turn, offer, fields) => this.rescue.take(turn, offer, fields),
      results: (turn, results) => this.rounds.send(turn, results),
      expectsJson: () => Boolean(answerSchema(this.store.get())),
      raw: (generation) => showRaw(generation),
      changeModel: this.changeModel,
      toast: this.toast,
      fresh: () => this.open(null, true),
      reload: () => this.reload(),
    };
  }

  /**
   * @param {string|null} id
   * @param {boolean} [push] change the address, too
   * @param {{message: string|null, kind?: string}|null} [target] scroll to this message
   */
  async open(id, push = false, target = null) {
    const here = id !== null && id === this.store.get().conversationId && this.store.get().view === "open";
    if (push) router.push(id);
    if (here && target) {
      await this.reveal(id, target);
      return;
    }
    this.leave();
    this.store.set({ conversationId: id, title: "", view: id ? "loading" : "empty", running: null, sending: false });
    this.store.set({ settings: {}, context: null, totals: null });
    if (id === null) {
      this.transcript.empty();
      return;
    }
    const loading = new AbortController();
    this.loading = loading;
    const slow = setTimeout(() => this.transcript.loading(), 120);
    this.transcript.clear("loading");
    try {
      const answer = await api.conversation(id, loading.signal);
      clearTimeout(slow);
      this.take(answer);
      if (target) await this.reveal(id, target);
    } catch (error) {
      // What was an account's is not there for whoever is here after it.
      if (error.status === 404 && this.store.get().me.kind === "account") await this.stillMe();
      if (!loading.signal.aborted) this.refused(error);
    } finally {
      clearTimeout(slow);
    }
  }

  /** @param {any} answer of the server @param {boolean} [keep] what is read stays where it is */
  take({ conversation, messages, generations, totals, context }, keep = false) {
    const turns = turnsOf(messages, generations);
    this.changes += 1;
    this.know(conversation);
    this.leaf = messages.at(-1)?.id ?? null;
    const figures = { totals: totals ?? totalsOf(turns), context: context ?? null };
    if (keep) this.transcript.update(turns);
    else this.transcript.show(turns);
    const running = this.transcript.running();
    const id = running?.turn.generation.id ?? null;
    const same = id === this.store.get().running;
    // Only with all of it there may something that waited be sent.
    this.store.set({ view: "open", ...figures, running: id });
    if (same) return;
    this.unfollow();
    this.unfollow = () => {};
    if (running) this.attach(running.reply);
  }

  know({ title, settings, sequence, updated_at: updatedAt }) {
    this.sequence = Math.max(this.sequence, sequence ?? 0);
    this.updatedAt = updatedAt;
    this.store.set({ title, settings: settings ?? {} });
  }

  async reveal(id, { message }) {
    if (!message || (await this.transcript.reveal(message))) return;
    const answer = await api.selectBranch(id, { message_id: message });
    if (this.store.get().conversationId !== id) return;
    this.take(answer, true);
    await this.transcript.reveal(message);
  }

  refused(error) {
    const missing = error.status === 404;
    this.store.set({ view: missing ? "missing" : "error", title: "" });
    const text = missing ? "This conversation does not exist or is not yours." : error.message;
    const { me, signIn } = this.store.get();
    const mayBeTheirs = missing && signIn.available && me.kind !== "account";
    const way = mayBeTheirs ? signInLink(() => this.store.get().signIn, { testid: "missing-sign-in" }) : null;
    this.transcript.failed(text, missing, way);
    this.announce(text);
  }

  reload() {
    return this.open(this.store.get().conversationId);
  }

  /** Fetch the conversation again; what is read, written and typed here stays. */
  async refresh() {
    const { conversationId: id, view } = this.store.get();
    if (id === null || view !== "open") return;
    const asked = (this.changes += 1);
    try {
      const answer = await api.conversation(id);
      const now = this.store.get();
      if (this.changes === asked && now.conversationId === id && now.view === "open") this.take(answer, true);
    } catch (error) {
      if (error.status === 0 && this.changes === asked) setTimeout(() => this.changes === asked && this.refresh(), AGAIN_MS);
    }
  }

  /**
   * The open conversation changed elsewhere: another tab or device asked, a title was made.
   * @param {any} conversation
   */
  changed(conversation) {
    const { conversationId, view, running } = this.store.get();
    if (conversation.id !== conversationId) return;
    // It was deleted, and came back by an undo.
    if (view === "missing") this.reload();
    if (view !== "open") return;
    if ((conversation.sequence ?? Infinity) <= this.sequence) return;
    const moved = conversation.updated_at !== this.updatedAt;
    this.know(conversation);
    const theirs = conversation.running_generation_id;
    // The end of a reply that is followed here is told by its own stream.
    if (running ? theirs && theirs !== running : theirs || moved) this.refresh();
  }

  /** The open conversation was deleted elsewhere. */
  removed() {
    this.leave();
    this.store.set({ view: "missing", title: "", running: null, sending: false });
    this.transcript.failed("This conversation was deleted.", true);
    this.announce("This conversation was deleted.");
  }

  leave() {
    this.loading?.abort();
    this.unfollow();
    this.unfollow = () => {};
    this.sequence = 0;
    this.store.set({ connection: navigator.onLine ? "ok" : "offline" });
  }

  /**
   * Ask. The text stays with the caller when this gives false.
   * @param {string} text
   * @returns {Promise<boolean>}
   */
  async send(text) {
    const { sending, running } = this.store.get();
    if (sending || running) return false;
    const wasEmpty = this.transcript.app.dataset.view === "empty";
    const { turn, undo } = this.transcript.addQuestion(text);
    try {
      await this.start({ text }, turn);
      return true;
    } catch (error) {
      undo();
      if (wasEmpty && this.store.get().conversationId === null) this.transcript.empty();
      throw error;
    }
  }

  /** Ask an earlier question in other words, as a version beside it. */
  async edit(turn, text) {
    if (this.store.get().running || this.store.get().sending) throw new Error(BUSY);
    const { turn: fresh, undo } = this.transcript.addQuestion(text, this.transcript.items.indexOf(turn));
    try {
      await this.start({ text, edit_of: turn.question.id }, fresh, turn.question.siblings ?? [turn.question.id]);
    } catch (error) {
      undo();
      if (this.transcript.items.includes(turn)) this.transcript.view(turn).question?.open(text, error.message);
      if (error.code === FULL) this.rescue.offerRoom(() => turn.view?.question.editor?.requestSubmit());
    }
  }

  /**
   * Another reply to a question: made anew, or continued.
   * @param {object} body
   * @param {import("./turns.js").Turn} turn
   */
  async again(body, turn) {
    if (this.store.get().running || this.store.get().sending) {
      this.toast(BUSY);
      return;
    }
    try {
      await this.start(body, turn);
    } catch (error) {
      if (error.code === FULL) this.rescue.offerRoom(() => this.again(body, turn));
      this.toast(error.message, wayOn(error, this.store.get()));
      this.announce(error.message);
    }
  }

  /** One turn: send it, and draw what the server made of it. */
  async start(what, turn, siblings = null) {
    const { conversationId } = this.store.get();
    const state = this.store.get();
    // A reply that goes on from its calls keeps to what it was asked with.
    const effort = what.results ? {} : { effort: effective(state, "effort") };
    const body = { conversation_id: conversationId, ...effort, ...what };
    // Two tabs may ask at once: the second question is taken when the first is answered.
    if (what.text) body.wait = true;
    if (conversationId === null) {
      if (state.temporary) body.temporary = true;
      const chosen = Object.entries(state.settings ?? {}).filter(([, value]) => value !== null && value !== undefined);
      if (chosen.length) body.settings = Object.fromEntries(chosen);
    }
    this.store.set({ sending: true });
    const slow = setTimeout(() => this.waits(turn), SOON_MS);
    try {
      const answer = await api.startTurn({ ...body, client_id: this.clientId(body) });
      this.sent = null;
      if (siblings) answer.user_message.siblings ??= [...siblings, answer.user_message.id];
      this.accepted(answer, turn, conversationId, what);
    } catch (error) {
      if (api.isRestarting(error)) {
        this.store.set({ connection: "restarting" });
        setTimeout(() => this.recheck(), RESTART_MS);
      } else if (error.status === 503 || error.status === 0) this.recheck();
      if (error.code === "conflict" && this.store.get().conversationId === conversationId) this.refresh();
      if (error.status === 404 && !(await this.stillMe())) error.message = this.store.get().away;
      else if (error.status === 404) error.message = "This conversation was deleted meanwhile. Start a new one to send this.";
      throw error;
    } finally {
      clearTimeout(slow);
      if (this.store.get().conversationId === conversationId || conversationId === null) this.store.set({ sending: false });
    }
  }

  waits(turn) {
    if (turn.question?.pending) turn.view?.question.note(WAITING);
  }

  /** The same that is sent again after a lost answer keeps its id, so that nothing is asked twice. */
  clientId(body) {
    const text = JSON.stringify(body);
    if (this.sent?.text !== text) this.sent = { text, id: randomId() };
    return this.sent.id;
  }

  accepted({ conversation, user_message: message, tool_messages: results = [], generation }, turn, askedIn, what) {
    this.listChanged({ ...conversation, running_generation_id: generation.id });
    const transcript = this.transcript;
    if (this.store.get().conversationId !== askedIn || !transcript.items.includes(turn)) return;
    if (askedIn === null) router.push(conversation.id);
    this.store.set({ conversationId: conversation.id, view: "open" });
    this.changes += 1;
    this.know(conversation);
    if (turn.question.pending) {
      const shown = transcript.find(message.id);
      const elsewhere = !what.edit_of && askedIn !== null && message.parent_id !== this.leaf;
      transcript.taken(turn, message);
      if (shown || elsewhere) {
        // Another tab went on with this conversation meanwhile.
        transcript.set(transcript.items.filter((each) => each !== turn));
        this.refresh();
        return;
      }
    }
    this.leaf = results.at(-1)?.id ?? message.id;
    this.attach(generation.answers ? transcript.goOn(turn, generation, results) : transcript.startReply(turn, generation));
    transcript.keepFocus();
  }

  attach(reply) {
    const id = reply.generation.id;
    this.unfollow();
    this.store.set({ running: id });
    this.announce("Thinking");
    this.unfollow = follow(id, {
      event: (name, data) => this.event(reply, name, data),
      connection: (ok) => this.store.set({ connection: ok ? "ok" : navigator.onLine ? "reconnecting" : "offline" }),
      gone: (message) => this.ended(reply, { ...reply.generation, status: "failed", error: message }),
    });
  }

  event(reply, name, data) {
    if (name === "message_end") this.leaf = data.id;
    if (name === "snapshot" || name === "results") this.leaf = data.messages.at(-1)?.id ?? this.leaf;
    if (name === "finish") this.ended(reply, data);
    else reply.event(name, data);
  }

  ended(reply, generation) {
    reply.finish(generation);
    if (generation.next_generation_id) return this.rounds.goOn(reply, generation);
    this.unfollow = () => {};
    const { prompt = 0, final = 0 } = generation.usage ?? {};
    const limit = generation.context_length ?? this.store.get().context?.limit ?? null;
    this.store.set({
      running: null,
      connection: "ok",
      totals: totalsOf(this.transcript.items),
      // The next prompt has this one and the answer, without the reasoning.
      context: prompt ? { used: prompt + final, limit } : this.store.get().context,
    });
    const done = generation.status === "finished" && reply.answer();
    const note = reply.foot?.querySelector(".pg-note")?.textContent;
    this.announce(done ? "Answer ready" : (note ?? "The reply ended"));
    this.listChanged();
  }

  async stop() {
    const { running } = this.store.get();
    if (!running) return;
    try {
      await api.cancel(running);
    } catch (error) {
      this.toast(error.message);
    }
  }

  /** Show another version of a question or a reply. */
  async version(turn, of, which) {
    const id = this.store.get().conversationId;
    const index = this.transcript.items.indexOf(turn);
    const step = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.step ?? "1";
    const top = turn.view?.element.getBoundingClientRect().top ?? null;
    try {
      const answer = await api.selectBranch(id, which);
      if (this.store.get().conversationId !== id) return;
      this.transcript.stay();
      this.take(answer, true);
      this.announce(this.transcript.focusVersion(index, of, step, top));
    } catch (error) {
      this.toast(error.message);
    }
  }
}

/** Also where `crypto.randomUUID` is missing (plain http on a local network). */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
