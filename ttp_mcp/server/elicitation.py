"""Reach the user through their MCP client: progress, a question to confirm, and a link to open (elicitation)."""

from contextlib import suppress
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from ttp_mcp.credentials import redact_tokens
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.toolkit.confirmation import CONFIRMATION_SECONDS, digest_of

# From this protocol version on, a call is answered with the question, and the client repeats the call with the reply.
INPUT_REQUIRED_SINCE = "2026-07-28"
_ANSWER, _LINK = "confirm", "link"
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "confirm": {"type": "boolean", "title": "Yes, do it", "description": "Nothing happens without a yes."}
    },
    "required": ["confirm"],
}


class ElicitationRequired(Exception):
    """Raised to answer the call with a question or an offer. The client calls again with the user's reply."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        """Keep the result that carries the question."""
        self.result = result


@dataclass(frozen=True, slots=True)
class McpUserPrompter:
    """The user behind one call; without a request, the user can't be asked."""

    request: ServerRequestContext[Any, Any] | None
    params: types.CallToolRequestParams | None
    ledger: Ledger

    async def report_progress(self, done: float, total: float, message: str) -> None:
        """Report the progress of a long call; no effect unless the client asked for it."""
        if self.request is not None:
            await self.request.session.report_progress(done, total, redact_tokens(message))

    async def confirm(self, question: str, binding: Any) -> bool | None:
        """Ask the user to confirm exactly this; None when the client can't ask.

        Raises:
            ElicitationRequired: The question is the answer to this call.
            Refusal: The reply is to something else, or the client failed to ask.
        """
        request, params = self.request, self.params
        if request is None or params is None or not _can_elicit(request):
            return None
        question = redact_tokens(question)
        if request.protocol_version >= INPUT_REQUIRED_SINCE:
            return await self._read_reply(params, question, binding)
        return await self._send_question(request, question)

    async def offer_link(self, message: str, url: str) -> None:
        """Offer to open a page; no effect when the client can't.

        Raises:
            ElicitationRequired: The offer is the answer to this call.
        """
        request, params = self.request, self.params
        if request is None or params is None or not _can_open_links(request):
            return
        message = redact_tokens(message)
        if request.protocol_version < INPUT_REQUIRED_SINCE:
            # The link is in the answer too, so a client that fails to show it changes nothing.
            with suppress(MCPError):
                await request.session.elicit_url(message, url, token_urlsafe(16), related_request_id=request.request_id)
        elif _LINK not in (params.input_responses or {}):
            offer = types.ElicitRequest(params=types.ElicitRequestURLParams(message=message, url=url))
            raise ElicitationRequired(types.InputRequiredResult(input_requests={_LINK: offer}))

    async def _read_reply(self, params: types.CallToolRequestParams, question: str, binding: Any) -> bool:
        reply = (params.input_responses or {}).get(_ANSWER)
        if reply is None:
            offered = await self.ledger.confirmations.offer(digest_of(binding, "answer"), CONFIRMATION_SECONDS)
            raise ElicitationRequired(
                types.InputRequiredResult(
                    input_requests={_ANSWER: types.ElicitRequest(params=_to_params(question))},
                    request_state=offered.code,
                )
            )
        if not await self.ledger.confirmations.redeem(params.request_state or "", digest_of(binding, "answer")):
            raise Refusal(
                "Not done: the user's answer was for other arguments, was used already, or came after five minutes. "
                "Call again for a new prompt; nothing was sent."
            )
        return _is_accepted(reply)

    async def _send_question(self, request: ServerRequestContext[Any, Any], question: str) -> bool:
        try:
            reply = await request.session.elicit_form(question, _FORM, related_request_id=request.request_id)
        except MCPError:
            raise Refusal(
                "Not done: the client failed to show a question to the user. Ask them in your own words what to do; "
                "nothing was sent."
            ) from None
        return _is_accepted(reply)


def _to_params(question: str) -> types.ElicitRequestFormParams:
    return types.ElicitRequestFormParams(message=question, requested_schema=_FORM)


def _find_capability(request: ServerRequestContext[Any, Any]) -> types.ElicitationCapability | None:
    capabilities = request.session.client_capabilities
    return capabilities.elicitation if capabilities else None


def _can_elicit(request: ServerRequestContext[Any, Any]) -> bool:
    """Check whether the client shows forms. One that names no mode predates the other mode."""
    elicitation = _find_capability(request)
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _can_open_links(request: ServerRequestContext[Any, Any]) -> bool:
    elicitation = _find_capability(request)
    return elicitation is not None and elicitation.url is not None


def _is_accepted(reply: object) -> bool:
    if not isinstance(reply, types.ElicitResult):
        return False
    content = cast("dict[str, object]", reply.content or {})
    return reply.action == "accept" and content.get("confirm") is True
