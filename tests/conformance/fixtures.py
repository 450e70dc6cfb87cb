"""Tools, prompts and resources that the official conformance suite expects of every server by name.

Only the test entry point beside this file adds them. Names and required values are the suite's; see docs/conformance.md.
"""

import base64
import json
from typing import Annotated, Any

import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

# One red pixel, and an empty sound.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="

# Every keyword of JSON Schema 2020-12 that must reach the client.
EVERY_KEYWORD: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
KEYWORDS_TOOL = types.Tool(
    name="json_schema_2020_12_tool", description="Carries a schema with every keyword.", input_schema=EVERY_KEYWORD
)


def add_fixtures(server: MCPServer[Any]) -> None:
    """Register everything on a server."""
    _add_contents(server)
    _add_requests_to_the_client(server)
    _add_questions_in_results(server)
    _add_changes(server)
    _add_resources(server)
    _add_prompts(server)


def _make_text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _make_image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _make_embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


def _add_contents(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_simple_text() -> str:
        """Answer with one text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[types.ImageContent]:
        """Answer with one image."""
        return [_make_image()]

    @server.tool()
    def test_audio_content() -> list[types.AudioContent]:
        """Answer with one sound."""
        return [types.AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[types.EmbeddedResource]:
        """Answer with one resource."""
        return [_make_embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool()
    def test_multiple_content_types() -> list[types.TextContent | types.ImageContent | types.EmbeddedResource]:
        """Answer with one of each."""
        data = json.dumps({"test": "data", "value": 123})
        return [
            _make_text("Multiple content types test:"),
            _make_image(),
            _make_embedded("test://mixed-content-resource", data, "application/json"),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Fail on purpose."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool()
    def test_x_mcp_header(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "nowhere",
    ) -> str:
        """Have an argument that clients repeat in a header."""
        return f"region={region}"


class _Answer(BaseModel):
    response: str = Field(description="The answer")


class _Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


def _make_titles(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in pairs]


_THREE = _make_titles(("value1", "First"), ("value2", "Second"), ("value3", "Third"))
_OPTIONS = ["option1", "option2", "option3"]


class _Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": _OPTIONS})  # noqa: N815 - the suite's spelling
    titledSingle: str = Field(json_schema_extra={"oneOf": _THREE})  # noqa: N815 - the suite's spelling
    legacyEnum: str = Field(  # noqa: N815 - the suite's spelling
        json_schema_extra={"enum": _OPTIONS, "enumNames": ["One", "Two", "Three"]}
    )
    untitledMulti: list[str] = Field(  # noqa: N815 - the suite's spelling
        json_schema_extra={"items": {"type": "string", "enum": _OPTIONS}}
    )
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _THREE}})  # noqa: N815 - the suite's spelling


async def _ask_user(ctx: Context[Any, Any], message: str, model: type[BaseModel]) -> str:
    result = await ctx.elicit(message=message, schema=model)
    content = result.data.model_dump_json() if result.action == "accept" else "{}"
    return f"action={result.action}, content={content}"


def _add_requests_to_the_client(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
        """Log three times while running."""
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(message)  # pyright: ignore[reportDeprecated] - deprecated in 2026, asked for by 2025's suite
        return "done"

    @server.tool()
    async def test_logging_tool(ctx: Context[Any, Any]) -> str:
        """Log, which must reach only clients that asked for it."""
        await ctx.info("Tool execution started")  # pyright: ignore[reportDeprecated] - as above
        return "done"

    @server.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
        """Report progress three times while running."""
        for done in (0, 50, 100):
            await ctx.report_progress(progress=done, total=100, message=f"{done} of 100")
        return "done"

    @server.tool()
    async def test_sampling(prompt: str, ctx: Context[Any, Any]) -> str:
        """Let the client's model answer."""
        # Related to this call, or it waits for a stream that the client may not have opened yet.
        result = await ctx.session.create_message(  # pyright: ignore[reportDeprecated] - as above
            messages=[types.SamplingMessage(role="user", content=_make_text(prompt))],
            max_tokens=100,
            related_request_id=ctx.request_id,
        )
        return f"LLM response: {getattr(result.content, 'text', '')}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Context[Any, Any]) -> str:
        """Ask the user."""
        return "User response: " + await _ask_user(ctx, message, _Answer)

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
        """Ask the user, with a default for each kind of value."""
        return "Elicitation completed: " + await _ask_user(ctx, "Your data", _Defaults)

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
        """Ask the user, with each form of choice."""
        return "Elicitation completed: " + await _ask_user(ctx, "Your choices", _Choices)

    @server.tool()
    async def test_missing_capability(ctx: Context[Any, Any]) -> str:
        """Need a client that samples."""
        capabilities = ctx.session.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            raise MCPError(
                types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                "This tool needs a client that samples.",
                {"requiredCapabilities": {"sampling": {}}},
            )
        return "done"

    @server.tool()
    async def test_reconnection(ctx: Context[Any, Any]) -> str:
        """Close the stream before the answer; the client fetches it by coming back."""
        await ctx.close_sse_stream()
        return "Reconnection test completed"


def _make_form(message: str, **properties: str) -> types.ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _make_sample(text: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=_make_text(text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def _read_input(ctx: Context[Any, Any], key: str, field: str) -> str | None:
    """Return the user's input; None if this question hasn't been answered."""
    answer = (ctx.input_responses or {}).get(key)
    if not isinstance(answer, types.ElicitResult):
        return None
    return str((answer.content or {}).get(field))


def _add_questions_in_results(server: MCPServer[Any]) -> None:
    """Tools of the 2026 era, which answer with questions and are called again with the answers."""
    ask = types.InputRequiredResult

    @server.tool()
    async def test_input_required_result_elicitation(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Ask for a name."""
        name = _read_input(ctx, "user_name", "name")
        return f"Hello, {name}!" if name else ask(input_requests={"user_name": _make_form("Your name?", name="string")})

    @server.tool()
    async def test_streaming_elicitation(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Report progress, then ask: in the result, not by a request of the server's own."""
        await ctx.report_progress(progress=1, total=2)
        name = _read_input(ctx, "user_name", "name")
        return f"Hello, {name}!" if name else ask(input_requests={"user_name": _make_form("Your name?", name="string")})

    @server.tool()
    async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Ask the client's model."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if isinstance(answer, types.CreateMessageResult):
            return f"The model said: {getattr(answer.content, 'text', '')}"
        return ask(input_requests={"capital_question": _make_sample("What is the capital of France?")})

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Ask for the client's folders."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if isinstance(answer, types.ListRootsResult):
            return f"{len(answer.roots)} roots"
        return ask(input_requests={"client_roots": types.ListRootsRequest()})

    @server.tool()
    async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Give the client something to carry and take it back."""
        if _read_input(ctx, "confirm", "ok") and ctx.request_state == "carried":
            return "state-ok"
        return ask(input_requests={"confirm": _make_form("Go on?", ok="boolean")}, request_state="carried")

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Give the client something to carry; the server's seal notices a change."""
        if ctx.request_state is not None:
            return "state-ok"
        return ask(input_requests={"confirm": _make_form("Go on?", ok="boolean")}, request_state="carried")

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Ask three things at once."""
        if {"user_name", "greeting", "client_roots"} <= (ctx.input_responses or {}).keys():
            return "done"
        requests: dict[str, types.InputRequest] = {
            "user_name": _make_form("Your name?", name="string"),
            "greeting": _make_sample("Say hello"),
            "client_roots": types.ListRootsRequest(),
        }
        return ask(input_requests=requests, request_state="three questions")

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> str | types.InputRequiredResult:
        """Ask twice, one question after the other."""
        carried = json.loads(ctx.request_state or "{}")
        if "name" in carried and (color := _read_input(ctx, "step2", "color")):
            return f"{carried['name']} likes {color}."
        if "asked" in carried and (name := _read_input(ctx, "step1", "name")):
            return ask(
                input_requests={"step2": _make_form("Step 2: your color?", color="string")},
                request_state=json.dumps({"name": name}),
            )
        return ask(
            input_requests={"step1": _make_form("Step 1: your name?", name="string")},
            request_state=json.dumps({"asked": True}),
        )

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> types.InputRequiredResult:
        """Ask only what this client can answer."""
        has = ctx.client_capabilities or types.ClientCapabilities()
        requests: dict[str, types.InputRequest] = {}
        if has.sampling is not None:
            requests["sample"] = _make_sample("Say hello")
        if has.elicitation is not None:
            requests["ask"] = _make_form("Your name?", name="string")
        return ask(input_requests=requests, request_state="asked")

    @server.prompt()
    async def test_input_required_result_prompt(
        ctx: Context[Any, Any],
    ) -> list[UserMessage] | types.InputRequiredResult:
        """Ask before the prompt is made."""
        context = _read_input(ctx, "user_context", "context")
        if context:
            return [UserMessage(content=_make_text(f"Context: {context}"))]
        return ask(input_requests={"user_context": _make_form("Which context?", context="string")})


def _add_changes(server: MCPServer[Any]) -> None:
    def passing() -> str:
        """Come and go."""
        return ""

    @server.tool()
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
        """Change the list of tools, and tell."""
        server.add_tool(passing, name="test_dynamic_tool")
        server.remove_tool("test_dynamic_tool")
        await ctx.notify_tools_changed()
        return "done"

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
        """Change the list of prompts, and tell."""
        server.add_prompt(Prompt.from_function(passing, name="test_dynamic_prompt"))
        server.remove_prompt("test_dynamic_prompt")
        await ctx.notify_prompts_changed()
        return "done"


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A text to subscribe to."""
        return "Watched resource content"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        """One of a family."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> list[UserMessage]:
        """One message."""
        return [UserMessage(content=_make_text("This is a simple prompt for testing."))]

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        """One message with two arguments in it."""
        return [UserMessage(content=_make_text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
        """A resource and a message."""
        return [
            UserMessage(content=_make_embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage(content=_make_text("Please process the embedded resource above.")),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """An image and a message."""
        return [UserMessage(content=_make_image()), UserMessage(content=_make_text("Please analyze the image above."))]
