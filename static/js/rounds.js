/** A reply that called functions goes on: from what a person typed, or from what the server's own functions gave. */

export const BUSY = "A reply is being written. Stop it, or wait for its end.";
const FULL = "context_length_exceeded";

export class Rounds {
  /** @param {any} chat */
  constructor(chat) {
    this.chat = chat;
  }

  /**
   * Results by hand; what was typed stays with the caller when this throws.
   * @param {import("./turns.js").Turn} turn
   * @param {{message_id: string, content: string}[]} results
   */
  async send(turn, results) {
    const { running, sending } = this.chat.store.get();
    if (running || sending) throw new Error(BUSY);
    try {
      await this.chat.start({ results }, turn);
    } catch (error) {
      const again = () => this.send(turn, results).catch((problem) => this.chat.toast(problem.message));
      if (error.code === FULL) this.chat.rescue.offerRoom(again);
      throw error;
    }
  }

  /**
   * The server has answered the calls and goes on by itself.
   * @param {import("./message.js").Reply} reply
   * @param {any} generation the one that called
   */
  goOn(reply, generation) {
    const next = {
      ...generation, id: generation.next_generation_id, answers: generation.id, status: "queued", finish_reason: null,
      next_generation_id: null, next_generation_ids: [], waiting_calls: [], schema: null, usage: null, timings: null,
      error: null, error_code: null, created_at: new Date().toISOString(),
    };
    this.chat.attach(this.chat.transcript.goOn(reply.turn, next));
  }
}
