"""Pages of keys and values: who holds which, and which earlier content can be used again.

A page holds ``PAGE`` tokens of all layers of one kind. The layers with full attention share one pool of page
numbers, the layers with a sliding window share another. Page 0 of each pool is scratch and belongs to nobody.

A page that is whole and confirmed gets a key: a hash of the key of the page before it and of its own token
ids. Equal keys therefore mean equal prefixes, and a page is shared by every sequence that starts alike. Pages
that nobody refers to keep their content and their key until the room is needed; the least recently used go
first. Nothing here touches the tensors: a page number is all that the forward pass needs.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

from inference.worker.sequence import Sequence

PAGE = 16
_IDS = Struct(f"<{PAGE}I")
_KEY_BYTES = 16


class LedgerError(RuntimeError):
    """The accounts of the pages are wrong. This is a mistake in the engine, never the fault of a request."""


def pages_for(tokens: int) -> int:
    """How many pages ``tokens`` tokens take."""
    return -(-tokens // PAGE)


class PagePool:
    """The pages ``1 .. count - 1`` of one kind of layer, with their reference counts and keys."""

    def __init__(self, count: int) -> None:
        self.capacity = max(count - 1, 0)
        self._references = [0] * (self.capacity + 1)
        self._blank = list(range(self.capacity, 0, -1))
        # Pages that nobody refers to and that still hold content, least recently used first.
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._keys: dict[int, bytes] = {}
        self._pages: dict[bytes, int] = {}

    @property
    def free(self) -> int:
        """Pages that can be taken now, those with content that nobody refers to included."""
        return len(self._blank) + len(self._idle)

    @property
    def used(self) -> int:
        """Pages that somebody refers to."""
        return self.capacity - self.free

    @property
    def cached(self) -> int:
        """Free pages whose content can still be found."""
        return len(self._idle)

    def take(self, count: int) -> list[int]:
        """``count`` pages to write to, each with one reference.

        Raises:
            LedgerError: there are not so many; look at ``free`` first.
        """
        if count > self.free:
            raise LedgerError("more pages were taken than are free")
        return [self._take() for _ in range(count)]

    def _take(self) -> int:
        if self._blank:
            page = self._blank.pop()
        else:
            page, _ = self._idle.popitem(last=False)
            del self._pages[self._keys.pop(page)]
        self._references[page] = 1
        return page

    def find(self, key: bytes) -> int:
        """The page with this content, or 0."""
        return self._pages.get(key, 0)

    def is_idle(self, page: int) -> bool:
        """Whether nobody refers to this page with content."""
        return page in self._idle

    def share(self, page: int) -> None:
        """One more reference to a page that was found.

        Raises:
            LedgerError: the page holds nothing that could be shared.
        """
        if page not in self._keys:
            raise LedgerError("a page without known content cannot be shared")
        self._idle.pop(page, None)
        self._references[page] += 1

    def label(self, page: int, key: bytes) -> None:
        """Make the content of ``page`` findable. Another page that holds the same already keeps the key.

        Raises:
            LedgerError: nobody refers to the page, or it holds something else.
        """
        if not 0 < page <= self.capacity or not self._references[page]:
            raise LedgerError("only a page in use can get a key")
        if self._keys.get(page, key) != key:
            raise LedgerError("a page was written to although its content can be found")
        holder = self._pages.setdefault(key, page)
        if holder == page:
            self._keys[page] = key
        elif holder in self._idle:
            self._idle.move_to_end(holder)  # its content was just used, though through another page

    def give(self, page: int) -> None:
        """Take back one reference.

        Raises:
            LedgerError: there is none.
        """
        if not 0 < page <= self.capacity or not self._references[page]:
            raise LedgerError("a page was given back that nobody holds")
        self._references[page] -= 1
        if self._references[page]:
            return
        if page in self._keys:
            self._idle[page] = None
        else:
            self._blank.append(page)

    def check(self, references: Counter[int]) -> None:
        """Compare the accounts with the references that there should be.

        Raises:
            LedgerError: they differ.
        """
        if any(self._references[page] != references[page] for page in range(self.capacity + 1)):
            raise LedgerError("the reference counts differ from what the sequences hold")
        held = [page for page in range(1, self.capacity + 1) if self._references[page]]
        if sorted([*held, *self._blank, *self._idle]) != list(range(1, self.capacity + 1)):
            raise LedgerError("a page is lost or stands in two places")
        if {page: key for key, page in self._pages.items()} != self._keys:
            raise LedgerError("keys and pages do not match")
        if not set(self._idle) <= set(self._keys) or set(self._blank) & set(self._keys):
            raise LedgerError("a free page has a wrong key")


class KvPages:
    """The pages of all sequences of one model.

    ``full`` and ``sliding`` count the pages of each pool, page 0 included; 0 ``full`` pages mean that the
    model has no layer with full attention. ``window`` is how many tokens, itself included, a token of a
    sliding layer sees, or ``None`` when the model has no such layer. Without ``reuse`` every prompt is read
    from its first token.

    Raises:
        ValueError: a pool is too small for a single sequence.
    """

    def __init__(self, full: int, sliding: int, window: int | None, *, reuse: bool = True) -> None:
        self.reuse = reuse
        self.full = PagePool(full)
        self.sliding = PagePool(sliding if window is not None else 0)
        self.window = window
        self._has_full = full > 0
        if self._has_full and self.full.capacity == 0:
            raise ValueError("the full layers need at least one page besides the scratch page")
        if not self._has_full and window is None:
            raise ValueError("a model has layers of one kind at least")
        if window is not None and self.sliding.capacity < pages_for(window - 1) + 1:
            raise ValueError("the sliding layers need pages for a whole window")

    def fits(self, tokens: int) -> bool:
        """Whether a sequence of this length could be held if it were alone."""
        return not self._has_full or pages_for(tokens) <= self.full.capacity

    def room(self, sequence: Sequence) -> int:
        """How many tokens of ``sequence`` there could be pages for, as things stand."""
        rooms = []
        if self._has_full:
            rooms.append(len(sequence.full_pages) + self.full.free)
        if self.window is not None:
            rooms.append(len(sequence.sliding_pages) + self.sliding.free)
        return min(rooms) * PAGE

    def match(self, sequence: Sequence) -> int:
        """How many leading tokens of ``sequence`` are there already, in whole pages.

        The last token is never among them: the model has to run on it to say what comes next.
        """
        if not self.reuse:
            return 0
        count = min((sequence.length - 1) // PAGE, len(sequence.tokens) // PAGE)
        keys = _hashed(sequence, count)
        if self._has_full:
            count = next((index for index in range(count) if not self.full.find(keys[index])), count)
        if self.window is None:
            return count * PAGE
        # From the longest down: a page that is missing in the window moves the end before that page.
        end, index = count, count - 1
        while index >= self._first_seen(end * PAGE):
            if not self.sliding.find(keys[index]):
                end = index
            index -= 1
        return end * PAGE

    def admit(self, sequence: Sequence, *, chunk: int = 1, spare: int = 0, promised: int = 0) -> bool:
        """Give ``sequence`` the pages of its prefix that are there; False (and nothing) if room is short.

        Afterwards there must be full pages for all of its tokens, beyond those ``promised`` to others, and
        sliding pages for the next ``chunk`` tokens, and ``spare`` more pages of both kinds.

        Raises:
            LedgerError: it holds pages already.
        """
        if sequence.full_pages or sequence.sliding_pages:
            raise LedgerError("a sequence was admitted twice")
        tokens = self.match(sequence)
        count, first = tokens // PAGE, self._first_seen(tokens)
        full: list[int] = []
        sliding: list[int] = []
        if self._has_full:
            full = [self.full.find(key) for key in sequence.page_keys[:count]]
            wanted = pages_for(sequence.length) - count + sum(map(self.full.is_idle, full))
            if wanted + spare + promised > self.full.free:
                return False
        if self.window is not None:
            sliding = [self.sliding.find(key) for key in sequence.page_keys[first:count]]
            wanted = pages_for(min(sequence.length, tokens + chunk)) - count
            if wanted + sum(map(self.sliding.is_idle, sliding)) + spare > self.sliding.free:
                return False
            sequence.sliding_pages[:] = [0] * first + sliding
        sequence.full_pages[:] = full
        for page in full:
            self.full.share(page)
        for page in sliding:
            self.sliding.share(page)
        sequence.computed = sequence.confirmed = tokens
        if sequence.preemptions == 0:
            sequence.cached = tokens
        return True

    def extend(self, sequence: Sequence, tokens: int) -> bool:
        """Make sure that there are pages for the first ``tokens`` tokens; False (and no change) if not."""
        if tokens > self.room(sequence):
            return False
        count = pages_for(tokens)
        if self._has_full:
            sequence.full_pages.extend(self.full.take(max(count - len(sequence.full_pages), 0)))
        if self.window is not None:
            sequence.sliding_pages.extend(self.sliding.take(max(count - len(sequence.sliding_pages), 0)))
        return True

    def confirm(self, sequence: Sequence, tokens: int) -> None:
        """The first ``tokens`` tokens stand in the pages, and their ids are known.

        Whole pages can be found from now on, and the sliding pages that no later token sees are free. What
        is later than ``tokens`` may still be in flight, so only ``tokens`` decides what a later token sees.

        Raises:
            LedgerError: so many tokens were never computed, or their ids are not known.
        """
        if tokens > min(sequence.computed, len(sequence.tokens)):
            raise LedgerError("tokens were confirmed that were not computed")
        before = sequence.confirmed
        if tokens <= before:
            return
        sequence.confirmed = tokens
        keys = _hashed(sequence, tokens // PAGE)
        for index in range(before // PAGE, tokens // PAGE):
            if self._has_full:
                self.full.label(sequence.full_pages[index], keys[index])
            if self.window is not None:
                self.sliding.label(sequence.sliding_pages[index], keys[index])
        for index in reversed(range(self._first_seen(before), self._first_seen(tokens))):
            self._give_sliding(sequence, index)
            sequence.sliding_pages[index] = 0

    def rollback(self, sequence: Sequence) -> None:
        """A forward pass failed: forget all that is not confirmed."""
        self._cut(sequence, pages_for(sequence.confirmed))
        sequence.computed = sequence.confirmed

    def release(self, sequence: Sequence) -> None:
        """Take back all pages of ``sequence``. Those with a key can be found until they are needed."""
        self._cut(sequence, 0)
        sequence.computed = sequence.confirmed = 0

    def check(self, sequences: Iterable[Sequence]) -> None:
        """Make sure that every page is free, cached or held exactly as often as ``sequences`` say.

        Raises:
            LedgerError: a page is lost, held by nobody or given away twice.
        """
        full: Counter[int] = Counter()
        sliding: Counter[int] = Counter()
        for sequence in sequences:
            full.update(sequence.full_pages)
            sliding.update(page for page in sequence.sliding_pages if page)
        self.full.check(full)
        self.sliding.check(sliding)

    def _first_seen(self, tokens: int) -> int:
        """The first sliding page that a token after ``tokens`` others sees."""
        return 0 if self.window is None else max(tokens - self.window + 1, 0) // PAGE

    def _cut(self, sequence: Sequence, count: int) -> None:
        """Take back the pages from number ``count`` on, last first: the tail of a conversation goes before
        its beginning, which more of the later requests share."""
        for index in reversed(range(count, len(sequence.full_pages))):
            self._label(self.full, sequence, index, sequence.full_pages[index])
            self.full.give(sequence.full_pages[index])
        for index in reversed(range(count, len(sequence.sliding_pages))):
            if sequence.sliding_pages[index]:
                self._give_sliding(sequence, index)
        del sequence.full_pages[count:], sequence.sliding_pages[count:]

    def _give_sliding(self, sequence: Sequence, index: int) -> None:
        self._label(self.sliding, sequence, index, sequence.sliding_pages[index])
        self.sliding.give(sequence.sliding_pages[index])

    @staticmethod
    def _label(pool: PagePool, sequence: Sequence, index: int, page: int) -> None:
        """Key a confirmed page again before it is given back: the page that had the key may be gone."""
        if index < sequence.confirmed // PAGE:
            pool.label(page, sequence.page_keys[index])


def _hashed(sequence: Sequence, count: int) -> list[bytes]:
    """The keys of ``sequence``, at least ``count``; each is worked out once in the sequence's life."""
    keys = sequence.page_keys
    while len(keys) < count:
        start = len(keys) * PAGE
        ids = _IDS.pack(*sequence.tokens[start : start + PAGE])
        keys.append(blake2b((keys[-1] if keys else b"") + ids, digest_size=_KEY_BYTES).digest())
    return keys
