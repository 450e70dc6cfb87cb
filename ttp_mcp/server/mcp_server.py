"""The MCP server: handlers of tools, prompts, resources and completions, for both protocol eras."""

import logging
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import mcp_types as types
from mcp.server import Server
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from ttp_mcp import __version__
from ttp_mcp.api import ApiError, NotFound
from ttp_mcp.credentials import may_hold_token, redact_tokens
from ttp_mcp.errors import agent_text, error_kind
from ttp_mcp.server import completions, panels, resources, skills
from ttp_mcp.server.elicitation import ElicitationRequired, McpUserPrompter
from ttp_mcp.server.icons import server_icons
from ttp_mcp.server.instructions import SANDBOX_NOTE, build_instructions
from ttp_mcp.server.prompts import PROMPTS
from ttp_mcp.server.rendering import (
    mask_unexpected_error,
    render_failure,
    render_panel,
    render_prompt,
    render_resource,
    render_success,
    render_template,
    render_tool,
)
from ttp_mcp.text import quote_text, show_id
from ttp_mcp.toolkit.arguments import ArgumentProblem, read_arguments
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.registry import Tool

log = logging.getLogger(__name__)

NAME = "ttp-mcp"

# The list is a constant of the configuration, so clients may keep it for an hour.
_CACHE_HINTS: dict[CacheableMethod, CacheHint] = {"tools/list": CacheHint(ttl_ms=3_600_000, scope="public")}

Request = ServerRequestContext[Any, Any]


