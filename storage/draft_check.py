"""Whether a conversation that was made elsewhere is a tree of questions and replies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inference.types import Role
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, the key of its question, and when it was begun."""

    generation: GenerationDraft
    question_key: str
    created_at: datetime


def replies_of(draft: ConversationDraft) -> list[Reply]:
    """All replies of a draft, the oldest first. Raises InvalidValue where it is no tree."""
    nodes: dict[str, MessageNode] = {}
    replies: dict[str, Reply] = {}
    ends: dict[str, str] = {}
    empty: dict[str, list[GenerationDraft]] = {}
    for each in draft.empty_replies:
        empty.setdefault(each.question_key, []).append(each.generation)
    for node in draft.nodes:
        if node.key in nodes:
            raise InvalidValue("Two messages have the same key.")
        parent = None if node.parent_key is None else nodes.get(node.parent_key)
        if node.parent_key is not None and parent is None:
            raise InvalidValue("A message stands before the one that it follows.")
        nodes[node.key] = node
        if node.generation is not None:
            _take_reply(node, node.generation, parent, replies, ends)
        elif node.message.role is not Role.USER:
            raise InvalidValue("Only questions can be without the data of a reply.")
        else:
            for made in empty.pop(node.key, ()):
                if made.key in replies or made.answers_key is not None:
                    raise InvalidValue("A reply without messages needs a question, and a key of its own.")
                _add(made, node.key, node.created_at, replies)
    if empty:
        raise InvalidValue("A reply without messages needs a question, and a key of its own.")
    if draft.leaf_key is not None and draft.leaf_key not in nodes:
        raise InvalidValue("The message that is shown is not in the conversation.")
    for reply in replies.values():
        _check_continued(reply, replies)
    return sorted(replies.values(), key=lambda reply: reply.created_at)


def _take_reply(
    node: MessageNode,
    generation: GenerationDraft,
    parent: MessageNode | None,
    replies: dict[str, Reply],
    ends: dict[str, str],
) -> None:
    """A message of a reply follows its question, or the message of the same reply before it."""
    if node.message.role not in (Role.ASSISTANT, Role.TOOL):
        raise InvalidValue("A reply holds messages of the assistant and of tools only.")
    if generation.key in replies:
        if ends.get(generation.key) != node.parent_key:
            raise InvalidValue("The messages of a reply follow one another.")
    elif generation.answers_key is not None:
        called = replies.get(generation.answers_key)
        if called is None or node.parent_key != ends.get(called.generation.key, called.question_key):
            raise InvalidValue("A reply goes on below the last message of the one whose calls it answers.")
        _add(generation, called.question_key, called.created_at, replies)
    elif parent is None or parent.generation is not None:
        raise InvalidValue("A reply follows a question.")
    else:
        _add(generation, parent.key, parent.created_at, replies)
    ends[generation.key] = node.key


def _add(
    generation: GenerationDraft, question_key: str, asked_at: datetime, replies: dict[str, Reply]
) -> None:
    """One more reply."""
    if generation.status.is_open:
        raise InvalidValue("Only replies that have ended can be put in.")
    replies[generation.key] = Reply(generation, question_key, generation.created_at or asked_at)


def _check_continued(reply: Reply, replies: dict[str, Reply]) -> None:
    """What a reply takes up is another reply to the same question."""
    key = reply.generation.continues_key
    if key is None:
        return
    before = replies.get(key)
    if before is None or before is reply or before.question_key != reply.question_key:
        raise InvalidValue("A reply can only take up another reply to the same question.")
