"""Whether a model has room here: bytes, verdicts, and the sentence that people read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from inference.catalog import (
    DEMONSTRATION,
    KNOWN,
    CacheShape,
    Verdict,
    choose_auto,
    describe,
    estimate,
    fits,
    resolve,
)
from inference.demonstration import pack
from inference.types import MachineInfo

SMALL, LARGE = KNOWN["openai/gpt-oss-20b"], KNOWN["openai/gpt-oss-120b"]
H200 = MachineInfo("cuda", "NVIDIA H200", 150_000_000_000, 139_000_000_000, native_mxfp4=True)
CARD = MachineInfo("cuda", "NVIDIA L4", 24_000_000_000, 22_000_000_000, native_mxfp4=True)
LAPTOP = MachineInfo("cpu", "CPU", 32_000_000_000, 18_000_000_000, native_mxfp4=False)


def with_free(machine: MachineInfo, free: float) -> MachineInfo:
    return dataclasses.replace(machine, free_bytes=int(free))


def test_the_20b_keeps_half_of_its_layers_for_the_whole_context() -> None:
    one_layer_one_token = 2 * 8 * 64 * 2
    assert SMALL.cache.bytes_for(0) == 0
    assert SMALL.cache.bytes_for(100) == 24 * 100 * one_layer_one_token
    assert SMALL.cache.bytes_for(128) == 24 * 128 * one_layer_one_token
    assert SMALL.cache.bytes_for(8192) == 12 * (8192 + 128) * one_layer_one_token
    assert LARGE.cache.bytes_for(131_072) == 18 * (131_072 + 128) * one_layer_one_token


@pytest.mark.parametrize("tokens", [128, 1000, 131_072])
@pytest.mark.parametrize("shape", [SMALL.cache, LARGE.cache, DEMONSTRATION.cache])
def test_the_tokens_in_a_room_are_those_that_fill_it(shape: CacheShape, tokens: int) -> None:
    room = shape.bytes_for(tokens)
    assert shape.tokens_within(room) == tokens
    assert shape.tokens_within(room - 1) == tokens - 1
    assert shape.tokens_within(-5) == 0


def test_what_fits_says_what_it_needs() -> None:
    fit = estimate(SMALL, 8192, H200)
    assert fit.verdict is Verdict.FITS
    assert fit.weights_bytes == SMALL.mxfp4_bytes
    assert fit.needed_bytes == fit.weights_bytes + fit.kv_bytes + 1_500_000_000
    assert fit.sentence == "Fits: needs 15.5 GB of 139.0 GB free."
    assert estimate(LARGE, None, H200).verdict is Verdict.FITS


def test_what_does_not_fit_says_both_figures() -> None:
    fit = estimate(LARGE, 8192, CARD)
    assert fit.verdict is Verdict.TOO_LARGE
    assert fit.sentence == "Too large here: needs 67.1 GB, 22.0 GB free."
    older = dataclasses.replace(CARD, native_mxfp4=False)
    assert estimate(SMALL, 8192, older).sentence == "Too large here: needs 43.5 GB unpacked, 22.0 GB free."


def test_a_long_context_may_be_what_does_not_fit() -> None:
    machine = with_free(CARD, SMALL.mxfp4_bytes + 1_500_000_000 + SMALL.cache.bytes_for(20_000))
    fit = estimate(SMALL, None, machine)
    assert fit.verdict is Verdict.TIGHT
    assert "about 20,000 tokens" in fit.sentence
    assert estimate(SMALL, 20_000, machine).verdict is Verdict.FITS
    assert estimate(SMALL, 20_001, machine).verdict is Verdict.TIGHT


def test_a_context_beyond_the_models_own_counts_as_its_own() -> None:
    assert estimate(SMALL, 10**9, H200) == estimate(SMALL, None, H200)


def test_without_a_gpu_the_weights_are_unpacked() -> None:
    assert estimate(SMALL, 8192, LAPTOP).verdict is Verdict.TOO_LARGE
    big = with_free(LAPTOP, 64e9)
    assert estimate(SMALL, 8192, big).sentence == (
        "Runs here without a GPU, slowly: needs 42.0 GB of 64.0 GB free."
    )
    demo = estimate(DEMONSTRATION, None, LAPTOP)
    assert demo.sentence == "Runs here without a GPU: needs 140 MB of 18.0 GB free."


def test_nothing_is_claimed_while_nothing_is_known() -> None:
    fit = estimate(SMALL, None, None)
    assert (fit.verdict, fit.free_bytes) == (Verdict.UNKNOWN, None)
    assert fit.sentence == "Unknown yet: the machine is being looked at."
    assert estimate(None, None, H200).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("free", [10e9, 15.2e9, 15.3e9, 15.4e9, 43.3e9, 43.4e9, 80e9])
@pytest.mark.parametrize("native", [True, False])
def test_auto_and_the_estimate_and_the_loader_agree(free: float, native: bool) -> None:
    machine = dataclasses.replace(with_free(CARD, free), native_mxfp4=native)
    has_room = estimate(SMALL, None, machine).verdict is not Verdict.TOO_LARGE
    assert (choose_auto(int(free), native) == SMALL.name) == has_room
    assert fits(SMALL.mxfp4_bytes if native else SMALL.bfloat16_bytes, int(free)) == has_room


def test_a_folder_is_sized_by_its_files(tmp_path: Path) -> None:
    folder = pack.unpack(tmp_path / "model")
    found = describe(resolve(str(folder)))
    assert found is not None
    assert found.name == folder.name
    assert dataclasses.replace(found, name="demo") == DEMONSTRATION
    assert describe(resolve("demo")) == DEMONSTRATION


def test_what_cannot_be_sized_is_unknown(tmp_path: Path) -> None:
    assert describe(resolve("someone/gpt-oss-tuned")) is None
    assert describe(resolve("20b")) == SMALL
    (tmp_path / "config.json").write_text('{"model_type": "gpt_oss"}')
    assert describe(resolve(str(tmp_path))) is None
