"""JSON schemas of tools, derived from their models."""

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from ttp_mcp.toolkit.models import ToolInput, ToolOutput

JsonSchema = dict[str, Any]


@cache
def input_schema(model: type[ToolInput], *, with_confirmation: bool = False) -> JsonSchema:
    """The JSON schema of a tool's arguments: as generated ahead, where it was."""
    known = None if with_confirmation else load_generated_schemas().get(schema_key(model))
    return known or derived_input_schema(model, with_confirmation=with_confirmation)


@cache
def output_schema(model: type[ToolOutput]) -> JsonSchema:
    """The JSON schema of a tool's structured content: as generated ahead, where it was."""
    return load_generated_schemas().get(schema_key(model)) or derived_output_schema(model)


def schema_key(model: type[BaseModel]) -> str:
    """The name of a model in the generated file."""
    return f"{model.__module__}.{model.__qualname__}"


@cache
def load_generated_schemas() -> dict[str, JsonSchema]:
    """What `scripts/generate.py` derived from the models; to derive it at each start would take 4 % of its CPU time."""
    return json.loads(Path(__file__).with_name("schemas.json").read_bytes())


def derived_input_schema(model: type[ToolInput], *, with_confirmation: bool = False) -> JsonSchema:
    """The JSON schema of arguments from their model: no generated titles, and no union for an optional argument."""
    schema = _inline(_simplify_schema(_drop_docstrings(model.model_json_schema())))
    schema.setdefault("properties", {})
    if not with_confirmation:
        schema["properties"].pop("confirmation", None)
    return schema


def derived_output_schema(model: type[ToolOutput]) -> JsonSchema:
    """The JSON schema of structured content from its model."""
    return _simplify_schema(_drop_docstrings(model.model_json_schema(mode="serialization")))


def _drop_docstrings(schema: JsonSchema) -> JsonSchema:
    for model in (schema, *schema.get("$defs", {}).values()):
        model.pop("description", None)
    return schema


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


def _simplify_schema(node: Any, *, names: bool = False) -> Any:
    """Drop what pydantic generates and no reader needs: titles, nulls and what only allows them."""
    if isinstance(node, list):
        return [_simplify_schema(entry) for entry in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = cast("dict[str, Any]", node)
    if not names and {"type": "null"} in found.get("anyOf", ()):
        # What can be left out can be null too; saying so would be a union, which some clients can't follow.
        only: dict[str, Any] = found["anyOf"][0]
        found = {**only, **{key: found[key] for key in found if key != "anyOf"}}
    kept: dict[str, Any] = {}
    for key, value in found.items():
        generated = not names and ((key == "title" and isinstance(value, str)) or (key == "default" and value is None))
        if not generated:
            kept[key] = _simplify_schema(value, names=not names and key in ("properties", "$defs"))
    return kept
