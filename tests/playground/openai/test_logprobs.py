"""Log-probabilities as clients read them."""

from __future__ import annotations

import json
import math

from inference.harmony import HarmonyCodec
from inference.types import TokenLogprob
from inference.vocabulary import RETURN
from playground.api.openai.logprobs import entry_of


def test_every_entry_can_be_written_as_json_and_has_its_bytes() -> None:
    codec = HarmonyCodec.load()
    entry = entry_of(codec, TokenLogprob(0, -math.inf, ((RETURN, -0.25), (0, -math.inf))))
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["bytes"] == list(codec.token_bytes(0) or b"")
    special = entry["top_logprobs"][0]
    assert special == {"token": "<|return|>", "logprob": -0.25, "bytes": list(b"<|return|>")}
