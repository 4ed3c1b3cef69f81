"""How long a model reasoned, also where its reasoning was interrupted."""

from __future__ import annotations

from inference.types import Channel, Message, MessageFinished, MessageStarted, Role, TextDelta
from playground.recorder import Recorder
from playground.runs import Owner, Run


async def test_only_the_time_in_which_the_model_reasoned_counts() -> None:
    now = [0.0]
    recorder = Recorder(Run(Owner("owner"), "generation", "conversation"), 10.0, clock=lambda: now[0])
    for index, (channel, text) in enumerate([(Channel.ANALYSIS, "Hm."), (Channel.FINAL, "Six.")]):
        recorder.apply(MessageStarted(index, channel))
        recorder.apply(TextDelta(index, text))
        if index == 0:
            now[0] += 100.0  # taken over from an earlier reply: the model still waits and reads
            recorder.resume()
        now[0] += 2.0
        message = Message(Role.ASSISTANT, text, channel)
        recorder.apply(MessageFinished(index, message, token_count=2))
    assert recorder.reasoning_seconds == 12.0
    assert [draft.message.content for draft in recorder.drafts()] == ["Hm.", "Six."]
    assert [draft.complete for draft in recorder.drafts()] == [True, True]
