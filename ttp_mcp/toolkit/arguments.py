"""Read a tool's arguments as leniently as clients send them, and report every problem."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ttp_mcp.text import show_id
from ttp_mcp.toolkit.models import ToolInput
from ttp_mcp.toolkit.registry import Tool

# Lists whose entries hold no comma, so that one text with commas is a list.
COMMA_SEPARATED = frozenset({"platforms", "account_ids", "status", "post_ids", "remove"})
# Texts in which every word can be meant.
FREE_TEXTS = frozenset({"content", "text", "thread"})
_FILLER_WORDS = frozenset({"", "null", "none", "undefined"})


class ToolObject(ToolInput):
    """An object inside the arguments, read as leniently as they are."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: object) -> object:
        return _read_leniently(cls, cast("dict[str, Any]", values)) if isinstance(values, dict) else values


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
    problems: list[str] = []
    accepted: dict[str, Any] = {}
    for given, value in arguments.items():
        name = _list_spellings(model).get(given, given)
        if name not in known:
            problems.append(_describe_unknown(given, name, known))
        elif name in accepted:
            problems.append(f"{name} was given twice")
        else:
            accepted[name] = value
    values = _read_leniently(model, accepted)
    problems += _check_values(model, values)
    try:
        checked = model.model_validate(values)
    except ValidationError as error:
        problems += [_describe_error(details) for details in error.errors(include_url=False, include_input=False)]
    else:
        if not problems:
            return checked
    raise ArgumentProblem(f"{tool.name} not called: " + "; ".join(dict.fromkeys(problems)) + ". Nothing was sent.")


def _describe_unknown(given: str, name: str, known: set[str]) -> str:
    near = get_close_matches(name, known)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown argument {show_id(given)} ({hint})"


def _read_leniently(model: type[ToolInput], values: Mapping[str, Any]) -> dict[str, Any]:
    """Read what clients send for a value: another spelling, JSON text, one value for a list, and fillers.

    Clients fill optional arguments that the model left out with null, "", "null", [], [""] or {}.
    """
    spellings, kinds, choices = _list_spellings(model), _find_structures(model), _find_choices(model)
    read: dict[str, Any] = {}
    for given, value in values.items():
        name = spellings.get(given, given)
        if name in kinds:
            value = _to_structure(name, value, kinds[name])
        if name in choices:
            value = _lower_words(value)
        field = model.model_fields.get(name)
        if (field and field.is_required()) or not _is_filler(name, value):
            read[name] = value
    return read


@cache
def _list_spellings(model: type[ToolInput]) -> dict[str, str]:
    """Return the other spellings of the fields: as the API writes them, `accountIds`."""
    # The API's `id` has a longer name here.
    return {"id": "post_id"} | {_to_camel_case(name): name for name in model.model_fields} | model.aliases


def _to_camel_case(name: str) -> str:
    """Convert `account_ids` to `accountIds`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@cache
def _find_structures(model: type[BaseModel]) -> dict[str, type]:
    """Return `list`, or `dict` for an object, for each field that holds one."""
    kinds: dict[str, type] = {}
    for name, field in model.model_fields.items():
        for part in _list_parts(field.annotation):
            origin = get_origin(part) or part
            is_object = origin is dict or (isinstance(origin, type) and issubclass(origin, BaseModel))
            if origin is list or is_object:
                kinds[name] = dict if is_object else list
                break
    return kinds


def _list_parts(annotation: object) -> list[Any]:
    """List an annotation and all its parts, the outer ones first."""
    parts = [annotation]
    # The list grows while it is read.
    for part in parts:
        parts += get_args(part)
    return parts


def _to_structure(name: str, value: object, kind: type) -> object:
    if isinstance(value, str):
        value = _from_json_text(value, kind)
    if kind is dict or value is None or isinstance(value, (list, dict)):
        return cast("object", value)
    if not isinstance(value, str):
        return [value]
    if value.lstrip().startswith(("[", "{")):
        return value
    parts = value.split(",") if name in COMMA_SEPARATED else [value]
    return [part for part in parts if part.strip()]


def _from_json_text(value: str, kind: type) -> object:
    """Parse the JSON text of a list or an object; any other text stays as it is."""
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if isinstance(parsed, kind) else value


def _is_filler(name: str, value: object) -> bool:
    if isinstance(value, list):
        return all(_is_filler(name, entry) for entry in cast("list[object]", value))
    if isinstance(value, str):
        word = value.strip().lower()
        return word in _FILLER_WORDS and (not word or name not in FREE_TEXTS)
    return value is None or value == {}


@cache
def _find_choices(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields that take only some words. All such words are in lower case."""
    fields = model.model_fields.items()
    is_choice = {
        name: any(get_origin(part) is Literal for part in _list_parts(each.annotation)) for name, each in fields
    }
    return frozenset(name for name in is_choice if is_choice[name])


def _lower_words(value: object) -> object:
    """Return a word, or each word of a list, in lower case."""
    if isinstance(value, list):
        return [_lower_words(entry) for entry in cast("list[object]", value)]
    return value.strip().lower() if isinstance(value, str) else value


def _check_values(model: type[ToolInput], values: dict[str, Any]) -> list[str]:
    """Find what pydantic would let pass: an object or a list that can't be sent, and true for a number.

    Places are named as pydantic does. A text by itself has other rules.
    """
    problems: list[str] = []
    for name, value in values.items():
        if isinstance(value, dict):
            problems += _find_encoding_problem(name, cast("object", value))
        elif isinstance(value, list):
            for position, entry in enumerate(cast("list[object]", value)):
                problems += _find_encoding_problem(f"{name}.{position}", entry)
        elif isinstance(value, bool) and "int" in str(model.model_fields[name].annotation):
            problems.append(f"{name} {_RULES['int_type']}")
    return problems


def _find_encoding_problem(place: str, value: object) -> list[str]:
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
            return [f"{place} must not hold NaN or an infinite number"]
        elif isinstance(part, str) and _LONE_SURROGATE.search(part):
            return [f"{place} {_RULES['string_unicode']}"]
        elif isinstance(part, str) and "\0" in part:
            return [f"{place} must not hold a NUL character"]
    return []


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Words for the rules that a value can break, by pydantic's name. The {} are facts of the rule, never the value.
# Every minimum length here is 1.
_RULES = {
    "missing": "is required",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
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
    return f"{name} {rule}"
