"""JSON schemas of tools, derived from their models."""

from functools import cache
from typing import Any, cast

from ttp_mcp.toolkit.models import ToolInput, ToolOutput

JsonSchema = dict[str, Any]


@cache
def input_schema(model: type[ToolInput], *, with_confirmation: bool = False) -> JsonSchema:
    """Derive the JSON schema of a tool's arguments: no generated titles, no references, no union for an optional one."""
    schema = _inline_references(_simplify_schema(_drop_docstrings(model.model_json_schema())))
    schema.setdefault("properties", {})
    if not with_confirmation:
        schema["properties"].pop("confirmation", None)
    return schema


@cache
def output_schema(model: type[ToolOutput]) -> JsonSchema:
    """Derive the JSON schema of a tool's structured content."""
    return _simplify_schema(_drop_docstrings(model.model_json_schema(mode="serialization")))


def _drop_docstrings(schema: JsonSchema) -> JsonSchema:
    for model in (schema, *schema.get("$defs", {}).values()):
        model.pop("description", None)
    return schema


def _inline_references(schema: JsonSchema) -> JsonSchema:
    """Replace references, which some clients can't follow. No model here refers to itself."""
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


def _simplify_schema(node: Any) -> Any:
    """Drop what pydantic generates and no reader needs: titles, nulls and unions that only allow null."""
    if isinstance(node, list):
        return [_simplify_schema(entry) for entry in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = _drop_null(cast("dict[str, Any]", node))
    # Within these two, keys are names: a property may be called `title`.
    return {
        key: {name: _simplify_schema(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _simplify_schema(value)
        for key, value in found.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }


def _drop_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace a union with null by its other part: an argument that can be left out may always be null."""
    if {"type": "null"} not in schema.get("anyOf", ()):
        return schema
    return {**schema["anyOf"][0], **{key: value for key, value in schema.items() if key != "anyOf"}}
