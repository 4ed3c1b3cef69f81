"""The functions of a terminal chat: of a file, answered by the person, or the demonstration's own."""

from __future__ import annotations

import ast
import datetime
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from inference.errors import HarmonyFormatError
from inference.message_rules import FUNCTIONS, checked_tools
from inference.types import Message, Prompt, Role, ToolSpec

DEMONSTRATION = "demo"
OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class ToolsError(Exception):
    """The functions cannot be declared; ``str(error)`` says why."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the model may call. Functions with an entry in ``own`` are answered by the program itself."""

    specs: tuple[ToolSpec, ...] = ()
    own: Mapping[str, Callable[[Mapping[str, Any]], str]] = field(default_factory=dict)

    def answer(self, call: Message) -> str | None:
        """The program's own result of a call, or why there cannot be one; ``None`` asks the person."""
        name = (call.recipient or "").removeprefix(FUNCTIONS)
        if name not in {spec.name for spec in self.specs}:
            return json.dumps({"error": f"There is no function {name}."})
        if name not in self.own:
            return None
        try:
            arguments = json.loads(call.content or "{}")
            return self.own[name](arguments if isinstance(arguments, dict) else {})
        except (ValueError, ArithmeticError, TypeError, SyntaxError) as error:
            return json.dumps({"error": str(error) or type(error).__name__})


def result_of(call: Message, text: str) -> Message:
    """The message that gives the model a result."""
    return Message(Role.TOOL, text, call.channel, "assistant", call.recipient)


def read_tools(name: str) -> Tools:
    """The functions of a file, or those of the demonstration for ``demo``.

    The file holds a JSON list of functions, as OpenAI's APIs take them: ``{"type": "function", "function":
    {"name", "description", "parameters"}}``, or the inner objects alone.

    Raises:
        ToolsError: the file cannot be read, or declares what cannot be.
    """
    if name == DEMONSTRATION:
        return demonstration()
    try:
        given = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolsError(f"{name} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ToolsError(f"{name} is not JSON: {error}.") from None
    if isinstance(given, dict):
        given = given.get("tools", [given])
    if not isinstance(given, list) or not given:
        raise ToolsError(f"{name} must hold a list of functions.")
    specs = tuple(_spec(each, number) for number, each in enumerate(given, 1))
    try:
        checked_tools(Prompt((), tools=specs))
    except HarmonyFormatError as error:
        raise ToolsError(f"{name}: {error}") from None
    return Tools(specs)


def _spec(given: object, number: int) -> ToolSpec:
    inner = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ToolsError(f"Function {number} needs a name.")
    description, parameters = inner.get("description", ""), inner.get("parameters")
    if not isinstance(description, str) or not isinstance(parameters, dict | None):
        raise ToolsError(f"Function {number} needs a text as description, and a JSON schema as parameters.")
    return ToolSpec(inner["name"], description, parameters, bool(inner.get("strict", False)))


def demonstration() -> Tools:
    """Two functions that need nobody: the time in a city, and the total of an expression."""
    city = {"city": {"type": "string"}}
    time = ToolSpec(
        "get_time",
        "Get the time in a city.",
        {"type": "object", "properties": city, "required": ["city"]},
    )
    expression = {"type": "string", "description": "Such as 12 * (3 + 4)."}
    total = ToolSpec(
        "get_total",
        "Get the total of an expression.",
        {"type": "object", "properties": {"expression": expression}, "required": ["expression"]},
    )
    return Tools((time, total), {"get_time": _time, "get_total": _total})


def _time(arguments: Mapping[str, Any]) -> str:
    """The time in a city that stands for a time zone, such as ``Europe/Paris``."""
    city = str(arguments.get("city", "")).strip().replace(" ", "_").lower()
    zone = next((each for each in available_timezones() if each.lower().rpartition("/")[2] == city), None)
    if zone is None:
        raise ValueError("This city has no time zone of its name.")
    return json.dumps({"time": datetime.datetime.now(ZoneInfo(zone)).strftime("%H:%M")})


def _total(arguments: Mapping[str, Any]) -> str:
    expression = str(arguments.get("expression", ""))
    if len(expression) > 200:
        raise ValueError("The expression is too long.")
    return json.dumps({"total": _value(ast.parse(expression, mode="eval").body)})


def _value(node: ast.expr) -> float:
    """Numbers and the four kinds of arithmetic; nothing else is looked at."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            result: float = OPERATORS[type(op)](_value(left), _value(right))
            return result
    raise ValueError("Only numbers, + - * / // % and brackets can be reckoned.")
