"""Render tools, prompts, resources and results as MCP types."""

from typing import Any

import mcp_types as types
from pydantic_core import to_json

from ttp_mcp.credentials import may_hold_token, redact_tokens
from ttp_mcp.server.icons import tool_icons
from ttp_mcp.server.panels import MIME_TYPE, Panel, panel_uri
from ttp_mcp.server.prompts import Prompt
from ttp_mcp.server.resources import Resource
from ttp_mcp.toolkit.models import Answer
from ttp_mcp.toolkit.registry import Tool
from ttp_mcp.toolkit.schemas import input_schema, output_schema

# Key in the _meta of an error result, with one of the words of `errors.error_kind`, or `arguments`.
ERROR_KIND = "co.timetopost/error"


def render_tool(tool: Tool, *, with_confirmation: bool = False) -> types.Tool:
    """Render a tool for tools/list."""
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        icons=tool_icons(tool.toolset),
        input_schema=input_schema(tool.input, with_confirmation=with_confirmation),
        output_schema=output_schema(tool.output),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
        _meta={"ui": {"resourceUri": panel_uri(tool.panel)}} if tool.panel else None,
    )


def render_prompt(prompt: Prompt) -> types.Prompt:
    """Render a prompt for prompts/list."""
    return types.Prompt(
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            types.PromptArgument(name=each.name, description=each.description, required=each.required)
            for each in prompt.arguments
        ],
    )


def render_resource(resource: Resource) -> types.Resource:
    """Render a resource for resources/list."""
    return types.Resource(
        uri=resource.uri,
        name=resource.name,
        title=resource.title,
        description=resource.description,
        mime_type="text/plain",
    )


def render_panel(panel: Panel) -> types.Resource:
    """Render a panel for resources/list."""
    return types.Resource(
        uri=panel.uri,
        name=f"{panel.name}-panel",
        title=panel.title,
        description=panel.description,
        mime_type=MIME_TYPE,
    )


def render_template(resource: Resource) -> types.ResourceTemplate:
    """Render a resource with a `{name}` for resources/templates/list."""
    return types.ResourceTemplate(
        uri_template=resource.uri,
        name=resource.name,
        title=resource.title,
        description=resource.description,
        mime_type="text/plain",
    )


def render_success(answer: Answer[Any]) -> types.CallToolResult:
    """Render an answer as text and structured content, without tokens."""
    text = answer.text
    data: dict[str, Any] = answer.data.model_dump(mode="json", exclude_none=True)
    if may_hold_token(to_json([text, data])):
        text, data = redact_tokens(text), redact_json(data)
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=data)


def render_failure(text: str, kind: str) -> types.CallToolResult:
    """Render an error that the model can act on. Its kind, in `_meta`, is for programs."""
    said = types.TextContent(type="text", text=redact_tokens(text))
    return types.CallToolResult(content=[said], is_error=True, _meta={ERROR_KIND: kind})


def redact_json(value: Any) -> Any:
    """Remove tokens from the strings of a JSON value."""
    if isinstance(value, str):
        return redact_tokens(value)
    if isinstance(value, list):
        return [redact_json(entry) for entry in value]  # pyright: ignore[reportUnknownVariableType] # JSON
    if isinstance(value, dict):
        return {redact_tokens(key): redact_json(entry) for key, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # JSON
    return value


def mask_unexpected_error(tool: Tool) -> str:
    """Return the answer to a bug of this server: no detail of it leaves."""
    after = (
        "Nothing was changed; trying again is safe."
        if tool.effect == "read"
        else "It may have happened nevertheless: call list_posts before trying again."
    )
    return f"{tool.failure}: this server made a mistake of its own, which is in its log. {after}"
