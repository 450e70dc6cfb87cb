"""The person at the other end, through whatever their MCP client offers: progress, and a question with yes or no."""

from typing import Any, cast

import mcp_types as types
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError

from ttp_mcp.credentials import redact_tokens
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.toolkit.confirmation import CONFIRMATION_SECONDS, digest_of

# From this protocol version on a server asks by answering a call with the question; the client repeats the call.
ASKS_BY_ANSWER = "2026-07-28"
_ANSWER = "confirm"
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "confirm": {"type": "boolean", "title": "Yes, do it", "description": "Nothing happens without a yes."}
    },
    "required": ["confirm"],
}


class ElicitationRequired(Exception):
    """The call has to be answered with a question; the client calls again with the human's answer."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        """Keep the answer that carries the question."""
        super().__init__("the human has to be asked first")
        self.result = result


class McpUserPrompter:
    """The human behind one call."""

    def __init__(self, context: Context[Any, Any] | None, ledger: Ledger) -> None:
        """`context` is the call's; without one nobody is there."""
        self._context = context
        self._ledger = ledger

    async def report_progress(self, done: float, total: float, message: str) -> None:
        """Say how far a long call is; without effect where nobody asked for it."""
        if self._context is not None:
            await self._context.report_progress(done, total, redact_tokens(message))

    async def confirm(self, question: str, binding: Any) -> bool | None:
        """Ask for a yes to exactly this; None when the client can't ask.

        Raises:
            AskFirst: The question has to travel as the answer of this call.
            Refusal: The answer is to something else, or the client failed to ask.
        """
        context = self._context
        if context is None or not _can_elicit(context.client_capabilities):
            return None
        question = redact_tokens(question)
        if (context.protocol_version or "") >= ASKS_BY_ANSWER:
            return await self._by_answer(context, question, binding)
        return await self._by_request(context, question)

    async def _by_answer(self, context: Context[Any, Any], question: str, binding: Any) -> bool:
        reply = (context.input_responses or {}).get(_ANSWER)
        if reply is None:
            offered = await self._ledger.offer(digest_of(binding, "answer"), CONFIRMATION_SECONDS)
            raise ElicitationRequired(
                types.InputRequiredResult(
                    input_requests={_ANSWER: types.ElicitRequest(params=_params(question))}, request_state=offered.code
                )
            )
        if not await self._ledger.redeem(context.request_state or "", digest_of(binding, "answer")):
            raise Refusal(
                "Not done: the human's answer was for other arguments, was used already or came after five minutes. "
                "Call again to ask anew; nothing was sent."
            )
        return _is_accepted(reply)

    async def _by_request(self, context: Context[Any, Any], question: str) -> bool | None:
        try:
            reply = await context.request_context.session.elicit_form(
                question, _FORM, related_request_id=context.request_context.request_id
            )
        except MCPError:
            raise Refusal(
                "Not done: the client was asked to show a question to the human and failed to. Ask them in your own words "
                "what to do; nothing was sent."
            ) from None
        return _is_accepted(reply)


def _params(question: str) -> types.ElicitRequestFormParams:
    return types.ElicitRequestFormParams(message=question, requested_schema=_FORM)


def _can_elicit(capabilities: types.ClientCapabilities | None) -> bool:
    """Whether the client shows forms; one that names no mode is of the time when there was only this one."""
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _is_accepted(reply: object) -> bool:
    if not isinstance(reply, types.ElicitResult):
        return False
    content = cast("dict[str, object]", reply.content or {})
    return reply.action == "accept" and content.get("confirm") is True
