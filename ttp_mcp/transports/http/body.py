"""Bodies as clients really send them: a byte order mark is skipped, and a call with half an emoji is refused in words."""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.transports.messages import find_cut_arguments, refuse_cut_arguments, repair_text

_CUT_ARGUMENTS = "ttp_mcp.cut_arguments"


def repair_bodies(app: ASGIApp, most_bytes: int) -> ASGIApp:
    """ASGI middleware that repairs the text of a body once the application asks for it, so after it has authenticated the client."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        is_first = True
        # Applications may copy the scope, so the list is shared and filled later.
        cut: list[str] = []
        scope = {**scope, _CUT_ARGUMENTS: cut}

        async def receive_repaired() -> Message:
            nonlocal is_first
            if not is_first:
                return await receive()
            is_first = False
            message = await _receive_whole(receive, most_bytes)
            body = message["body"]
            repaired = repair_text(body)
            if repaired != body:
                cut.extend(find_cut_arguments(body))
            return {**message, "body": repaired}

        await app(scope, receive_repaired, send)

    return serve


async def refuse_cut_calls(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of the MCP server: answer a call whose arguments were repaired with an error that the model sees."""
    if ctx.method == "tools/call":
        request: Any = ctx.request
        cut: list[str] = request.scope[_CUT_ARGUMENTS]
        if cut:
            return refuse_cut_arguments(cut)
    return await call_next(ctx)


async def _receive_whole(receive: Receive, most_bytes: int) -> Message:
    """Receive a body as one message; a body that is too large stays in parts, and the application refuses it."""
    message = await receive()
    body = bytearray(message.get("body", b""))
    while message.get("more_body") and len(body) <= most_bytes:
        message = await receive()
        body += message.get("body", b"")
    return {**message, "body": bytes(body)}
