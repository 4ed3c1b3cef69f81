"""Ids of responses and of their items: an output item's id names its response, so that it is found again."""

from __future__ import annotations

import re

from storage.records import new_id

RESPONSE = "resp_"
OUTPUT_ITEM = re.compile(r"(?:rs|fc|msg)_([0-9a-f]{32})[0-9a-f]{4}\Z")
MOST_ITEMS = 0xFFFF


def new_response_id() -> str:
    """A fresh id of a response."""
    return RESPONSE + new_id()


def output_item_id(prefix: str, response_id: str, place: int) -> str:
    """The id of an output item: ``rs`` (reasoning), ``fc`` (function call) or ``msg``."""
    return f"{prefix}_{response_id.removeprefix(RESPONSE)}{min(place, MOST_ITEMS):04x}"


def input_item_id(prefix: str, response_id: str, place: int) -> str:
    """The id of an input item that came without one; it never looks like an output item's."""
    return f"{prefix}_{response_id.removeprefix(RESPONSE)}_{place}"


def response_of(item_id: object) -> str | None:
    """The response that an output item's id names."""
    found = OUTPUT_ITEM.match(item_id) if isinstance(item_id, str) else None
    return None if found is None else RESPONSE + found[1]
