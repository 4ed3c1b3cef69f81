"""What following a grammar may cost. Both sides use the same limits: what was tried can be followed."""

from __future__ import annotations

from llguidance import LLParserLimits


def limits() -> LLParserLimits:
    """Some tens of milliseconds in a step, and some tens of megabytes, at the very most."""
    return LLParserLimits(max_lexer_states=30_000, max_grammar_size=200_000, verbose_errors=False)
