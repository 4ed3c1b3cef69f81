"""The functions that the operator declares; a part of ``playground.settings.Settings``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    StrictStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings

from inference.types import ToolSpec
from playground.strict import Strict

FILE_BYTES = 1_000_000
MOST_FUNCTIONS = 32
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,8000}")
TAKEN_HEADERS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class OperatorFunction:
    """A function that the server answers by asking ``url``. Address and headers are the operator's secret."""

    spec: ToolSpec
    url: str
    headers: Mapping[str, SecretStr]
    timeout_seconds: float


class _Item(Strict):
    """One function of the file."""

    name: StrictStr
    description: StrictStr = ""
    parameters: dict[str, Any] | None = None
    url: StrictStr
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(ge=0.1, le=120)] = 10.0

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.fragment
        if not whole or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("must look like https://functions.example.org/price")
        if "@" in parts.netloc:
            raise ValueError("must not hold a password; use headers")
        _ = parts.port  # ValueError for what is none
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(secret.get_secret_value()):
                raise ValueError("must be names and values of HTTP headers")
            if name.lower() in TAKEN_HEADERS:
                raise ValueError(f"cannot set {name}")
        return value


class FunctionSettings(BaseSettings):
    """Which file declares the operator's functions."""

    functions_file: Path | None = Field(
        default=None,
        description="A JSON file with functions that the server answers: a list of `{name, description, "
        "parameters, url, headers?, timeout_seconds?}`.",
    )
    _operator_functions: tuple[OperatorFunction, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _read_functions(self) -> Self:
        if self.functions_file is not None:
            found, mistakes = read_functions(self.functions_file)
            if mistakes:
                raise ValueError(".\n".join(f"FUNCTIONS_FILE: {each}" for each in mistakes))
            self._operator_functions = found
        return self

    @property
    def operator_functions(self) -> tuple[OperatorFunction, ...]:
        """The functions of ``functions_file``, read at the start."""
        return self._operator_functions


def read_functions(path: Path) -> tuple[tuple[OperatorFunction, ...], list[str]]:
    """The functions of a file, and a phrase for each mistake. No value of the file is repeated."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        return (), [f"the file cannot be read: {error.strerror or type(error).__name__}"]
    if len(data) > FILE_BYTES:
        return (), ["the file is larger than 1 MB"]
    try:
        entries = TypeAdapter(list[Any]).validate_python(json.loads(data))
    except (ValueError, RecursionError):
        return (), ["the file is not a JSON list of functions"]
    if len(entries) > MOST_FUNCTIONS:
        return (), [f"at most {MOST_FUNCTIONS} functions can be declared"]
    found: list[OperatorFunction] = []
    mistakes: list[str] = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        what = f"function {number}" + (f" ({name})" if isinstance(name, str) and name.isidentifier() else "")
        function, faults = _function(entry)
        if function is not None and function.spec.name in {each.spec.name for each in found}:
            faults = ["this name comes twice"]
        elif function is not None:
            found.append(function)
        mistakes += [f"{what}: {fault}" for fault in faults]
    return tuple(found), mistakes


def _function(entry: Any) -> tuple[OperatorFunction | None, list[str]]:
    """One function, or its mistakes."""
    from playground.errors import PlaygroundError  # only where there is such a file: it loads the vocabulary
    from playground.function_rules import check_function

    try:
        item = _Item.model_validate(entry)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return None, [_phrase(fault["loc"], fault["msg"]) for fault in faults]
    spec = ToolSpec(item.name, item.description, item.parameters)
    try:
        check_function(spec)
    except PlaygroundError as error:
        return None, [error.message.rstrip(".")]
    return OperatorFunction(spec, item.url, item.headers, item.timeout_seconds), []


def _phrase(location: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    if not location:
        return "it is not a JSON object"
    if message == "Field required":
        return f"{location[0]} is missing"
    if message == "Extra inputs are not permitted":
        return f"{str(location[0])[:60]!r} is not a field of a function"
    return f"{location[0]} {words[:1].lower()}{words[1:]}"
