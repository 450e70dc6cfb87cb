"""Test entry point: the real server class with the suite's fixtures beside its tools, behind the real guard.

    python tests/conformance/server.py [--port 0] [--stateless]

`--stateless` serves as `ttp-mcp --transport http` does. Without it the same class is served with sessions and streams, which the
2025 scenarios with requests to the client need. The address is printed as soon as requests are answered.
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
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings

from ttp_mcp.config import Settings
from ttp_mcp.factory import create_tool_context, offered_tools
from ttp_mcp.ledger.store import open_store
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.transports.http.guard import Guard
from ttp_mcp.transports.http.options import Options, guard_rules
from ttp_mcp.transports.http.run import listening

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import KEYWORDS_TOOL, add_fixtures


class FixtureServer(TtpServer):
    """The real server; what it does not know is looked up among the fixtures."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Set up the real server, add the fixtures and the handlers that only they need."""
        super().__init__(*arguments, **more)
        add_fixtures(self)
        low = self._lowlevel_server
        low.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _nothing)
        low.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _nothing)
        low.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _nothing)
        low.add_request_handler(
            "subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(self._subscriptions)
        )

    async def list_tools(self) -> list[types.Tool]:
        """Ours, then the fixtures."""
        return [*await super().list_tools(), *await MCPServer.list_tools(self), KEYWORDS_TOOL]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        """A fixture, or one of ours."""
        if any(tool.name == name for tool in await MCPServer.list_tools(self)):
            return await MCPServer.call_tool(self, name, arguments, context)
        return await super().call_tool(name, arguments, context)


async def _nothing(_: Any, __: Any) -> types.EmptyResult:
    return types.EmptyResult()


async def serve(port: int, state: Path, *, stateless: bool) -> None:
    """Serve until the process is told to end."""
    settings = Settings(zone=ZoneInfo("UTC"), state_dir=state)
    sandbox = Sandbox()
    app = create_tool_context(settings, sandbox, state=open_store(settings))
    server = FixtureServer(offered_tools(settings), lambda _: app)
    options = Options("http", port=port)
    with listening(options.host, port) as opened:
        port = opened.getsockname()[1]
        allowed = guard_rules(settings, options, port, with_metrics=False)
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
        anyio.run(lambda: serve(options.port, Path(state), stateless=options.stateless))


if __name__ == "__main__":
    main()
