"""The tree against a simple model of it: whatever is done in whatever order, both show the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.types import Channel
from storage.records import GenerationStatus, TurnRecord
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity

PICK = st.integers(0, 10_000)


@dataclass
class Question:
    """A question, its replies, and the one that is shown."""

    id: str
    place: Place
    replies: list[Reply] = field(default_factory=list)
    shown: Reply | None = None


@dataclass
class Reply:
    """A reply of at least one message, and what was asked after it."""

    id: str
    question: Question
    texts: list[str] = field(default_factory=list)
    after: Place = field(default_factory=lambda: Place(None))

    def __post_init__(self) -> None:
        self.after.reply = self


@dataclass
class Place:
    """Where siblings stand: at the root or below a reply; one of them is shown."""

    reply: Reply | None
    siblings: list[Question] = field(default_factory=list)
    shown: Question | None = None


class Tree(RuleBasedStateMachine):
    """Random turns, edits, regenerations, continuations and selections."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open_in_memory()
        self.owner = self.store.user_for_identity(identity("owner")).id
        self.root = Place(None)
        self.talk: str | None = None
        self.running: Reply | None = None
        self.questions: list[Question] = []
        self.replies: list[Reply] = []
        self.count = 0

    def teardown(self) -> None:
        """Give everything back."""
        self.store.close()

    def _end(self) -> Place:
        """Where the shown branch goes on."""
        place = self.root
        while place.shown is not None and place.shown.shown is not None:
            place = place.shown.shown.after
        return place

    def _show(self, question: Question) -> None:
        question.place.shown = question
        if question.place.reply is not None:
            self._show_reply(question.place.reply)

    def _show_reply(self, reply: Reply) -> None:
        reply.question.shown = reply
        self._show(reply.question)

    def _begun(self, turn: TurnRecord, question: Question) -> None:
        """A reply runs now; its first message is saved at once."""
        self.talk = turn.conversation.id
        reply = Reply(turn.generation.id, question)
        question.replies.append(reply)
        self.replies.append(reply)
        self._show_reply(reply)
        self.running = reply
        self._grow()

    def _grow(self) -> None:
        assert self.running is not None
        self.count += 1
        text = f"text {self.count}"
        index = len(self.running.texts)
        self.store.save_progress(self.owner, self.running.id, [draft(index, text, Channel.FINAL)], [])
        self.running.texts.append(text)

    def _ask(self, place: Place, edit_of: str | None = None) -> None:
        self.count += 1
        turn = begin(
            self.store, self.owner, f"question {self.count}", conversation_id=self.talk, edit_of=edit_of
        )
        question = Question(turn.user_message.id, place)
        place.siblings.append(question)
        self.questions.append(question)
        self._begun(turn, question)

    @precondition(lambda self: self.running is None)
    @rule()
    def ask(self) -> None:
        """A question at the end of what is shown."""
        self._ask(self._end())

    @precondition(lambda self: self.running is None and self.questions)
    @rule(pick=PICK)
    def edit(self, pick: int) -> None:
        """A sibling of any question."""
        question = self.questions[pick % len(self.questions)]
        self._ask(question.place, edit_of=question.id)

    @precondition(lambda self: self.running is None and self.questions)
    @rule(pick=PICK)
    def regenerate(self, pick: int) -> None:
        """One more reply to any question."""
        question = self.questions[pick % len(self.questions)]
        turn = begin(self.store, self.owner, conversation_id=self.talk, regenerate=question.id)
        self._begun(turn, question)

    @precondition(lambda self: self.running is None and self.replies)
    @rule(pick=PICK)
    def go_on(self, pick: int) -> None:
        """Take up any reply."""
        reply = self.replies[pick % len(self.replies)]
        turn = begin(self.store, self.owner, conversation_id=self.talk, continues_id=reply.id)
        self._begun(turn, reply.question)

    @precondition(lambda self: self.running is not None)
    @rule()
    def grow(self) -> None:
        """One more message of the running reply."""
        self._grow()

    @precondition(lambda self: self.running is not None)
    @rule(status=st.sampled_from([each for each in GenerationStatus if not each.is_open]))
    def end(self, status: GenerationStatus) -> None:
        """The reply is over."""
        assert self.running is not None
        finish(self.store, self.owner, self.running.id, status=status)
        self.running = None

    @precondition(lambda self: self.questions)
    @rule(pick=PICK)
    def select_question(self, pick: int) -> None:
        """Show any question."""
        assert self.talk is not None
        question = self.questions[pick % len(self.questions)]
        self.store.select_branch(self.owner, self.talk, message_id=question.id)
        self._show(question)

    @precondition(lambda self: self.replies)
    @rule(pick=PICK)
    def select_reply(self, pick: int) -> None:
        """Show any reply."""
        assert self.talk is not None
        reply = self.replies[pick % len(self.replies)]
        self.store.select_branch(self.owner, self.talk, generation_id=reply.id)
        self._show_reply(reply)

    @precondition(lambda self: self.talk is not None)
    @rule()
    def delete_and_restore(self) -> None:
        """Nothing is lost by a delete that is taken back."""
        assert self.talk is not None
        self.store.delete_conversation(self.owner, self.talk)
        self.store.restore_conversation(self.owner, self.talk)

    @invariant()
    def shows_the_same(self) -> None:
        """Path, siblings, replies and leaf are those of the model."""
        if self.talk is None:
            return
        expected: list[object] = []
        place = self.root
        while place.shown is not None:
            question = place.shown
            siblings = tuple(each.id for each in place.siblings)
            replies = tuple(each.id for each in question.replies)
            assert question.shown is not None
            expected += [(question.id, siblings, replies, question.shown.id), *question.shown.texts]
            place = question.shown.after
        path = self.store.path(self.owner, self.talk)
        assert expected == [
            message.content
            if message.generation_id
            else (message.id, message.siblings, message.replies, message.reply)
            for message in path
        ]
        assert path[-1].id == self.store.get_conversation(self.owner, self.talk).leaf_id
        assert [message.parent_id for message in path] == [None, *(message.id for message in path[:-1])]


Tree.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, derandomize=True, database=None
)
TestTree = Tree.TestCase
