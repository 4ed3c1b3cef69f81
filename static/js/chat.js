/** The open conversation: load it, ask, follow the reply, stop it, ask again. */

import * as api from "./api.js";
import * as router from "./router.js";
import { follow } from "./stream.js";

export class Chat {
  /**
   * @param {import("./state.js").Store<any>} store
   * @param {{transcript: any, announce: (text: string) => void, toast: (text: string) => void,
   *   listChanged: (conversation?: any) => void, recheck: () => void}} parts `recheck` asks again how the model is
   */
  constructor(store, { transcript, announce, toast, listChanged, recheck }) {
    this.store = store;
    this.transcript = transcript;
    this.announce = announce;
    this.toast = toast;
    this.listChanged = listChanged;
    this.recheck = recheck;
    this.unfollow = () => {};
    this.loading = null;
    this.pending = null;
    /** @type {string|null} the last message that stands here */
    this.leaf = null;
  }

  /** @param {string|null} id @param {boolean} [push] change the address, too */
  async open(id, push = false) {
    if (push) router.push(id);
    this.leave();
    this.store.set({ conversationId: id, title: "", view: id ? "loading" : "empty", running: null, sending: false });
    if (id === null) {
      this.transcript.empty();
      return;
    }
    const loading = new AbortController();
    this.loading = loading;
    const slow = setTimeout(() => this.transcript.loading(), 120);
    this.transcript.clear("loading");
    try {
      const { conversation, messages, generations } = await api.conversation(id, loading.signal);
      this.store.set({ title: conversation.title, view: "open" });
      this.leaf = messages.at(-1)?.id ?? null;
      const reply = this.transcript.show(messages, generations);
      if (reply) this.attach(reply);
    } catch (error) {
      if (loading.signal.aborted) return;
      this.refused(error);
    } finally {
      clearTimeout(slow);
    }
  }

  refused(error) {
    const missing = error.status === 404;
    this.store.set({ view: missing ? "missing" : "error", title: "" });
    const text = missing ? "This conversation does not exist or is not yours." : error.message;
    this.transcript.failed(text, missing);
  }

  reload() {
    return this.open(this.store.get().conversationId);
  }

  leave() {
    this.loading?.abort();
    this.unfollow();
    this.unfollow = () => {};
    this.store.set({ connection: navigator.onLine ? "ok" : "offline" });
  }

  /**
   * Ask. The text stays with the caller when this gives false.
   * @param {string} text
   * @param {string|null} [parentId]
   * @returns {Promise<boolean>}
   */
  async send(text, parentId = null) {
    const { conversationId, preferences, sending, running } = this.store.get();
    if (sending || running) return false;
    this.store.set({ sending: true });
    const wasEmpty = this.transcript.app.dataset.view === "empty";
    const question = this.transcript.addQuestion(text);
    question.classList.add("pg-pending");
    try {
      const turn = await api.startTurn({
        conversation_id: conversationId,
        parent_id: parentId,
        text,
        effort: preferences.effort,
        client_id: this.clientId(text, conversationId, parentId),
      });
      this.pending = null;
      this.accepted(turn, question, conversationId, parentId !== null);
      return true;
    } catch (error) {
      question.remove();
      if (error.status === 503 || error.status === 0) this.recheck();
      // Another tab asked here first: show what it asked.
      if (error.code === "conflict" && this.store.get().conversationId === conversationId) this.reload();
      if (wasEmpty && this.store.get().conversationId === conversationId) this.transcript.empty();
      if (error.status === 404) error.message = "This conversation was deleted meanwhile. Start a new one to send this.";
      throw error;
    } finally {
      this.store.set({ sending: false });
    }
  }

  /** The same text that is sent again after a lost answer keeps its id, so that nothing is asked twice. */
  clientId(text, conversationId, parentId) {
    const same = this.pending && this.pending.text === text && this.pending.conversationId === conversationId;
    if (!same || this.pending.parentId !== parentId) {
      this.pending = { text, conversationId, parentId, id: randomId() };
    }
    return this.pending.id;
  }

  accepted({ conversation, user_message: message, generation }, question, askedIn, branched) {
    this.listChanged({ ...conversation, running_generation_id: generation.id });
    if (this.store.get().conversationId !== askedIn || !question.isConnected) return;
    question.classList.remove("pg-pending");
    if (askedIn === null) router.push(conversation.id);
    this.store.set({ conversationId: conversation.id, title: conversation.title, view: "open" });
    const missed = askedIn !== null && message.parent_id !== this.leaf && !branched;
    this.leaf = message.id;
    if (missed) {
      // Another tab went on with this conversation meanwhile.
      this.reload();
      return;
    }
    const reply = this.transcript.addReply(generation, message);
    reply.wait(null);
    this.attach(reply);
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
    if (name === "snapshot") this.leaf = data.messages.at(-1)?.id ?? this.leaf;
    if (name === "finish") this.ended(reply, data);
    else reply.event(name, data);
  }

  ended(reply, generation) {
    reply.finish(generation);
    this.unfollow = () => {};
    this.store.set({ running: null, connection: "ok" });
    const done = generation.status === "finished";
    this.announce(done && reply.answer() ? "Answer ready" : generation.status === "cancelled" ? "Stopped" : "The reply ended");
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

  /** Ask the question of a failed reply again: as its sibling where that is possible. */
  async retry(reply) {
    const { content, parent_id: parent } = reply.question;
    try {
      if (parent) this.transcript.removeTurn(reply);
      await this.send(content, parent);
    } catch (error) {
      this.toast(error.message);
      if (parent) await this.reload();
    }
  }
}

/** Also where `crypto.randomUUID` is missing (plain http on a local network). */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
