"""Read a tool's arguments, and report every problem with them."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from math import isfinite
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ttp_mcp.text import show_id
from ttp_mcp.toolkit.models import ToolInput, read_leniently, spellings_of
from ttp_mcp.toolkit.registry import Tool


class ArgumentProblem(ValueError):
    """Raised for arguments that break a rule. The text names each argument and its rule, never a value."""


def read_arguments(tool: Tool, arguments: dict[str, Any], *, with_confirmation: bool = False) -> ToolInput:
    """Read the arguments of a call; `ToolInput` says which other spellings and forms of a value are accepted.

    A tool without arguments ignores what it gets: some clients always send one.

    Raises:
        ArgumentProblem: With every argument that breaks a rule.
    """
    model = tool.input
    known = set(model.model_fields) - (set() if with_confirmation else {"confirmation"})
    if not known:
        return model()
    problems = _check_names(model, known, arguments)
    spellings = spellings_of(model)
    values = read_leniently(model, {name: arguments[name] for name in arguments if spellings.get(name, name) in known})
    problems += _check_values(model, values)
    try:
        checked = model.model_validate(values)
    except ValidationError as error:
        problems += [_describe_error(details) for details in error.errors(include_url=False, include_input=False)]
    else:
        if not problems:
            return checked
    raise ArgumentProblem(f"{tool.name} not called: " + "; ".join(dict.fromkeys(problems)) + ". Nothing was sent.")


def _check_names(model: type[ToolInput], known: set[str], arguments: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    seen: set[str] = set()
    for given in arguments:
        name = spellings_of(model).get(given, given)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(f"unknown argument {show_id(given)} ({hint})")
        elif name in seen:
            problems.append(f"{name} was given twice")
        seen.add(name)
    return problems


def _check_values(model: type[ToolInput], values: dict[str, Any]) -> list[str]:
    """Find what pydantic would let pass: text that can't be sent, and true for a number."""
    problems: list[str] = []
    for name, value in values.items():
        problems += [
            f"{at} {rule}" for at, entry in _iterate_entries(name, value) if (rule := _encoding_problem(entry))
        ]
        if isinstance(value, bool) and "int" in str(model.model_fields[name].annotation):
            problems.append(f"{name} {_RULES['int_type']}")
    return problems


def _iterate_entries(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield an object, or the entries of a list, with their places as pydantic names them; text alone has other rules."""
    if isinstance(value, dict):
        yield name, cast("object", value)
    elif isinstance(value, list):
        for position, entry in enumerate(cast("list[object]", value)):
            yield f"{name}.{position}", entry


def _encoding_problem(value: object) -> str | None:
    """Find the rule that a part of a value breaks which no request can carry. Iterative: nesting may be deep."""
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

# Words for the rules that a value can break, by pydantic's name. The {} are facts of the rule, never the value.
# Every minimum length here is 1.
_RULES = {
    "missing": "is required",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "has the wrong form",
    "string_unicode": "holds half of an emoji or another broken character; send the text again",
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


def _describe_error(details: ErrorDetails) -> str:
    name = ".".join(show_id(str(part)) for part in details["loc"])
    rule = _RULES.get(details["type"], "is not valid").format(**details.get("ctx", {}))
    return f"{name} {rule}" if name else rule
