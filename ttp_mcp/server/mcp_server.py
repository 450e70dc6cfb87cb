"""The MCP server: tools, their schemas and their answers, for both protocol eras."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, UnexpectedResourceError
from mcp.shared.exceptions import MCPError

from ttp_mcp import __version__
from ttp_mcp.api import ApiError, NotFound
from ttp_mcp.credentials import may_hold_token, redact_tokens
from ttp_mcp.errors import agent_text, error_kind
from ttp_mcp.server import completions, resources
from ttp_mcp.server.elicitation import ElicitationRequired, McpUserPrompter
from ttp_mcp.server.instructions import build_instructions
from ttp_mcp.server.prompts import PROMPTS
from ttp_mcp.server.rendering import mask_unexpected_error, render_failure, render_success, render_tool
from ttp_mcp.text import quote_text
from ttp_mcp.toolkit.arguments import ArgumentProblem, read_arguments
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.registry import Tool

log = logging.getLogger(__name__)

NAME = "ttp-mcp"


# The list is a constant of the configuration, so clients may keep it for an hour.
_HINTS: dict[CacheableMethod, CacheHint] = {"tools/list": CacheHint(ttl_ms=3_600_000, scope="public")}


class TtpServer(MCPServer[Any]):
    """MCPServer whose tools are ours: exact schemas, our own words for errors, and -32602 for an unknown tool.

    It overrides `list_tools` and `call_tool`, which the handlers of MCPServer call; a contract test pins both.
    """

    def __init__(
        self,
        offered: list[Tool],
        app_of: Callable[[Context[Any, Any] | None], ToolContext],
        *,
        with_confirmation: bool = False,
        **more: Any,
    ) -> None:
        """Set up.

        Args:
            offered: The tools of this configuration.
            app_of: The surroundings of a call: one for all, or one for each user over HTTP.
            with_confirmation: Whether tools take the code of a preview.
            more: Further arguments of MCPServer.
        """
        super().__init__(
            NAME,
            title="TimeToPost",
            instructions=build_instructions([tool.name for tool in offered]),
            website_url="https://timetopost.co",
            version=__version__,
            log_level="WARNING",
            cache_hints=_HINTS,
            subscriptions=False,
            **more,
        )
        self._offered = {tool.name: tool for tool in offered}
        self._prompts = [prompt for prompt in PROMPTS if prompt.tools <= self._offered.keys()]
        self._resources = resources.offered({tool.toolset for tool in offered})
        self._app_of = app_of
        self._with_confirmation = with_confirmation
        self._listed: list[types.Tool] | None = None
        # Before the SDK's own, which names its spans by what was sent.
        self.middleware.insert(0, _without_tokens_in_names)
        # The decorator for completions hides which user asks; the handler behind it does not.
        self._lowlevel_server.add_request_handler("completion/complete", types.CompleteRequestParams, self._complete)

    async def list_tools(self) -> list[types.Tool]:
        """The tools of this configuration, always the same bytes in the same order."""
        if self._listed is None:
            self._listed = [
                render_tool(tool, with_confirmation=self._with_confirmation) for tool in self._offered.values()
            ]
        return self._listed

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a tool.

        Raises:
            MCPError: -32602 for a tool that is not offered.
        """
        tool = self._offered.get(name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown tool: {quote_text(name, 60)}."))
        try:
            app = self._app_of(context)
            checked = read_arguments(tool, arguments, with_confirmation=self._with_confirmation)
            return render_success(await tool.run(checked, replace(app, user=McpUserPrompter(context, app.ledger))))
        except ElicitationRequired as question:
            return question.result
        except ArgumentProblem as problem:
            return render_failure(str(problem), "arguments")
        except Exception as error:
            text = agent_text(error, tool.failure)
            if text is None:
                log.exception("%s failed unexpectedly", name)
                text = mask_unexpected_error(tool)
            return render_failure(text, error_kind(error))

    async def list_prompts(self) -> list[types.Prompt]:
        """Our prompts, then those that were added to this server."""
        ours = [
            types.Prompt(
                name=prompt.name,
                title=prompt.title,
                description=prompt.description,
                arguments=[
                    types.PromptArgument(name=each.name, description=each.description, required=each.required)
                    for each in prompt.arguments
                ],
            )
            for prompt in self._prompts
        ]
        return [*ours, *await super().list_prompts()]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """One prompt with its arguments filled in.

        Raises:
            MCPError: -32602 for a prompt that is not there, or a required argument that is missing.
        """
        prompt = next((each for each in self._prompts if each.name == name), None)
        if prompt is None:
            if any(each.name == name for each in await super().list_prompts()):
                return await super().get_prompt(name, arguments, context)
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown prompt: {quote_text(name, 60)}."))
        given = {key: str(value) for key, value in (arguments or {}).items()}
        missing = [each.name for each in prompt.arguments if each.required and not given.get(each.name)]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"{name} needs {', '.join(missing)}.")
        text = redact_tokens(prompt.render(given))
        message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])

    async def list_resources(self) -> list[types.Resource]:
        """Our resources, then those that were added to this server."""
        ours = [
            types.Resource(
                uri=each.uri, name=each.name, title=each.title, description=each.description, mime_type="text/plain"
            )
            for each in self._resources
            if not each.is_family
        ]
        return [*ours, *await super().list_resources()]

    async def list_resource_templates(self) -> list[types.ResourceTemplate]:
        """Our families of resources, then those that were added to this server."""
        ours = [
            types.ResourceTemplate(
                uri_template=each.uri,
                name=each.name,
                title=each.title,
                description=each.description,
                mime_type="text/plain",
            )
            for each in self._resources
            if each.is_family
        ]
        return [*ours, *await super().list_resource_templates()]

    async def read_resource(
        self, uri: Any, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | types.InputRequiredResult:
        """A resource as text.

        Raises:
            MCPError: With words when it can't be read.
        """
        found = resources.find(str(uri), self._resources)
        if found is None:
            try:
                return await super().read_resource(uri, context)
            except ResourceError as error:
                raise _unread(error) from None
        resource, value = found
        try:
            text = await resource.read(self._app_of(context), unquote(value))
        except Exception as error:
            said = agent_text(error, f"{resource.title} not read")
            if said is None:
                log.exception("resource %s failed unexpectedly", resource.name)
                said = f"{resource.title} not read: this server made a mistake of its own, which is in its log."
            missing = isinstance(error, NotFound)
            raise MCPError(types.INVALID_PARAMS if missing else types.INTERNAL_ERROR, redact_tokens(said)) from None
        return [ReadResourceContents(content=redact_tokens(text), mime_type="text/plain")]

    async def _complete(self, request: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Ids and names while a person types; nothing rather than an error when they can't be had."""
        of = params.ref.uri if isinstance(params.ref, types.ResourceTemplateReference) else params.ref.name
        found: list[str] = []
        if of in {each.uri for each in self._resources} | {each.name for each in self._prompts}:
            with suppress(ApiError):
                app = self._app_of(Context(request_context=request, mcp_server=self))
                found = await completions.completions(app, of, params.argument.name, params.argument.value)
        more = len(found) > completions.MOST
        values = found[: completions.MOST]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(found), has_more=more))


async def _without_tokens_in_names(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A token that is sent as a name or an address gets no further: spans are named so, and answers repeat it."""
    sent = ctx.params or {}
    names = {key: redact_tokens(name) for key in ("name", "uri") if isinstance(name := sent.get(key), str)}
    if names or may_hold_token(ctx.method.encode(errors="replace")):
        ctx = replace(ctx, method=redact_tokens(ctx.method), params={**sent, **names})
    return await call_next(ctx)


def _unread(error: ResourceError) -> MCPError:
    """An error of a resource that is not ours, without the address that the SDK would add as data."""
    if isinstance(error, UnexpectedResourceError):
        log.error("a resource that was added failed unexpectedly", exc_info=error)
    missing = isinstance(error, ResourceNotFoundError)
    return MCPError(types.INVALID_PARAMS if missing else types.INTERNAL_ERROR, redact_tokens(str(error)))
