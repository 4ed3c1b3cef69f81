"""The plain forward pass and its attention: against transformers and a naive loop, and the same to the bit
whatever is computed beside a row.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRotaryEmbedding

from inference.worker import plain_attention
from inference.worker.checkpoint import inspect
from inference.worker.pages import PAGE
from inference.worker.plain import PlainNetwork
from inference.worker.plain_attention import PagedKv, attend, piece_span, piece_spans, token_spans
from inference.worker.plain_linear import ROWS, Head, Linear, pad_rows
from inference.worker.weights import Shape, model_config, read_weights, rotation
from tests.inference.checkpoints import (
    change_tensors,
    full_logits,
    plain_checkpoint,
    prompt,
    tiny_config,
    write_checkpoint,
)

CPU = torch.device("cpu")
SHAPE = Shape(320, 64, 64, 4, 2, 16, 4, 2, (20, None), 1e-5, 7.0, 1.702, 2048)
POOL = 80  # pages


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def noise(seed: int, *size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


# --- the whole pass --------------------------------------------------------------------------------


def network_of(folder: Path, dtype: torch.dtype = torch.float32) -> PlainNetwork:
    return PlainNetwork(read_weights(inspect(folder), CPU, dtype, lambda _detail: None))


def logits_of(network: PlainNetwork, ids: tuple[int, ...]) -> Tensor:
    """float32 [ids, vocab], all ids read at once into pages in falling order."""
    shape, count = network.shape, len(ids)
    kv = PagedKv(shape, POOL, POOL, network.dtype, CPU)
    pages = list(range(POOL - 1, POOL - 1 - -(-count // PAGE), -1))
    padding = [0] * (pad_rows(count) - count)
    positions = list(range(count))
    places = torch.tensor([pages[at // PAGE] * PAGE + at % PAGE for at in positions])
    with torch.inference_mode():
        hidden = network.forward(
            kv,
            torch.tensor([*ids, *padding]),
            torch.tensor([*positions, *padding]),
            dict.fromkeys(shape.windows, places),
            {window: [piece_span(0, count, 0, pages, window)] for window in shape.windows},
        )
        return network.head.full(network.head(hidden[:count]))


@pytest.mark.parametrize("length", [1, 15, 16, 50, 200])
def test_every_position_has_transformers_logits(length: int) -> None:
    ids = prompt(3, length)
    theirs = full_logits(plain_checkpoint(), ids, length)
    torch.testing.assert_close(logits_of(network_of(plain_checkpoint()), ids), theirs, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 6, "num_key_value_heads": 1},
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32},
        {"num_experts_per_tok": 4},
        {"num_local_experts": 1, "num_experts_per_tok": 1},
        {"hidden_size": 96, "intermediate_size": 32},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        {"rms_norm_eps": 0.1},
    ],
    ids=str,
)
def test_models_of_other_sizes(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_checkpoint(tmp_path, num_hidden_layers=2, **changes)
    ids = prompt(1, 50)
    torch.testing.assert_close(
        logits_of(network_of(folder), ids), full_logits(folder, ids, 50), atol=2e-4, rtol=1e-5
    )


def test_bfloat16_is_as_near_to_float32_as_transformers_is() -> None:
    network = network_of(plain_checkpoint(), torch.bfloat16)
    ours, theirs = 0.0, 0.0
    for number in range(6):
        ids = prompt(number, 150)
        exact = full_logits(plain_checkpoint(), ids, 150)
        rounded = full_logits(plain_checkpoint(), ids, 150, torch.bfloat16)
        # Middle values: where rounding turns the choice of an expert, a row is far off in either.
        ours += float((logits_of(network, ids) - exact).norm(dim=1).median())
        theirs += float((rounded - exact).norm(dim=1).median())
    assert 0 < ours < 1.3 * theirs


def test_the_rotation_is_transformers_own() -> None:
    for parameters in (None, {"rope_type": "default", "rope_theta": 10_000.0}):
        config = tiny_config() if parameters is None else tiny_config(rope_parameters=parameters)
        theirs = GptOssRotaryEmbedding(config)
        inv_freq, scale = rotation(config, CPU)
        torch.testing.assert_close(inv_freq, theirs.inv_freq)
        assert scale == pytest.approx(theirs.attention_scaling)
    assert rotation(model_config(inspect(plain_checkpoint())), CPU)[1] == pytest.approx(
        0.1 * math.log(32) + 1
    )


# --- attention -------------------------------------------------------------------------------------


def scattered(seed: int, count: int) -> list[list[int]]:
    """Pages for ``count`` sequences, all over the pool; page 0 belongs to nobody."""
    order = torch.randperm(POOL - 1, generator=torch.Generator().manual_seed(seed)) + 1
    return [part.tolist() for part in order.chunk(count)]


def filled(
    seed: int, pages: list[list[int]], lengths: list[int]
) -> tuple[PagedKv, list[tuple[Tensor, Tensor]]]:
    """Pages with each sequence's keys and values in both layers, and large numbers everywhere else."""
    kv = PagedKv(SHAPE, POOL, POOL, torch.float32, CPU)
    for buffer in (*kv.keys, *kv.values):
        buffer[:, 1:] = 1e4
    own = []
    for number, (mine, length) in enumerate(zip(pages, lengths, strict=True)):
        keys = noise(seed + 2 * number, length, SHAPE.kv_heads, SHAPE.head_dim)
        values = noise(seed + 2 * number + 1, length, SHAPE.kv_heads, SHAPE.head_dim)
        places = torch.tensor([mine[at // PAGE] * PAGE + at % PAGE for at in range(length)])
        for layer in range(len(SHAPE.windows)):
            kv.store(layer, places, torch.cat((keys, values), dim=1))
        own.append((keys, values))
    return kv, own


def naive(
    query: Tensor, keys: Tensor, values: Tensor, position: int, window: int | None, sinks: Tensor
) -> Tensor:
    """One row, head after head: [heads * head_dim]."""
    first = 0 if window is None else max(0, position - window + 1)
    group = SHAPE.heads // SHAPE.kv_heads
    heads = []
    for head in range(SHAPE.heads):
        seen = slice(first, position + 1)
        scores = keys[seen, head // group] @ query[head] / math.sqrt(SHAPE.head_dim)
        weights = torch.softmax(torch.cat((scores, sinks[head : head + 1])), 0)[:-1]
        heads.append(weights @ values[seen, head // group])
    return torch.cat(heads)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    positions=st.lists(st.integers(0, 230), min_size=1, max_size=4),
    layer=st.integers(0, 1),
)
def test_new_tokens_see_what_belongs_to_them(seed: int, positions: list[int], layer: int) -> None:
    window, pages = SHAPE.windows[layer], scattered(seed, 4)[: len(positions)]
    kv, own = filled(seed, pages, [position + 1 for position in positions])
    sinks, queries = (
        noise(seed + 50, SHAPE.heads),
        noise(seed + 51, len(positions), SHAPE.heads, SHAPE.head_dim),
    )
    made = attend(kv, layer, queries, token_spans(positions, pages, window), sinks)
    for row, position in enumerate(positions):
        torch.testing.assert_close(
            made[row], naive(queries[row], *own[row], position, window, sinks), atol=1e-5, rtol=1e-4
        )
        single = attend(
            kv, layer, queries[row : row + 1], token_spans([position], [pages[row]], window), sinks
        )
        assert torch.equal(single[0], made[row])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), length=st.integers(1, 230), cut=st.floats(0, 1), layer=st.integers(0, 1))
def test_a_piece_of_a_prompt_sees_what_was_read_before(
    seed: int, length: int, cut: float, layer: int
) -> None:
    window, (pages,) = SHAPE.windows[layer], scattered(seed, 1)
    kv, ((keys, values),) = filled(seed, [pages], [length])
    sinks, queries = noise(seed + 50, SHAPE.heads), noise(seed + 51, length, SHAPE.heads, SHAPE.head_dim)
    start = min(int(cut * length), length - 1)
    rest = attend(kv, layer, queries[start:], [piece_span(start, length - start, 0, pages, window)], sinks)
    for row in {start, (start + length) // 2, length - 1}:
        expected = naive(queries[row], keys, values, row, window, sinks)
        torch.testing.assert_close(rest[row - start], expected, atol=1e-5, rtol=1e-4)
    # The same to the bit when all is read at once, and when it is read as one new token.
    whole = attend(kv, layer, queries, [piece_span(0, length, 0, pages, window)], sinks)
    assert torch.equal(whole[start:], rest)
    last = attend(kv, layer, queries[-1:], token_spans([length - 1], [pages], window), sinks)
    assert torch.equal(last[0], whole[-1])


@pytest.mark.parametrize("layer", [0, 1])
def test_pieces_that_are_read_together_are_read_as_if_alone(layer: int) -> None:
    window, pages = SHAPE.windows[layer], scattered(1, 4)
    lengths, starts = [90, 150, 90, 60], [70, 5, 70, 40]  # the first and the third are alike
    kv, _ = filled(1, pages, lengths)
    sinks = noise(2, SHAPE.heads)
    pieces = [(start, length - start, own) for start, length, own in zip(starts, lengths, pages, strict=True)]
    queries = noise(3, sum(count for _, count, _ in pieces), SHAPE.heads, SHAPE.head_dim)
    spans = piece_spans(pieces, window)
    assert len(spans) == 3
    made, row = attend(kv, layer, queries, spans, sinks), 0
    for start, count, own in pieces:
        alone = attend(
            kv, layer, queries[row : row + count], [piece_span(start, count, 0, own, window)], sinks
        )
        assert torch.equal(made[row : row + count], alone)
        row += count


def test_long_pieces_are_scored_in_parts_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    (pages,) = scattered(1, 1)
    kv, _ = filled(1, [pages], [150])
    sinks, queries = noise(2, SHAPE.heads), noise(3, 150, SHAPE.heads, SHAPE.head_dim)
    spans = [piece_span(0, 150, 0, pages, None)]
    whole = attend(kv, 1, queries, spans, sinks)
    monkeypatch.setattr(plain_attention, "_SCORE_BYTES", 4 * SHAPE.heads * 192 * 7)
    assert torch.equal(attend(kv, 1, queries, spans, sinks), whole)


def test_only_its_own_places_are_written_and_only_given_pages_are_scrubbed() -> None:
    kv = PagedKv(SHAPE, 5, 7, torch.float32, CPU)
    for layer in (0, 1):
        kv.store(layer, torch.tensor([17, 40]), torch.cat((noise(1, 2, 2, 16), noise(2, 2, 2, 16)), dim=1))
        written = kv.keys[layer].abs().sum((0, 3)).flatten().nonzero()[:, 0].tolist()
        assert written == [17, 40]
        assert torch.equal(kv.values[layer][:, 1, 1], noise(2, 2, 2, 16)[0])
    kv.keys[1][0, 1, 1, 0] = float("nan")
    kv.scrub([1], [2])
    assert kv.keys[1][:, 1].abs().sum() == kv.values[1][:, 1].abs().sum() == 0  # the full layer's page 1
    assert kv.keys[1][:, 2].abs().sum() > 0
    assert kv.keys[0][:, 1].abs().sum() > 0
    assert kv.values[0][:, 2].abs().sum() == 0
    kv.scrub([], [])


# --- the output layer ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("outputs", "inputs"), [(384, 128), (8, 256), (72, 40), (2880, 720)])
def test_products_take_each_row_for_itself(dtype: torch.dtype, outputs: int, inputs: int) -> None:
    weight, bias = noise(1, outputs, inputs).to(dtype), noise(2, outputs).to(dtype)
    linear, rows = Linear(weight, bias), noise(3, 256, inputs).to(dtype)
    made = linear(rows)
    exact = rows.double() @ weight.double().T + bias.double()
    bound = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(made.double(), exact, atol=40 * bound, rtol=bound)
    for count in range(ROWS, 257, 3 * ROWS):
        assert torch.equal(linear(rows[-count:]), made[-count:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_output_layer_is_a_product_and_takes_each_row_for_itself(dtype: torch.dtype) -> None:
    weight, hidden = noise(1, 20_000, 64).to(dtype), noise(2, 9, 64).to(dtype)
    head = Head(weight)
    made = head(hidden)
    assert made.dtype == dtype
    torch.testing.assert_close(made, hidden @ weight.T, atol=1e-4, rtol=2e-2)
    for row in range(9):
        assert torch.equal(head(hidden[row : row + 1])[0], made[row])
    assert head.full(made) is made


def test_rows_of_zeros_are_left_out_and_put_back() -> None:
    weight = noise(1, 100, 8)
    weight[[*range(0, 100, 2), 1, 99]] = 0
    weight[3] = float("nan")  # a row that went wrong must not pass for an empty one
    head = Head(weight)
    assert head.ids is not None
    assert head.ids.tolist() == list(range(3, 98, 2))
    hidden = noise(2, 2, 8)
    whole = head.full(head(hidden))
    assert bool(whole[:, 3].isnan().all())
    weight[3] = 0
    whole[:, 3] = 0
    torch.testing.assert_close(whole, hidden @ weight.T)
    assert Head(noise(3, 100, 8)).ids is None


def test_a_pruned_vocabulary_is_embedded_without_its_zeros(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, tie_word_embeddings=True)
    rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    rows[[*range(5), *range(90, 320)]] = 0
    change_tensors(folder, **{"model.embed_tokens.weight": rows})
    network, ids = network_of(folder), (7, 3, 200, 89, 5, 319, 0, 50)
    assert len(network.embedding) == 86
    torch.testing.assert_close(logits_of(network, ids), full_logits(folder, ids, 8), atol=2e-4, rtol=1e-5)


def test_rows_come_in_fours() -> None:
    assert ROWS == 4
    assert [pad_rows(count) for count in (1, 4, 5, 8, 30)] == [4, 4, 8, 8, 32]
