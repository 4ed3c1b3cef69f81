"""Going on with a reply that was stopped, cut or left without an answer.

The new reply gets the old prompt and the old output as they were: token ids, never text that is encoded
again, for that would give other tokens than those that the model wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.harmony import HarmonyCodec
from inference.types import ReasoningEffort, RenderedPrompt
from playground.errors import PlaygroundError
from storage.errors import NotFound
from storage.records import ChatSettings
from storage.store import Store


@dataclass(frozen=True, slots=True)
class TakenUp:
    """The old reply's prompt, the ids that the new one begins with, how long the old one reasoned.

    ``declared`` are the functions and the answer's schema that were set for its turn alone.
    """

    prompt: RenderedPrompt
    primed_ids: tuple[int, ...]
    effort: ReasoningEffort
    reasoning_seconds: float
    declared: ChatSettings


def take_up(
    store: Store,
    codec: HarmonyCodec,
    owner_id: str,
    conversation_id: str,
    generation_id: str,
    answer_now: bool,
) -> TakenUp:
    """What to give to the model to go on with that reply.

    Raises:
        PlaygroundError: ``cannot_continue``: it still runs, has its answer, or its tokens are not known.
        NotFound: there is no such reply in this conversation.
    """
    old = store.get_generation(owner_id, generation_id)
    if old.conversation_id != conversation_id:
        raise NotFound
    if old.status.is_open:
        raise _refusal("This reply is still being written.")
    tokens = store.generation_tokens(owner_id, generation_id)
    if not tokens.prompt_ids:
        raise _refusal("This reply was not made here, so its tokens are not known. Regenerate it instead.")
    primed = codec.beginning_of(tokens.output_ids, answer_now=answer_now)
    if primed is None:
        raise _refusal("This reply has ended with its answer. Regenerate it for another one.")
    prompt = RenderedPrompt(tokens.prompt_ids, old.dropped_reasoning, old.dropped_turns)
    own = old.turn_settings or ChatSettings()
    declared = ChatSettings(
        functions=own.functions,
        operator_functions=own.operator_functions,
        response_schema=own.response_schema,
    )
    return TakenUp(prompt, primed, old.effort, old.reasoning_seconds, declared)


def _refusal(sentence: str) -> PlaygroundError:
    return PlaygroundError("cannot_continue", sentence, param="continue_of")
