"""Who asks, and how much he may have: what a use case is told of limits, and asks before it stores."""

from __future__ import annotations

from dataclasses import dataclass

from playground.limits.allowance import Allowance
from playground.limits.storing import Storing
from playground.temporary import is_temporary
from playground.turn_request import TurnRequest
from storage.records import TurnRecord


@dataclass(frozen=True, slots=True)
class Room:
    """How much the asker may store; ``most`` bytes, 0 is any. ``guest``: he has no account. Thread-safe."""

    storing: Storing
    owner_id: str
    allowance: Allowance
    most: int
    guest: bool

    def take(self, size: int, param: str) -> None:
        """Let so many bytes more be stored, those of ``param``. Blocks. Raises PlaygroundError."""
        self.storing.take(self.owner_id, self.allowance, self.most, size, param)

    def check_turn(self, request: TurnRequest) -> None:
        """Refuse a turn where nothing more may be stored, or where on a nearly full disk a guest begins his
        first conversation. Temporary chats go on. Blocks. Raises PlaygroundError.
        """
        if _is_temporary(request):
            return
        if self.guest and request.conversation_id is None:
            self.storing.check_newcomer(self.owner_id)
        self.storing.check_turn(self.owner_id, self.allowance, self.most)

    def count_turn(self, request: TurnRequest, turn: TurnRecord) -> None:
        """Count a turn that has begun."""
        if not _is_temporary(request):
            self.storing.count_turn(self.owner_id, self.allowance, turn, asked=request.text is not None)


def _is_temporary(request: TurnRequest) -> bool:
    return request.temporary or is_temporary(request.conversation_id or "")
