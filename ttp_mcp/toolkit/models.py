"""Base models of tool inputs and outputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

DataT = TypeVar("DataT", bound="ToolOutput")
InputT = TypeVar("InputT", bound="ToolInput")

# Lists whose entries hold no comma, so that one text with commas is a list.
COMMA_SEPARATED = frozenset({"platforms", "account_ids", "status", "post_ids"})


class ToolInput(BaseModel):
    """Arguments of a tool: closed, each described. `aliases` maps spellings of the API that differ by more than case."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    aliases: ClassVar[dict[str, str]] = {}


class ToolObject(ToolInput):
    """An object inside the arguments, read as leniently as they are."""

    @model_validator(mode="before")
    @classmethod
    def _read_leniently(cls, values: object) -> object:
        return read_leniently(cls, cast("dict[str, Any]", values)) if isinstance(values, dict) else values


class ToolOutput(BaseModel):
    """Facts of an answer as structured content. A fact that is not known is left out rather than null."""

    model_config = ConfigDict(defer_build=True)


def read_leniently(model: type[ToolInput], values: Mapping[str, Any]) -> dict[str, Any]:
    """Read what clients send for a value: another spelling, JSON text, one value for a list, and fillers.

    Clients fill optional arguments that the model left out with null, "", [] or {}.
    """
    spellings, kinds, required = spellings_of(model), structures_of(model), _required_fields(model)
    read: dict[str, Any] = {}
    for given, value in values.items():
        name = spellings.get(given, given)
        value = _to_structure(name, value, kinds[name]) if name in kinds else value
        if name in required or not _is_filler(value):
            read[name] = value
    return read


@cache
def spellings_of(model: type[ToolInput]) -> dict[str, str]:
    """Return the other spellings of the fields: as the API writes them, `accountIds`."""
    # The API's `id` has a longer name here.
    ids = {"id": "post_id"} if "post_id" in model.model_fields else {}
    return {to_camel_case(name): name for name in model.model_fields} | ids | model.aliases


def to_camel_case(name: str) -> str:
    """Convert `account_ids` to `accountIds`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@cache
def _required_fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if field.is_required())


@cache
def structures_of(model: type[BaseModel]) -> dict[str, type]:
    """Return `list`, or `dict` for an object, for each field that holds one."""
    kinds: dict[str, type] = {}
    for name, field in model.model_fields.items():
        # The annotation itself, or the parts of `list[str] | None`.
        for part in (field.annotation, *get_args(field.annotation)):
            origin = get_origin(part) or part
            is_object = origin is dict or (isinstance(origin, type) and issubclass(origin, BaseModel))
            if origin is list or is_object:
                kinds[name] = dict if is_object else list
                break
    return kinds


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


def _is_filler(value: object) -> bool:
    return value is None or value in ("", [], {}) or (isinstance(value, str) and not value.strip())


@dataclass(frozen=True, slots=True)
class Answer(Generic[DataT]):
    """The answer of a tool: text that is complete for a model, and the same facts as data."""

    text: str
    data: DataT
