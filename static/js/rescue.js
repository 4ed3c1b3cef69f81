/** What was proposed where a reply fell short, or where the context was full. */

import * as api from "./api.js";
import { el } from "./dom.js";
import { count } from "./format.js";

export class Rescue {
  /** @param {any} chat */
  constructor(chat) {
    this.chat = chat;
  }

  /**
   * @param {import("./turns.js").Turn} turn
   * @param {string} offer see ending.js
   * @param {{max_tokens?: number, keep?: boolean}} [fields] of a raised limit
   */
  async take(turn, offer, fields = {}) {
    const { id } = turn.generation;
    const again = { regenerate: turn.question?.id };
    if (offer === "fresh") await this.chat.open(null, true);
    else if (offer === "retry") await this.chat.again(again, turn);
    else if (offer === "drop") {
      if (await this.keep({ when_full: "drop_oldest" })) await this.chat.again(again, turn);
    } else {
      if (fields.keep && !(await this.keep({ max_tokens: fields.max_tokens }))) return;
      const limit = fields.max_tokens ? { max_tokens: fields.max_tokens } : {};
      const mode = offer === "answer_now" ? "answer_now" : "continue";
      await this.chat.again({ continue_of: id, mode, ...limit }, turn);
    }
  }

  /** Change settings of the open conversation. @param {object} settings @returns {Promise<boolean>} whether to go on with it */
  async keep(settings) {
    const id = this.chat.store.get().conversationId;
    try {
      const { conversation } = await api.changeConversation(id, { settings });
      if (this.chat.store.get().conversationId !== id) return false;
      this.chat.know(conversation);
      return true;
    } catch (error) {
      this.chat.toast(error.message);
      return false;
    }
  }

  /** The context is full: let the person choose. @param {() => void} retry */
  offerRoom(retry) {
    const { transcript, store } = this.chat;
    const limit = store.get().context?.limit;
    const button = (text, testid, run) => {
      const node = el("button", { class: "pg-outline", type: "button", testid, text });
      node.addEventListener("click", run);
      return node;
    };
    const drop = async () => {
      if (!(await this.keep({ when_full: "drop_oldest" }))) return;
      transcript.say(null);
      retry();
    };
    const size = limit ? ` of ${count(limit)} tokens` : "";
    transcript.say(
      el(
        "section",
        { class: "pg-full", role: "alert", testid: "context-full", "aria-label": "The context is full" },
        el("p", { text: `This does not fit into the model's context${size}. Nothing was sent, and nothing was cut.` }),
        el(
          "div",
          { class: "pg-offers-row" },
          button("Leave out the oldest turns", "full-drop", drop),
          button("Start a new conversation", "full-fresh", () => this.chat.open(null, true)),
        ),
        el("p", { class: "pg-full-hint", text: "What is left out stays here to read; the model no longer sees it." }),
      ),
    );
  }
}
