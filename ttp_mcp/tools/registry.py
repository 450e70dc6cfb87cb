"""What a tool is: one typed function, one input model, one word for its effect. Everything else is derived."""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ttp_mcp.text import quote_api
from ttp_mcp.tools.app import App

Effect = Literal["read", "draft", "publish", "remove"]
JsonSchema = dict[str, Any]

DataT = TypeVar("DataT", bound="ToolOutput")
InputT = TypeVar("InputT", bound="ToolInput")


class ToolInput(BaseModel):
    """Arguments of a tool: flat, closed, each described. `also` maps the API's own spellings that differ by more than case."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    also: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Many models write null, or an empty list, for an argument that they leave out."""
        return without_nulls(cls, values)


class ToolOutput(BaseModel):
    """Facts of an answer as structured content. A fact that is not known is left out rather than null."""

    model_config = ConfigDict(defer_build=True)


def without_nulls(model: type[BaseModel], values: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a model without the nulls, and the empty lists that say no more, which stand for its defaults."""
    return {
        name: value for name, value in values.items() if not _stands_for_default(model.model_fields.get(name), value)
    }


def _stands_for_default(field: FieldInfo | None, value: object) -> bool:
    if field is None or field.is_required():
        return False
    # Where a list may be empty, that means something: reschedule_post takes the media away.
    return value is None or (value == [] and any(getattr(rule, "min_length", 0) for rule in field.metadata))


@dataclass(frozen=True, slots=True)
class Answer(Generic[DataT]):
    """What a tool returns: text that is complete for a model, and the same facts as data."""

    text: str
    data: DataT


@dataclass(frozen=True, slots=True)
class Hints:
    """MCP tool annotations. All four are always set: a client reads an absent one as the dangerous case."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool = True


HINTS: dict[Effect, Hints] = {
    "read": Hints(read_only=True, destructive=False, idempotent=True),
    "draft": Hints(read_only=False, destructive=False, idempotent=False),
    "publish": Hints(read_only=False, destructive=True, idempotent=False),
    "remove": Hints(read_only=False, destructive=True, idempotent=True),
}

# Which effects each access mode leaves registered.
ALLOWED: dict[str, frozenset[Effect]] = {
    "read": frozenset({"read"}),
    "draft": frozenset({"read", "draft"}),
    "full": frozenset({"read", "draft", "publish", "remove"}),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool."""

    name: str
    title: str
    description: str
    effect: Effect
    failure: str
    toolset: str
    input: type[ToolInput]
    output: type[ToolOutput]
    run: Callable[[Any, App], Awaitable[Answer[Any]]]
    drafts: bool

    @property
    def hints(self) -> Hints:
        """The row of this tool's effect."""
        return HINTS[self.effect]

    def allowed(self, access: str) -> bool:
        """Whether an access mode registers this tool. A tool that `drafts` stays with `draft`, where it can't publish."""
        return self.effect in ALLOWED[access] or (self.drafts and access == "draft")


@dataclass(slots=True)
class Toolset:
    """The tools of one endpoint group."""

    name: str
    tools: list[Tool] = field(default_factory=list[Tool])

    def tool(
        self, *, title: str, effect: Effect, failure: str, drafts: bool = False
    ) -> Callable[
        [Callable[[InputT, App], Awaitable[Answer[DataT]]]], Callable[[InputT, App], Awaitable[Answer[DataT]]]
    ]:
        """Register a function as a tool named after it; its docstring is what agents read.

        Args:
            title: Words for people.
            effect: The most that a call can do.
            failure: What an error text says did not happen, for example `Post not created`.
            drafts: With `TTP_ACCESS=draft` the tool stays, and the API client refuses what would publish.
        """

        def register(
            function: Callable[[InputT, App], Awaitable[Answer[DataT]]],
        ) -> Callable[[InputT, App], Awaitable[Answer[DataT]]]:
            hints = inspect.get_annotations(function, eval_str=True)
            self.tools.append(
                Tool(
                    name=function.__name__,
                    title=title,
                    description=inspect.cleandoc(function.__doc__ or ""),
                    effect=effect,
                    failure=failure,
                    toolset=self.name,
                    input=hints["args"],
                    output=get_args(hints["return"])[0],
                    run=cast("Callable[[Any, App], Awaitable[Answer[Any]]]", function),
                    drafts=drafts,
                )
            )
            return function

        return register


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
        problems += [f"{place} {rule}" for place, entry in _entries(name, value) if (rule := _unwritable(entry))]
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
            problems.append(f"unknown argument {quote_api(given, 40)} ({hint})")
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


def _unwritable(value: object) -> str | None:
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
    name = ".".join(quote_api(str(part), 40) for part in details["loc"])
    rule = _RULES.get(details["type"], "is not valid").format(**details.get("ctx", {}))
    return f"{name} {rule}" if name else rule


@cache
def input_schema(model: type[ToolInput], *, with_confirmation: bool = False) -> JsonSchema:
    """The JSON schema of a tool's arguments: as generated ahead, where it was."""
    known = None if with_confirmation else _generated_schemas().get(schema_key(model))
    return known or derived_input_schema(model, with_confirmation=with_confirmation)


@cache
def output_schema(model: type[ToolOutput]) -> JsonSchema:
    """The JSON schema of a tool's structured content: as generated ahead, where it was."""
    return _generated_schemas().get(schema_key(model)) or derived_output_schema(model)


def schema_key(model: type[BaseModel]) -> str:
    """The name of a model in the generated file."""
    return f"{model.__module__}.{model.__qualname__}"


@cache
def _generated_schemas() -> dict[str, JsonSchema]:
    """What `scripts/generate.py` derived from the models; to derive it at each start would take 4 % of its CPU time."""
    return json.loads(Path(__file__).with_name("schemas.json").read_bytes())


def derived_input_schema(model: type[ToolInput], *, with_confirmation: bool = False) -> JsonSchema:
    """The JSON schema of arguments from their model: no generated titles, and no union for an optional argument."""
    schema = _inline(_tidy(model.model_json_schema()))
    schema.setdefault("properties", {})
    if not with_confirmation:
        schema["properties"].pop("confirmation", None)
    return schema


def derived_output_schema(model: type[ToolOutput]) -> JsonSchema:
    """The JSON schema of structured content from its model."""
    return _tidy(model.model_json_schema(mode="serialization"))


def _inline(schema: JsonSchema) -> JsonSchema:
    """The same without references, which some clients can't follow. No model of ours refers to itself."""
    parts: JsonSchema = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(entry) for entry in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        found = cast("dict[str, Any]", node)
        if "$ref" in found:
            found = {**parts[found["$ref"].rpartition("/")[2]], **{key: found[key] for key in found if key != "$ref"}}
        return {key: resolve(value) for key, value in found.items()}

    return resolve(schema) if parts else schema


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Drop what pydantic generates and no reader needs: titles, nulls and what only allows them, docstrings of models."""
    if isinstance(node, list):
        return [_tidy(entry) for entry in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = cast("dict[str, Any]", node)
    if not names and {"type": "null"} in found.get("anyOf", ()):
        # What can be left out can be null too; saying so would be a union, which some clients can't follow.
        only: dict[str, Any] = found["anyOf"][0]
        found = {**only, **{key: found[key] for key in found if key != "anyOf"}}
    kept: dict[str, Any] = {}
    for key, value in found.items():
        generated = not names and (
            (key == "title" and isinstance(value, str))
            or (key == "default" and value is None)
            or (key == "description" and "properties" in found)
        )
        if not generated:
            kept[key] = _tidy(value, names=not names and key in ("properties", "$defs"))
    return kept
