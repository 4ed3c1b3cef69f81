"""Any reply, sound or not: nothing raises, nothing is lost, and sound ones read as the library reads them."""

from __future__ import annotations

import openai_harmony as library  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.types import Channel, FinishReason, Message, Prompt, Role
from inference.vocabulary import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START
from tests.inference.harmony_cases import ids_of, user
from tests.inference.harmony_replies import ANALYSIS, COMMENTARY, codec, read

WORDS = [
    "assistant",
    "analysis",
    "commentary",
    "final",
    " to=",
    "functions.",
    "add",
    "python",
    " json",
    "system",
    "é",
]
PIECES = st.sampled_from(
    [
        START,
        END,
        MESSAGE,
        CHANNEL,
        CONSTRAIN,
        RETURN,
        CALL,
        *(token for word in WORDS for token in ids_of(word)),
    ]
)
IDS = st.lists(PIECES | st.integers(0, codec.vocab_size + 1000), max_size=80)


@settings(deadline=None, max_examples=400)
@given(IDS, st.integers(1, 9), st.sampled_from(FinishReason))
def test_any_ids_are_read_and_chunks_make_no_difference(
    ids: list[int], chunk: int, reason: FinishReason
) -> None:
    whole = read(ids, len(ids) + 1, reason)
    assert read(ids, chunk, reason).finished == whole.finished
    assert read(ids, 1, reason).finished == whole.finished


@settings(deadline=None)
@given(IDS)
def test_whatever_is_read_can_be_rendered(ids: list[int]) -> None:
    messages = read(ids).parser.messages
    codec.render(Prompt([user("x"), *messages]))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
SOUND = st.one_of(
    st.builds(lambda text, channel: Message(Role.ASSISTANT, text, channel), TEXT, st.sampled_from(Channel)),
    st.builds(
        lambda text, channel, to, kind: Message(Role.ASSISTANT, text, channel, to, content_type=kind),
        TEXT,
        st.sampled_from([ANALYSIS, COMMENTARY]),
        st.sampled_from(["python", "functions.add", "functions.a-B_9", "functions.unknown"]),
        st.sampled_from([None, "json"]),
    ),
)


def written(message: Message, recipient_first: bool) -> list[int]:
    """The ids of a message as a model writes it, up to its end marker; ``assistant`` is already there."""
    to = "" if message.recipient is None else f" to={message.recipient}"
    kind = "" if message.content_type is None else " <|constrain|>json"
    before, after = (to, "") if recipient_first else ("", to)
    return [
        *ids_of(f"{before}<|channel|>{message.channel}{after}{kind}<|message|>"),
        *codec.encode_text(message.content),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(SOUND, st.booleans()), min_size=1, max_size=5), st.integers(1, 9))
def test_sound_replies_are_read_as_the_library_reads_them(
    reply: list[tuple[Message, bool]], chunk: int
) -> None:
    ids: list[int] = []
    for number, (message, recipient_first) in enumerate(reply):
        ids += [*ids_of("<|start|>assistant" if number else ""), *written(message, recipient_first), END]
    messages = read([*ids[:-1], RETURN], chunk).parser.messages
    assert messages == tuple(message for message, _ in reply)
    theirs = codec._encoding.parse_messages_from_completion_tokens(ids, library.Role.ASSISTANT)
    assert [
        (m.author.role, m.author.name, m.channel, m.recipient, m.content_type, m.content[0].text)
        for m in theirs
    ] == [
        ("assistant", None, m.channel, m.recipient, m.content_type and "<|constrain|>json", m.content)
        for m in messages
    ]


@settings(deadline=None)
@given(SOUND)
def test_what_is_rendered_is_read_back(message: Message) -> None:
    start = codec.render(Prompt([user("x")]))
    ids = codec.render(Prompt([user("x"), message]))
    assert ids[: len(start)] == start
    reply = ids[len(start) : -2]  # without the <|start|>assistant of the next message
    assert read(reply).parser.messages == (message,)
