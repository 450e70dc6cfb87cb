"""Read a tool's arguments, and report every problem with them."""

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ttp_mcp.text import show_id
from ttp_mcp.toolkit.models import ToolInput
from ttp_mcp.toolkit.registry import Tool
from ttp_mcp.toolkit.schemas import input_schema


class ArgumentProblem(ValueError):
    """Arguments that break a rule; the text names each argument and its rule, never a value."""


def read_arguments(tool: Tool, arguments: dict[str, Any], *, with_confirmation: bool = False) -> ToolInput:
    """Check the arguments of a call.

    The API's own spelling is accepted (`accountIds`), and so are lists and objects that arrive as JSON text.

    Raises:
        ArgumentProblem: With one line for each argument that breaks a rule.
    """
    model = tool.input
    known = set(model.model_fields) - (set() if with_confirmation else {"confirmation"})
    values, problems = _rename(model, known, arguments)
    for name in _structured_fields(model) & values.keys():
        values[name] = _from_json_text(values[name])
    for name, value in values.items():
        problems += [f"{place} {rule}" for place, entry in _entries(name, value) if (rule := _encoding_problem(entry))]
    # Pydantic would read true as 1.
    properties = input_schema(model)["properties"]
    problems += [
        f"{name} {_RULES['int_type']}"
        for name, value in values.items()
        if isinstance(value, bool) and properties.get(name, {}).get("type") == "integer"
    ]
    try:
        checked = model.model_validate(values)
    except ValidationError as error:
        problems += [_problem(details) for details in error.errors(include_url=False, include_input=False)]
    else:
        if not problems:
            return checked
    raise ArgumentProblem(f"{tool.name} not called: " + "; ".join(dict.fromkeys(problems)) + ". Nothing was sent.")


def _rename(model: type[ToolInput], known: set[str], arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    spellings = _spellings(model)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for given, value in arguments.items():
        name = spellings.get(given, given)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"known are {', '.join(sorted(known))}" if known else "it takes no arguments"
            hint = f"did you mean {near[0]}?" if near else hint
            problems.append(f"unknown argument {show_id(given)} ({hint})")
        elif name in values:
            problems.append(f"{name} was given twice")
        else:
            values[name] = value
    return values, problems


@cache
def _spellings(model: type[ToolInput]) -> dict[str, str]:
    # What the API calls `id` has a longer name with us.
    ids = {"id": "post_id"} if "post_id" in model.model_fields else {}
    return {camel_case(name): name for name in model.model_fields} | ids | model.also


def camel_case(name: str) -> str:
    """`account_ids` as the API spells it: `accountIds`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@cache
def _structured_fields(model: type[ToolInput]) -> frozenset[str]:
    properties = input_schema(model)["properties"]
    return frozenset(name for name, schema in properties.items() if schema.get("type") in ("array", "object"))


def _from_json_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _entries(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The entries of a list, each with its place as in the other problems, or an object; a text alone has rules of its own."""
    if isinstance(value, dict):
        yield name, cast("object", value)
    if not isinstance(value, list):
        return
    for position, entry in enumerate(cast("list[object]", value)):
        yield f"{name}.{position}", entry


def _encoding_problem(value: object) -> str | None:
    """The rule that something in a value breaks which no request could carry; without recursion, it may be nested deeply."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            left += cast("dict[object, object]", part)
            left += cast("dict[object, object]", part).values()
        elif isinstance(part, list):
            left += cast("list[object]", part)
        elif isinstance(part, float) and not isfinite(part):
            return "must not hold NaN or an infinite number"
        elif isinstance(part, str) and _LONE_SURROGATE.search(part):
            return _RULES["string_unicode"]
        elif isinstance(part, str) and "\0" in part:
            return "must not hold a NUL character"
    return None


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Words for the rules a value can break, by pydantic's name for the rule; {} are facts of the rule, never the value.
# Every least length of ours is 1.
_RULES = {
    "missing": "is required",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "has the wrong form",
    "string_unicode": "must be valid Unicode",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "extra_forbidden": "is not known here",
    "value_error": "{error}",
}


def _problem(details: ErrorDetails) -> str:
    name = ".".join(show_id(str(part)) for part in details["loc"])
    rule = _RULES.get(details["type"], "is not valid").format(**details.get("ctx", {}))
    return f"{name} {rule}" if name else rule
