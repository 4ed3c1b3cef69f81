"""How a reply that is not over is gone on with: which ids the model is given as its own beginning.

The ids that were written are kept as they are; only a stop token, and a header that was not finished, give
way. Pure functions on ids: nothing is rendered again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference.harmony_stream import Place, StreamParser
from inference.types import Channel
from inference.vocabulary import CHANNEL, END, MESSAGE, START, STOP_TOKEN_IDS


def beginning_of(
    written: Sequence[int],
    answer_now: bool,
    new_parser: Callable[[], StreamParser],
    encode: Callable[[str], list[int]],
) -> tuple[int, ...] | None:
    """The ids that the new reply begins with; ``None`` when the old one ended with an answer.

    ``written`` are all ids of the old reply. With ``answer_now`` what is open is closed and an answer begun;
    else, and where an answer is open, it is written on where it ended.
    """
    parser = new_parser()
    parser.feed(written)
    ids = list(written)
    stopped = parser.place is Place.DONE
    if stopped:
        if parser.messages and parser.messages[-1].channel is Channel.FINAL:
            return None
        del ids[next(place for place, token in enumerate(ids) if token in STOP_TOKEN_IDS) :]
        parser = new_parser()
        parser.feed(ids)
    if not stopped and (not answer_now or parser.open_channel is Channel.FINAL):
        return tuple(ids)
    if parser.place is Place.HEADER:
        del ids[parser.header_start :]
    if ids and ids[-1] != END:
        ids.append(END)
    if ids:  # the prompt itself ends with <|start|>assistant
        ids += [START, *encode("assistant")]
    if answer_now:
        ids += [CHANNEL, *encode("final"), MESSAGE]
    return tuple(ids)
