"""Test entry point: the real server class with the suite's fixtures beside its tools, behind the real guard.

    python tests/conformance/server.py [--port 0] [--stateless]

`--stateless` serves like `ttp-mcp --transport http`. Without it the same class is served with sessions and streams, which the
2025 scenarios with requests to the client need. The address is printed once requests are served. `bridge.py` serves it over
stdio.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import mcp_types as types
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

from ttp_mcp.config import Settings
from ttp_mcp.factory import create_tool_context, offered_tools
from ttp_mcp.ledger.store import open_store
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.transports.http.guard import Guard
from ttp_mcp.transports.http.options import Options, guard_rules
from ttp_mcp.transports.http.run import open_listener
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.transport import serve_stdio

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import KEYWORDS_TOOL, add_fixtures

LISTS: tuple[tuple[str, Any, str], ...] = (
    ("tools/list", types.PaginatedRequestParams, "tools"),
    ("prompts/list", types.PaginatedRequestParams, "prompts"),
    ("resources/list", types.PaginatedRequestParams, "resources"),
    ("resources/templates/list", types.PaginatedRequestParams, "resource_templates"),
)
NAMED: tuple[tuple[str, Any], ...] = (
    ("tools/call", types.CallToolRequestParams),
    ("prompts/get", types.GetPromptRequestParams),
    ("resources/read", types.ReadResourceRequestParams),
)
QUIET: tuple[tuple[str, Any], ...] = (
    ("logging/setLevel", types.SetLevelRequestParams),
    ("resources/subscribe", types.SubscribeRequestParams),
    ("resources/unsubscribe", types.UnsubscribeRequestParams),
)


class FixtureServer(TtpServer):
    """The real server; requests for a fixture go to a server that has only the fixtures."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Set up both servers, and the handlers that only the fixtures need."""
        super().__init__(*arguments, **more)
        fixtures = MCPServer("fixtures", log_level="WARNING")
        add_fixtures(fixtures)
        self._theirs = fixtures._lowlevel_server
        for method, params, field in LISTS:
            self.add_request_handler(method, params, self._joined(method, field))
        for method, params in NAMED:
            self.add_request_handler(method, params, self._chosen(method))
        for method, params in QUIET:
            self.add_request_handler(method, params, _return_nothing)
        self.add_request_handler(
            "subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(fixtures._subscriptions)
        )

    def _joined(self, method: str, field: str) -> Any:
        """Return a handler that lists ours, then the fixtures."""
        ours, theirs = self.get_request_handler(method), self._theirs.get_request_handler(method)
        more = [KEYWORDS_TOOL] if method == "tools/list" else []

        async def handle(ctx: Any, params: Any) -> Any:
            own, others = await ours.handler(ctx, params), await theirs.handler(ctx, params)
            return own.model_copy(update={field: [*getattr(own, field), *getattr(others, field), *more]})

        return handle

    def _chosen(self, method: str) -> Any:
        """Return a handler that uses ours, or that of the fixtures for a name that ours doesn't have."""
        ours, theirs = self.get_request_handler(method), self._theirs.get_request_handler(method)

        async def handle(ctx: Any, params: Any) -> Any:
            try:
                return await ours.handler(ctx, params)
            except MCPError as error:
                if not error.message.startswith("Unknown "):
                    raise
            return await theirs.handler(ctx, params)

        return handle


async def _return_nothing(_: Any, __: Any) -> types.EmptyResult:
    return types.EmptyResult()


def create_server(settings: Settings) -> FixtureServer:
    """Create the server over an empty sandbox."""
    app = create_tool_context(settings, Sandbox(), state=open_store(settings))
    return FixtureServer(offered_tools(settings), lambda _: app)


def serve_pipes(settings: Settings, record: str | None) -> None:
    """Serve over stdio until the input closes."""
    handshake = Handshake(Path(record), "conformance") if record else None
    if handshake is None or not handshake.can_replay or handshake.replay():
        anyio.run(lambda: serve_stdio(create_server(settings), handshake=handshake))


async def serve_http(port: int, settings: Settings, *, stateless: bool) -> None:
    """Serve until the process is stopped."""
    server = create_server(settings)
    options = Options("http", port=port)
    with open_listener(options.host, port) as opened:
        port = opened.getsockname()[1]
        allowed = guard_rules(settings, options, port)
        if not stateless:
            allowed = dataclasses.replace(allowed, methods={options.endpoint: ("POST", "GET", "DELETE")})
        inner = server.streamable_http_app(
            json_response=stateless,
            stateless_http=stateless,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        running = uvicorn.Server(uvicorn.Config(Guard(inner, allowed), log_config=None, lifespan="on"))
        print(f"http://127.0.0.1:{port}{options.endpoint}", flush=True)  # noqa: T201 - this is the answer of the command
        await running.serve([opened])


def main() -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description="The real server with the conformance suite's fixtures.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stateless", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        settings = Settings(zone=ZoneInfo("UTC"), state_dir=Path(state))
        anyio.run(lambda: serve_http(options.port, settings, stateless=options.stateless))


if __name__ == "__main__":
    main()
