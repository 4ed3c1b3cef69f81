"""The replies of one turn that follow one another by themselves, from calls to their results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from inference.types import FinishReason
from playground import views
from playground.errors import PlaygroundError, describe
from playground.functions import MOST_ROUNDS, Call, waiting_calls
from playground.generation import Outcome
from playground.preparation import PreparedTurn
from playground.runs import Run
from storage.records import MessageDraft, TurnRecord


@dataclass(frozen=True, slots=True)
class Step:
    """One reply of a turn; ``round`` of them came before it without a person."""

    run: Run
    turn: TurnRecord
    prepared: PreparedTurn
    round: int = 0


def due(
    outcome: Outcome, messages: Sequence[MessageDraft], answered: Collection[str]
) -> tuple[list[Call], list[Call]]:
    """The calls of a reply that the server answers (``answered`` are their functions), and the others."""
    if outcome.finish_reason is not FinishReason.TOOL_CALL:
        return [], []
    calls = waiting_calls(messages)
    own = [call for call in calls if call.function in answered]
    return own, [call for call in calls if call not in own]


def after(outcome: Outcome, messages: Sequence[MessageDraft], following: Step | None) -> views.Onward:
    """What comes after a reply that has just ended."""
    if following is not None:
        begun = following.run.generation_id
        return views.Onward(next_id=begun, next_ids=(begun,))
    if outcome.finish_reason is not FinishReason.TOOL_CALL:
        return views.Onward()
    return views.Onward(waiting=tuple(call.message_id for call in waiting_calls(messages)))


def too_many_rounds() -> PlaygroundError:
    """Why the server goes on no more by itself."""
    sentence = (
        f"The functions have answered {MOST_ROUNDS} times in a row. Type the next results to let it go on."
    )
    return PlaygroundError("too_many_rounds", sentence)


def refused(outcome: Outcome, error: Exception) -> Outcome:
    """The same end, which says why the server did not go on from the calls."""
    known = describe(error)
    if known is None:
        raise error
    return replace(outcome, error=known.message, error_code=known.code)
