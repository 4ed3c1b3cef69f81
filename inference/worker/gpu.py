"""Steps on a CUDA GPU: decode passes are CUDA graphs that find all they need on the device.

Each running sequence has a slot. The device holds, for each slot, its page tables, the position and id of its
newest token, and how it samples; a decode pass reads and advances them. So the pass after this one can be
launched before the host knows what this one chose, and the GPU never waits for Python.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from inference.types import TokenLogprob
from inference.worker.gpu_network import GpuNetwork, GpuPages
from inference.worker.guide import Mask
from inference.worker.kernels.attention_decode import decode_attention, decode_workspace
from inference.worker.kernels.attention_prefill import prefill_attention, prefill_blocks
from inference.worker.kernels.fused import mark_broken, rms_norm, rotary_store
from inference.worker.kernels.sample import sample, sample_workspace
from inference.worker.pages import pages_for
from inference.worker.runner import Chosen, Launch
from inference.worker.scheduling import Piece
from inference.worker.sequence import Sequence

GRAPH_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


@dataclass(slots=True)
class Slots:
    """What the device knows of each slot; the last row is the dummy that padding points to.

    ``full`` and ``sliding`` int32 [slots + 1, pages]; ``position`` int32, ``last_id`` int64, ``temperature``
    and ``top_p`` float32, ``seed`` int64, all [slots + 1]. ``masks`` and ``has_mask`` are the sampler's.
    """

    full: Tensor
    sliding: Tensor
    position: Tensor
    last_id: Tensor
    temperature: Tensor
    top_p: Tensor
    seed: Tensor
    masks: Tensor
    has_mask: Tensor

    @staticmethod
    def empty(slots: int, context: int, vocab: int, device: torch.device) -> Slots:
        """Nobody is there yet. The tables are long enough for ``context`` tokens."""
        size = (slots + 1, pages_for(context) + 1)
        return Slots(
            torch.zeros(size, dtype=torch.int32, device=device),
            torch.zeros(size, dtype=torch.int32, device=device),
            torch.zeros(slots + 1, dtype=torch.int32, device=device),
            torch.zeros(slots + 1, dtype=torch.int64, device=device),
            torch.zeros(slots + 1, dtype=torch.float32, device=device),
            torch.ones(slots + 1, dtype=torch.float32, device=device),
            torch.zeros(slots + 1, dtype=torch.int64, device=device),
            torch.zeros((slots + 1, -(-vocab // 32)), dtype=torch.int32, device=device),
            torch.zeros(slots + 1, dtype=torch.int32, device=device),
        )

    def table(self, window: int | None) -> Tensor:
        """The page table of the layers with this window."""
        return self.full if window is None else self.sliding


@dataclass(slots=True)
class Graph:
    """A decode pass for a fixed number of rows: its inputs and outputs stay where they are."""

    slot_of_row: Tensor
    ids: Tensor
    logits: Tensor
    graph: torch.cuda.CUDAGraph | None = None


@dataclass(slots=True)
class GpuLaunch:
    """A pass whose chosen ids are on their way to the host.

    ``ids`` has one for each of ``sequences``, or -1 where the numbers went wrong. Those from ``chosen`` on
    got no token in this pass: they are in the middle of their prompts.
    """

    sequences: tuple[Sequence, ...]
    chosen: int
    ids: Tensor
    done: Any
    scores: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def collect(self) -> list[Chosen]:
        """See ``Launch``."""
        if self.done is not None:
            self.done.synchronize()
        told = []
        # A graph has more rows than sequences: the rest of the ids means nothing.
        for row, (sequence, token) in enumerate(zip(self.sequences, self.ids.tolist(), strict=False)):
            if token < 0:
                told.append(Chosen(sequence, None))
            elif row < self.chosen:
                score = self._score(row, token) if row in self.scores else None
                told.append(Chosen(sequence, token, score))
        return told

    def _score(self, row: int, token: int) -> TokenLogprob:
        own, best, ids = (part.cpu() for part in self.scores[row])
        top = tuple(zip(ids.tolist(), best.tolist(), strict=True))
        return TokenLogprob(token, float(own), top)


@dataclass(frozen=True, slots=True)
class Broken:
    """A pass that ran, and whose results cannot be had."""

    error: Exception

    def collect(self) -> list[Chosen]:
        """See ``Launch``."""
        raise self.error


class GpuRunner:
    """See ``Runner``.

    ``reproducible``: every decode pass has the shape of a full one, so that a row's numbers do not depend on
    how many others there are.
    """

    depth = 1

    def __init__(
        self, network: GpuNetwork, pages: GpuPages, slots: int, context: int, *, reproducible: bool = False
    ) -> None:
        self._network, self._pages, self._reproducible = network, pages, reproducible
        shape, self._device = network.weights.shape, network.weights.embedding.device
        self._count = slots
        self._slots = Slots.empty(slots, context, shape.vocab, self._device)
        self._attention = decode_workspace(slots, shape.heads, shape.kv_heads, shape.head_dim, self._device)
        self._sampler = sample_workspace(slots, shape.vocab, self._device)
        self._graphs: dict[int, Graph] = {}
        self._rows: dict[int, tuple[int, ...]] = {}
        self._written: dict[int, tuple[Sequence, int, int, int]] = {}
        self._masks: dict[int, Mask] = {}

    # --- the border ------------------------------------------------------------------------------

    def prefill(self, pieces: Several[Piece]) -> GpuLaunch:
        """See ``Runner``."""
        with torch.inference_mode():
            self._sync([piece.sequence for piece in pieces])
            return self._read(pieces)

    def decode(self, sequences: Several[Sequence]) -> Launch:
        """See ``Runner``."""
        with torch.inference_mode():
            self._sync(sequences)
            self._set_masks(sequences)
            return self._write(sequences)

    def scrub(self, sequence: Sequence) -> None:
        """See ``Runner``. Our kernels read nothing that was not written for the sequence itself."""

    def capture(self) -> None:
        """Record the decode graphs; all kernels must have run once for these sizes."""
        with torch.inference_mode():
            pool = None
            for size in reversed(self._sizes()):
                graph = self._graph(size)
                self._pass(graph)  # compiles what is still missing
                torch.cuda.synchronize(self._device)
                recorded = torch.cuda.CUDAGraph()
                # The worker's thread may be writing replies with another model, and must not disturb this.
                with torch.cuda.graph(recorded, pool=pool, capture_error_mode="thread_local"):
                    self._pass(graph)
                pool = pool or recorded.pool()
                graph.graph = recorded

    # --- decode ----------------------------------------------------------------------------------

    def _sizes(self) -> list[int]:
        if self._reproducible:
            return [self._count]
        return [size for size in GRAPH_SIZES if size < self._count] + [self._count]

    def _graph(self, size: int) -> Graph:
        if size not in self._graphs:
            shape = self._network.weights.shape
            self._graphs[size] = Graph(
                torch.full((size,), self._count, dtype=torch.int32, device=self._device),
                torch.zeros(size, dtype=torch.int64, device=self._device),
                torch.empty(size, shape.vocab, dtype=torch.bfloat16, device=self._device),
            )
        return self._graphs[size]

    def _write(self, sequences: Several[Sequence]) -> Launch:
        size = next(size for size in self._sizes() if size >= len(sequences))
        graph = self._graph(size)
        rows = tuple(sequence.slot for sequence in sequences)
        if self._rows.get(size) != rows:
            graph.slot_of_row.copy_(self._send([*rows, *[self._count] * (size - len(rows))], torch.int32))
            self._rows[size] = rows
        if graph.graph is not None:
            graph.graph.replay()
        else:
            self._pass(graph)
        try:
            return self._launched(tuple(sequences), len(sequences), graph.ids, graph.logits)
        except Exception as error:
            # The pass has stepped its rows on, so it must not be repeated: it ends for all of them.
            return Broken(error)

    def _pass(self, graph: Graph) -> None:
        """One decode pass over the rows of ``graph``."""
        network, slots = self._network, self._slots
        shape = network.weights.shape

        def attend(layer: int, qkv: Tensor) -> Tensor:
            window = shape.windows[layer]
            out = torch.empty(qkv.shape[0], shape.heads * shape.head_dim, dtype=qkv.dtype, device=qkv.device)
            decode_attention(
                qkv,
                network.cos,
                network.sin,
                self._pages.keys[layer],
                self._pages.values[layer],
                slots.table(window),
                graph.slot_of_row,
                slots.position,
                network.weights.layers[layer].sinks,
                window,
                out,
                self._attention,
            )
            return out

        ids = slots.last_id.index_select(0, graph.slot_of_row)
        network.logits(network.trunk(ids, attend, normed=True), graph.logits)
        self._sample(graph.logits, graph.slot_of_row, graph.ids)

    # --- prefill ---------------------------------------------------------------------------------

    def _read(self, pieces: Several[Piece]) -> GpuLaunch:
        network, slots = self._network, self._slots
        shape = network.weights.shape
        # Those that get a token come first, so that their ids do.
        pieces = sorted(pieces, key=lambda piece: not piece.last)
        ids, positions, rows, owner = self._flat(pieces)
        blocks = prefill_blocks(
            [(piece.count, piece.sequence.slot, piece.start) for piece in pieces], shape.heads, shape.kv_heads
        ).to(self._device, non_blocking=True)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            window, keys, values = shape.windows[layer], self._pages.keys[layer], self._pages.values[layer]
            rotary_store(qkv, positions, rows, network.cos, network.sin, slots.table(window), keys, values)
            out = torch.empty(qkv.shape[0], shape.heads * shape.head_dim, dtype=qkv.dtype, device=qkv.device)
            sinks = network.weights.layers[layer].sinks
            prefill_attention(qkv, keys, values, slots.table(window), blocks, sinks, window, out)
            return out

        hidden = network.trunk(ids, attend)
        told = torch.zeros(len(pieces), dtype=torch.int64, device=self._device)
        logits = self._first_tokens([piece for piece in pieces if piece.last], hidden, told)
        # Others may find these pages as soon as this pass is over, so all of it must have gone well.
        mark_broken(hidden, owner, told)
        ends = 0 if logits is None else len(logits)
        return self._launched(tuple(piece.sequence for piece in pieces), ends, told, logits)

    def _first_tokens(self, ends: Several[Piece], hidden: Tensor, ids: Tensor) -> Tensor | None:
        """Choose the next tokens of these pieces, the first of ``hidden``, into ``ids``; give the logits."""
        if not ends:
            return None
        sequences = [piece.sequence for piece in ends]
        self._set_sampling(sequences)
        self._set_masks(sequences)
        last = self._send([flat - 1 for flat in accumulate(piece.count for piece in ends)], torch.int64)
        logits = torch.empty(
            len(ends), self._network.weights.shape.vocab, dtype=torch.bfloat16, device=self._device
        )
        weights = self._network.weights
        ended = rms_norm(hidden.index_select(0, last), weights.norm, weights.shape.eps)
        self._network.logits(ended, logits)
        self._sample(logits, self._send([sequence.slot for sequence in sequences], torch.int32), ids)
        return logits

    def _flat(self, pieces: Several[Piece]) -> Tensor:
        """Ids, positions, slots and numbers of the piece of a flat run of tokens, [4, tokens]."""
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        owner: list[int] = []
        for number, piece in enumerate(pieces):
            end = piece.start + piece.count
            ids += piece.sequence.tokens[piece.start : end]
            positions += range(piece.start, end)
            slots += [piece.sequence.slot] * piece.count
            owner += [number] * piece.count
        return self._send([ids, positions, slots, owner], torch.int32)

    # --- the device's tables ---------------------------------------------------------------------

    def _sync(self, sequences: Several[Sequence]) -> None:
        """Write the pages that these sequences got since they were last here into the tables."""
        updates: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        written: dict[int, tuple[Sequence, int, int, int]] = {}
        for sequence in sequences:
            known, epoch, *done = self._written.get(sequence.slot, (None, 0, 0, 0))
            if known is not sequence or epoch != sequence.preemptions:
                done = [0, 0]
            pairs = ((self._slots.full, sequence.full_pages), (self._slots.sliding, sequence.sliding_pages))
            for kind, (table, pages) in enumerate(pairs):
                first = sequence.slot * table.shape[1]
                updates[kind].extend((first + at, pages[at]) for at in range(done[kind], len(pages)))
            counts = len(sequence.full_pages), len(sequence.sliding_pages)
            written[sequence.slot] = (sequence, sequence.preemptions, *counts)
        for table, new in zip((self._slots.full, self._slots.sliding), updates, strict=True):
            if new:
                sent = self._send([[at for at, _ in new], [page for _, page in new]], torch.int64)
                table.view(-1).index_copy_(0, sent[0], sent[1].to(torch.int32))
        self._written.update(written)  # not before: a launch that failed is repeated

    def _set_sampling(self, sequences: Several[Sequence]) -> None:
        """Tell the device where these sequences stand and how they sample, before their first token."""
        rows = self._send([sequence.slot for sequence in sequences], torch.int64)
        samplings = [sequence.request.sampling for sequence in sequences]
        numbers = self._send(
            [[s.temperature for s in samplings], [s.top_p for s in samplings]], torch.float32
        )
        places = self._send([[s.length - 1 for s in sequences], [s.seed for s in sequences]], torch.int64)
        self._slots.temperature.index_copy_(0, rows, numbers[0])
        self._slots.top_p.index_copy_(0, rows, numbers[1])
        self._slots.position.index_copy_(0, rows, places[0].to(torch.int32))
        self._slots.seed.index_copy_(0, rows, places[1])

    def _set_masks(self, sequences: Several[Sequence]) -> None:
        """Tell the device which ids these sequences may choose from, where that has changed."""
        changed = {s.slot: s.mask for s in sequences if self._masks.get(s.slot) is not s.mask}
        if not changed:
            return
        flags = self._send([[*changed], [mask is not None for mask in changed.values()]], torch.int64)
        self._slots.has_mask.index_copy_(0, flags[0], flags[1].to(torch.int32))
        held = {slot: mask for slot, mask in changed.items() if mask is not None}
        if held:
            bits = self._move(torch.stack([mask.bits for mask in held.values()]))
            rows = self._send([*held], torch.int64)
            self._slots.masks[:, : bits.shape[1]].index_copy_(0, rows, bits)
        for slot in changed:
            self._masks.pop(slot, None)
        self._masks.update(held)

    def _sample(self, logits: Tensor, rows: Tensor, ids: Tensor) -> None:
        slots = self._slots
        sample(
            logits, rows, slots.temperature, slots.top_p, slots.seed, slots.position, slots.last_id, ids,
            self._sampler, masks=slots.masks, has_mask=slots.has_mask,
        )  # fmt: skip

    # --- host and device -------------------------------------------------------------------------

    def _send(self, numbers: object, dtype: torch.dtype) -> Tensor:
        """Numbers to the device without waiting for it."""
        return self._move(torch.tensor(numbers, dtype=dtype))

    def _move(self, tensor: Tensor) -> Tensor:
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _launched(
        self, sequences: tuple[Sequence, ...], chosen: int, ids: Tensor, logits: Tensor | None
    ) -> GpuLaunch:
        scores = self._scores(sequences[:chosen], ids, logits)
        if self._device.type != "cuda":
            return GpuLaunch(sequences, chosen, ids.clone(), None, scores)
        host = torch.empty(ids.shape, dtype=ids.dtype, pin_memory=True)
        host.copy_(ids, non_blocking=True)
        done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return GpuLaunch(sequences, chosen, host, done, scores)

    @staticmethod
    def _scores(
        sequences: tuple[Sequence, ...], ids: Tensor, logits: Tensor | None
    ) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """Log-probabilities of the rows that ask for them: of the chosen id, and the likeliest with ids."""
        made = {}
        for row, sequence in enumerate(sequences):
            wanted = sequence.request.sampling.logprobs
            if wanted is not None and logits is not None:
                logs = torch.log_softmax(logits[row].float(), dim=-1)
                best, top = torch.topk(logs, min(wanted, logs.numel()))
                made[row] = (logs.index_select(0, ids[row : row + 1].clamp(min=0))[0], best, top)
        return made
