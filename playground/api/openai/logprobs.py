"""Log-probabilities of tokens as both APIs write them."""

from __future__ import annotations

from typing import Any

from inference.harmony import HarmonyCodec
from inference.types import TokenLogprob

Json = dict[str, Any]

LEAST_LOGPROB = -9999.0
"""What JSON has instead of minus infinity, here as elsewhere."""


def entry_of(codec: HarmonyCodec, logprob: TokenLogprob) -> Json:
    """A token with ``logprob``, ``bytes`` and its ``top_logprobs``; special tokens have their names."""
    top = [_named(codec, token, value) for token, value in logprob.top]
    return {**_named(codec, logprob.token_id, logprob.logprob), "top_logprobs": top}


def _named(codec: HarmonyCodec, token: int, value: float) -> Json:
    text, raw = codec.decode([token]), codec.token_bytes(token)
    return {
        "token": text,
        "logprob": max(value, LEAST_LOGPROB),
        "bytes": list(text.encode() if raw is None else raw),
    }
