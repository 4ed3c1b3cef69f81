"""The functions of a request, as both APIs declare them, in the project's own terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.message_rules import FUNCTIONS, is_function_name
from inference.types import ToolChoice, ToolSpec
from playground.api.openai.errors import invalid
from playground.api.openai.notes import Notes
from playground.errors import PlaygroundError

MOST_TOOLS = 128
MODES = {"auto", "none", "required"}
FIELDS = {"type", "name", "description", "parameters", "strict"}


def function_of(definition: object, param: str, notes: Notes) -> ToolSpec:
    """A function from ``{"name", "description", "parameters", "strict"}``.

    Both APIs have this object: Chat Completions below ``function``, Responses as the tool itself. Other
    fields are named in ``notes``.

    Raises:
        PlaygroundError: (400) a field is missing or is not what it must be.
    """
    if not isinstance(definition, Mapping):
        raise invalid(f"{param} must be an object with the name of a function.", param)
    name = definition.get("name")
    if not isinstance(name, str) or not is_function_name(name):
        raise invalid(
            f"{param}.name must be 1 to 64 letters, digits, underscores and hyphens.", f"{param}.name"
        )
    description = definition.get("description")
    if description is not None and not isinstance(description, str):
        raise invalid(f"{param}.description must be a text.", f"{param}.description")
    parameters = definition.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise invalid(f"{param}.parameters must be a JSON schema, an object.", f"{param}.parameters")
    strict = definition.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise invalid(f"{param}.strict must be true or false.", f"{param}.strict")
    unknown = {f"{param}.{key}": value for key, value in definition.items() if key not in FIELDS}
    notes.ignored(unknown, {})
    return ToolSpec(name, description or "", parameters or None, bool(strict))


def check_functions(tools: Sequence[ToolSpec], param: str = "tools") -> None:
    """Refuse too many functions, and two of one name.

    Raises:
        PlaygroundError: (400).
    """
    if len(tools) > MOST_TOOLS:
        raise invalid(f"{param} holds more than {MOST_TOOLS} functions.", param)
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise invalid(f"{param} declares {tool.name} twice.", param)
        seen.add(tool.name)


def choice_of(value: object, tools: Sequence[ToolSpec]) -> tuple[ToolChoice, list[ToolSpec]]:
    """``tool_choice`` of either API, and the functions that remain to be declared.

    A text is a mode; ``{"type": "function"}`` names one function, at the top or below ``function``;
    ``{"type": "allowed_tools"}`` leaves some of them.

    Raises:
        PlaygroundError: (400) it makes no sense, or needs a function that is not declared.
    """
    declared = list(tools)
    if value is None:
        return ToolChoice("auto"), declared
    if isinstance(value, str):
        return _mode(value, declared), declared
    if isinstance(value, Mapping):
        if value.get("type") == "function":
            name = _name_in(value)
            _check_declared(name, declared)
            return ToolChoice("required", name), declared
        if value.get("type") == "allowed_tools":
            return _allowed(value, declared)
    raise invalid(
        'tool_choice must be "auto", "none", "required", or an object that names a function.', "tool_choice"
    )


def is_call_of(recipient: str | None) -> str | None:
    """The function's name, where a message is addressed to one."""
    if recipient is None or not recipient.startswith(FUNCTIONS):
        return None
    return recipient.removeprefix(FUNCTIONS)


def _mode(value: str, tools: Sequence[ToolSpec]) -> ToolChoice:
    if value not in MODES:
        raise invalid('tool_choice must be "auto", "none" or "required".', "tool_choice")
    if value == "required" and not tools:
        raise _nothing_declared()
    return ToolChoice(value)  # type: ignore[arg-type]  # it is one of the modes


def _allowed(value: Mapping[str, Any], tools: list[ToolSpec]) -> tuple[ToolChoice, list[ToolSpec]]:
    inner = value.get("allowed_tools", value)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("tools"), list):
        raise invalid("tool_choice.tools must be a list of functions.", "tool_choice")
    if len(inner["tools"]) > MOST_TOOLS:
        raise invalid(f"tool_choice.tools holds more than {MOST_TOOLS} functions.", "tool_choice")
    names = [_name_in(each) for each in inner["tools"]]
    for name in names:
        _check_declared(name, tools)
    left = [tool for tool in tools if tool.name in names]
    mode = inner.get("mode", "auto")
    return _mode(mode if isinstance(mode, str) else "", left), left


def _name_in(value: object) -> str:
    """The function's name in ``{"name"}`` or ``{"function": {"name"}}``."""
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(name, str):
        raise invalid("tool_choice must name a function.", "tool_choice")
    return name


def _check_declared(name: str, tools: Sequence[ToolSpec]) -> None:
    if not tools:
        raise _nothing_declared()
    if all(tool.name != name for tool in tools):
        raise invalid("tool_choice names a function that tools does not declare.", "tool_choice")


def _nothing_declared() -> PlaygroundError:
    return invalid("tool_choice demands a call, but tools declares no function.", "tool_choice")
