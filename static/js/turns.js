/** The shown path of a conversation as turns: a question, and the reply that is shown under it. */

/** @typedef {"queued"|"running"} Open */
export const OPEN = ["queued", "running"];

/**
 * One turn. `question` is null where a conversation from elsewhere begins with a reply, `generation` is null where a
 * question has no reply, or the reply was not written here. A reply that called functions goes on as another generation:
 * `before` has those that `generation` goes on from, the first one first.
 * @typedef {{key: string, question: any, before: any[], generation: any, messages: any[], replies: string[], view: any,
 *   height: number, touched: boolean}} Turn
 */

/**
 * @param {any} question
 * @param {any} generation
 * @returns {Turn}
 */
export function makeTurn(question, generation) {
  const key = question?.id ?? generation?.id ?? "";
  const replies = question?.replies ?? (generation ? [generation.id] : []);
  return { key, question, before: [], generation, messages: [], replies, view: null, height: 0, touched: false };
}

/** @param {Turn} turn @returns {any[]} all generations of its reply, the first one first */
export function roundsOf({ before, generation }) {
  return generation ? [...before, generation] : before;
}

/** Follow a reply through its calls to where it ended. @param {Turn} turn @param {Map<string, any>} byId */
function follow(turn, byId) {
  for (let next; (next = byId.get(turn.generation?.next_generation_id)); turn.generation = next) {
    if (roundsOf(turn).includes(next)) return;
    turn.before.push(turn.generation);
  }
}

/**
 * @param {any[]} messages the path to the leaf
 * @param {any[]} generations
 * @returns {Turn[]}
 */
export function turnsOf(messages, generations) {
  const byId = new Map(generations.map((generation) => [generation.id, generation]));
  const first = generations.filter((generation) => !generation.answers);
  const byQuestion = new Map(first.map((generation) => [generation.user_message_id, generation]));
  const turns = [];
  for (const message of messages) {
    if (message.role === "user") {
      const shown = message.reply ? byId.get(message.reply) : byQuestion.get(message.id);
      turns.push(makeTurn(message, shown ?? null));
      follow(turns.at(-1), byId);
      continue;
    }
    let turn = turns.at(-1);
    if (!turn) {
      turn = makeTurn(null, byId.get(message.generation_id) ?? null);
      turn.key = message.id;
      follow(turn, byId);
      turns.push(turn);
    }
    turn.messages.push(message);
  }
  return turns;
}

/** @param {Turn} turn @returns {boolean} whether its reply is being written */
export function isOpen(turn) {
  return OPEN.includes(turn.generation?.status);
}

/**
 * How tall a turn will be before it was ever drawn.
 * @param {Turn} turn
 * @param {number} width of the column, in pixels
 * @returns {number} pixels
 */
export function guessHeight(turn, width) {
  const perLine = Math.max(20, width / 8);
  let height = 110;
  if (turn.question) height += 60 + 25 * lines(turn.question.content ?? "", perLine * 0.78);
  for (const message of turn.messages) {
    if (message.role === "assistant" && message.channel === "final") height += 27 * lines(message.content ?? "", perLine);
    else height += 40;
  }
  return height;
}

function lines(text, perLine) {
  let sum = 0;
  let begin = 0;
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", begin)) {
    sum += Math.max(0.6, Math.ceil((end - begin) / perLine));
    begin = end + 1;
  }
  return sum + Math.max(1, Math.ceil((text.length - begin) / perLine));
}

/**
 * Figures of the shown path, as `GET /api/conversations/{id}` gives them.
 * @param {Turn[]} turns
 */
export function totalsOf(turns) {
  const sum = { turns: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0, reasoning_tokens: 0, seconds: 0 };
  for (const turn of turns) if (turn.generation) sum.turns += 1;
  for (const generation of turns.flatMap(roundsOf)) {
    sum.prompt_tokens += generation.usage?.prompt ?? 0;
    sum.cached_tokens += generation.usage?.cached ?? 0;
    sum.completion_tokens += generation.usage?.completion ?? 0;
    sum.reasoning_tokens += generation.usage?.reasoning ?? 0;
    sum.seconds += generation.timings?.total ?? 0;
  }
  return sum;
}