class TtpServer(Server[Any]):
    """The SDK's low-level server with our handlers. Unknown names answer -32602; failures are answers with our words."""

    def __init__(
        self,
        offered: Sequence[Tool],
        context: ToolContext | Callable[[Request], ToolContext],
        *,
        with_confirmation: bool = False,
        sandbox: bool = False,
        middleware: Sequence[ServerMiddleware[Any]] = (),
        state_security: RequestStateSecurity | None = None,
    ) -> None:
        """Set up.

        Args:
            offered: The tools of this configuration.
            context: The context of all calls, or a function that returns that of one: over HTTP each user has their own.
            with_confirmation: Tools take the code of a preview.
            sandbox: The API is a sandbox, which the instructions say.
            middleware: Called inside the SDK's own, in this order.
            state_security: Seals what clients carry between two rounds of a call; ephemeral keys by default.
        """
        self._tools = {tool.name: tool for tool in offered}
        self._prompts = {prompt.name: prompt for prompt in PROMPTS if prompt.tools <= self._tools.keys()}
        self._resources = resources.select_resources({tool.toolset for tool in offered})
        self._panels = {panel.uri: panel for panel in panels.PANELS if panel.name in {tool.panel for tool in offered}}
        self._readable = (*self._resources, *([resources.POST_TEXT] if "get_post" in self._tools else []))
        self._context_of: Callable[[Request], ToolContext] = context if callable(context) else lambda _: context
        self._with_confirmation = with_confirmation
        self._listed_tools = types.ListToolsResult(
            tools=[render_tool(tool, with_confirmation=with_confirmation) for tool in offered]
        )
        super().__init__(
            NAME,
            title="TimeToPost",
            instructions=build_instructions(list(self._tools), sandbox=sandbox),
            website_url="https://timetopost.co",
            icons=server_icons(),
            version=__version__,
            cache_hints=_CACHE_HINTS,
            # No argument travels as a header, so there is nothing to compare with one.
            get_tool_input_schema=lambda _: None,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_resource_templates,
            on_read_resource=self._read_resource,
            on_completion=self._complete,
        )
        self.extensions[skills.EXTENSION] = {}
        self.add_request_handler("skills/list", types.PaginatedRequestParams, self._list_skills)
        self.add_request_handler("skills/get", skills.GetSkillParams, self._get_skill)
        if self._panels:
            self.extensions[panels.EXTENSION] = panels.CAPABILITY
        seal = RequestStateBoundary(state_security or RequestStateSecurity.ephemeral(), default_audience=NAME)
        # Names are redacted first: the SDK's spans are named by them.
        self.middleware = [redact_names, *self.middleware, seal, *middleware]

    async def _list_tools(self, _: Request, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return self._listed_tools

    async def _call_tool(
        self, request: Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown tool: {show_id(params.name)}."))
        try:
            context = self._context_of(request)
            arguments = read_arguments(tool, params.arguments or {}, with_confirmation=self._with_confirmation)
            user = McpUserPrompter(request, params, context.ledger)
            answer = await tool.run(arguments, replace(context, user=user))
            if context.sandbox and tool.effect != "read":
                answer = replace(answer, text=f"{answer.text}\n{SANDBOX_NOTE}")
            return render_success(answer)
        except ElicitationRequired as question:
            return question.result
        except ArgumentProblem as problem:
            return render_failure(str(problem), "arguments")
        except MCPError:
            raise
        except Exception as error:
            text = agent_text(error, tool.failure)
            if text is None:
                log.exception("%s failed unexpectedly", tool.name)
                text = mask_unexpected_error(tool)
            return render_failure(text, error_kind(error))

    async def _list_prompts(self, _: Request, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[render_prompt(prompt) for prompt in self._prompts.values()])

    async def _get_prompt(self, _: Request, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        prompt = self._prompts.get(params.name)
        if prompt is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown prompt: {show_id(params.name)}."))
        given = params.arguments or {}
        missing = [each.name for each in prompt.arguments if each.required and not given.get(each.name)]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"{prompt.name} needs {', '.join(missing)}.")
        content = types.TextContent(type="text", text=redact_tokens(prompt.render(given)))
        return types.GetPromptResult(
            description=prompt.description, messages=[types.PromptMessage(role="user", content=content)]
        )

    async def _list_resources(self, _: Request, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(
            resources=[
                *(render_resource(each) for each in self._resources if not each.is_template),
                *map(render_panel, self._panels.values()),
            ]
        )

    async def _list_resource_templates(
        self, _: Request, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[render_template(each) for each in self._resources if each.is_template]
        )

    async def _read_resource(
        self, request: Request, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        if skill := skills.find_skill(uri, self._tools):
            file = types.TextResourceContents(uri=uri, text=skill.markdown, mime_type="text/markdown")
            return types.ReadResourceResult(contents=[file])
        if panel := self._panels.get(uri):
            return self._read_panel(panel, self._context_of(request))
        if uri.startswith(panels.IMAGES):
            return self._read_image(uri, self._context_of(request))
        found = resources.find_resource(uri, self._readable)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown resource: {quote_text(uri, 100)}."))
        resource, value = found
        try:
            text = await resource.read(self._context_of(request), unquote(value))
        except Exception as error:
            said = agent_text(error, f"{resource.title} not read")
            if said is None:
                log.exception("resource %s failed unexpectedly", resource.name)
                said = f"{resource.title} not read: this server made a mistake of its own, which is in its log."
            code = types.INVALID_PARAMS if isinstance(error, NotFound) else types.INTERNAL_ERROR
            raise MCPError(code, redact_tokens(said)) from None
        content = types.TextResourceContents(uri=params.uri, text=redact_tokens(text), mime_type="text/plain")
        return types.ReadResourceResult(contents=[content])

    async def _list_skills(self, _: Request, __: types.PaginatedRequestParams) -> dict[str, Any]:
        return skills.render_skills(self._tools)

    async def _get_skill(self, _: Request, params: skills.GetSkillParams) -> dict[str, Any]:
        skill = skills.find_skill(params.uri, self._tools)
        if skill is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown skill: {quote_text(params.uri, 100)}."))
        return skills.render_skill(skill)

    def _read_panel(self, panel: panels.Panel, context: ToolContext) -> types.ReadResourceResult:
        content = types.TextResourceContents(
            uri=panel.uri,
            text=panel.render(context.zone.key),
            mime_type=panels.MIME_TYPE,
            _meta={"ui": panels.describe_display(context.settings.api_url)},
        )
        return types.ReadResourceResult(contents=[content])

    def _read_image(self, uri: str, context: ToolContext) -> types.ReadResourceResult:
        found = context.read_image(unquote(uri.removeprefix(panels.IMAGES)))
        if found is None:
            raise MCPError(types.INVALID_PARAMS, redact_tokens(f"Unknown image: {quote_text(uri, 100)}."))
        content, mime_type = found
        blob = types.BlobResourceContents(uri=uri, blob=b64encode(content).decode(), mime_type=mime_type)
        return types.ReadResourceResult(contents=[blob])

    async def _complete(self, request: Request, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Complete ids and names; an API that fails completes nothing."""
        of = params.ref.uri if isinstance(params.ref, types.ResourceTemplateReference) else params.ref.name
        found: list[str] = []
        if of in {each.uri for each in self._resources} | self._prompts.keys():
            with suppress(ApiError):
                found = await completions.find_completions(
                    self._context_of(request), of, params.argument.name, params.argument.value
                )
        values = found[: completions.MOST]
        return types.CompleteResult(
            completion=types.Completion(values=values, total=len(found), has_more=len(found) > len(values))
        )


async def redact_names(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Redact a token that is sent as a name or an address: spans are named by it, and answers repeat it."""
    sent = ctx.params or {}
    if may_hold_token(f"{ctx.method} {sent.get('name')} {sent.get('uri')}".encode(errors="replace")):
        names = {key: redact_tokens(sent[key]) for key in ("name", "uri") if isinstance(sent.get(key), str)}
        ctx = replace(ctx, method=redact_tokens(ctx.method), params={**sent, **names})
    return await call_next(ctx)
