"""What is read from outside, as pydantic models: nothing unknown, nothing rounded, cheap faults."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

MOST_KEYS = 200
"""No object that is read has so many fields."""


class Strict(BaseModel):
    """Base of such models. Lists in them end at their first fault: what is told is the first one alone."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _first_strange_key(cls, given: object) -> object:
        """Leave one of very many: each would be noted as a fault of its own, for seconds."""
        if not isinstance(given, dict) or len(given) <= MOST_KEYS:
            return given
        known = {field.alias or name for name, field in cls.model_fields.items()}
        strange = next(key for key in given if key not in known)
        return {key: value for key, value in given.items() if key in known or key == strange}
