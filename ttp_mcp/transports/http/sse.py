"""The deprecated SSE transport: an event stream, and a path that messages are posted to."""

from typing import Any

from mcp.server import Server
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from mcp.server.sse import SseServerTransport
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send


class EventStream:
    """ASGI application of the stream: one MCP connection for each request."""

    def __init__(self, server: Server[Any], transport: SseServerTransport) -> None:
        """Serve `server` over `transport`."""
        self._server = server
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until the client leaves."""
        async with self._transport.connect_sse(scope, receive, send) as (reader, writer):
            await self._server.run(reader, writer, self._server.create_initialization_options())


def build_sse_app(
    server: Server[Any],
    *,
    sse_path: str,
    message_path: str,
    max_request_body_size: int,
    auth: AuthSettings | None = None,
    token_verifier: TokenVerifier | None = None,
) -> Starlette:
    """Build the application, with OAuth where it is configured."""
    transport = SseServerTransport(message_path, max_request_body_size=max_request_body_size)
    stream = EventStream(server, transport)
    messages = transport.handle_post_message
    if auth is None or token_verifier is None or auth.resource_server_url is None:
        return Starlette(routes=[Route(sse_path, stream), Mount(message_path, messages)])
    metadata = build_resource_metadata_url(auth.resource_server_url)
    return Starlette(
        routes=[
            Route(sse_path, RequireAuthMiddleware(stream, [], metadata)),
            Mount(message_path, RequireAuthMiddleware(messages, [], metadata)),
            *create_protected_resource_routes(auth.resource_server_url, [auth.issuer_url]),
        ],
        # The verifier itself checks for which resource a token is.
        middleware=[Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(token_verifier))],
    )
