"""One request on its way through the engine: its tokens, its pages, its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.types import GenerationRequest, Timings

if TYPE_CHECKING:
    from inference.worker.guide import Guide, Mask


@dataclass(eq=False, slots=True)
class Sequence:
    """A request with everything that the engine knows of it. Times are ``time.monotonic()`` seconds.

    ``tokens`` are the prompt and every generated id that the host knows. ``pending`` more were sampled on the
    device and have not come back yet. The keys and values of the first ``computed`` tokens stand in the pages
    (or are being written by a forward pass that was launched). ``confirmed`` of them are known to be right.

    ``full_pages[i]`` and ``sliding_pages[i]`` hold the tokens ``i * PAGE .. (i + 1) * PAGE - 1`` of the
    layers of each kind; a page that the sliding window has left is 0 there. ``slot`` is the sequence's row in
    the device's tables, or -1. ``cached`` counts the prompt tokens that the prefix cache had at first.
    ``latest_row`` is the number of its latest row of those that were shared out.

    ``guide`` holds the reply to its constraint, if it has one. The next token is then chosen under ``mask``,
    which needs all tokens before it: such a sequence never has more than one id pending.
    """

    request: GenerationRequest
    submitted: float
    seed: int
    tokens: list[int]
    pending: int = 0
    computed: int = 0
    confirmed: int = 0
    cached: int = 0
    slot: int = -1
    full_pages: list[int] = field(default_factory=list)
    sliding_pages: list[int] = field(default_factory=list)
    page_keys: list[bytes] = field(default_factory=list)
    preemptions: int = 0
    latest_row: int = 0
    guide: Guide | None = None
    mask: Mask | None = None
    started: float | None = None
    first_token: float | None = None
    latest_token: float | None = None

    @staticmethod
    def of(request: GenerationRequest, submitted: float, seed: int) -> Sequence:
        """A sequence that waits; ``seed`` fixes its random numbers."""
        return Sequence(request, submitted, seed, list(request.prompt_ids))

    @property
    def prompt_length(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def length(self) -> int:
        """Tokens that there are, whether the host knows their ids or not."""
        return len(self.tokens) + self.pending

    @property
    def held(self) -> bool:
        """Whether the next token cannot be chosen before the pending ones are known."""
        return self.guide is not None and self.pending > 0

    @property
    def may_grow(self) -> bool:
        """Whether another token can be computed, if it reads nothing any more."""
        return not self.held and self.computed == self.length - 1 and self.length < self.limit

    @property
    def generated(self) -> int:
        """Generated tokens that the host knows."""
        return len(self.tokens) - self.prompt_length

    @property
    def limit(self) -> int:
        """The most tokens, the prompt's included, that this sequence may come to."""
        return self.prompt_length + self.request.sampling.max_tokens

    def timings(self, now: float) -> Timings:
        """What the receipt says when the request ends ``now``."""
        first, latest, speed = self.first_token, self.latest_token, 0.0
        if first is not None and latest is not None and self.generated > 1 and latest > first:
            speed = (self.generated - 1) / (latest - first)
        return Timings(
            queued=(self.started or now) - self.submitted,
            ttft=0.0 if first is None else first - self.submitted,
            total=now - self.submitted,
            tokens_per_second=speed,
        )
