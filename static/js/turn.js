/** One turn as it is drawn: the question, and the reply below it. */

import { el } from "./dom.js";
import { Reply } from "./message.js";
import { Question } from "./question.js";
import { isOpen } from "./turns.js";

export class TurnView {
  /**
   * @param {import("./turns.js").Turn} turn
   * @param {{showReasoning: boolean, on: any}} how
   */
  constructor(turn, how) {
    this.turn = turn;
    this.how = how;
    this.element = el("section", { class: "pg-turn", data: { turn: turn.key } });
    this.question = turn.question && new Question(turn, how.on);
    if (this.question) this.element.append(this.question.element);
    /** @type {Reply|null} */
    this.reply = null;
    if (turn.generation || turn.messages.length) this.answer();
    // What somebody opened here is not to be closed by scrolling away.
    this.element.addEventListener("click", () => (turn.touched = true));
  }

  /** Draw the reply that the turn has now. @returns {Reply} */
  answer() {
    this.reply?.dispose();
    this.reply?.element.remove();
    this.reply = new Reply(this.turn, this.how);
    this.element.append(this.reply.element);
    return this.reply;
  }

  /** @returns {boolean} whether it must not leave the document */
  stays() {
    return isOpen(this.turn) || Boolean(this.question?.editor) || this.element.contains(document.activeElement);
  }

  dispose() {
    this.reply?.dispose();
  }
}
