"""A server over HTTP in this process: requests go straight to its ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from tests.support.workspaces import open_workspace
from ttp_mcp.config import Settings
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.transports.http.app import HttpService
from ttp_mcp.transports.http.options import Options

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
KEY = "k" * 40
PORT = 8000
MODERN = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Web:
    """A server, a client of it, and the sandbox behind it."""

    service: HttpService
    http: httpx2.AsyncClient
    sandbox: Sandbox

    async def rpc(self, method: str, params: dict[str, Any] | None = None, /, **headers: str) -> httpx2.Response:
        """POST one request of 2026-07-28. Underscores in header names are hyphens."""
        return await self.http.post("/mcp", **make_request(method, params, **headers))

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, /, **headers: str) -> httpx2.Response:
        """Call a tool."""
        return await self.rpc("tools/call", {"name": tool, "arguments": arguments or {}}, **headers)


def make_request(method: str, params: dict[str, Any] | None = None, /, **headers: str) -> dict[str, Any]:
    """Body and headers of one request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    named = {"mcp-name": params["name"]} if params and "name" in params else {}
    return {
        "json": {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}},
        "headers": {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            **named,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    }


def choose_options(settings: Settings, transport: Any, **flags: Any) -> Options:
    """Options that these settings are served with: several users without a key have to be asked for."""
    is_open = bool(flags.get("multi_tenant")) and settings.server_key is None and settings.oauth_issuer is None
    return Options(transport, **{"port": PORT, "no_client_auth": is_open, **flags})


def read_refusal(response: httpx2.Response) -> str:
    """The words of a refusal."""
    return response.json()["error"]["message"]


def read_text(response: httpx2.Response) -> str:
    """The text of a tool's answer."""
    return response.json()["result"]["content"][0]["text"]


@pytest.fixture
def clock() -> ManualClock:
    """Tuesday, 24 November 2026, 09:02 in Paris."""
    return ManualClock(NOW)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """The defaults, with Paris time and a state folder of its own."""
    return Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state")


Serve = Callable[..., AbstractAsyncContextManager[Web]]


@pytest.fixture
def start_server(settings: Settings, clock: ManualClock, tmp_path: Path) -> Serve:
    """Opens a server: `async with start_server(server_key=KEY) as web`. Keywords are settings; `options` and `more` are the rest."""

    numbers = count()

    @asynccontextmanager
    async def open_web(
        *,
        options: dict[str, Any] | None = None,
        sandbox: Sandbox | None = None,
        more: dict[str, Any] | None = None,
        **changes: Any,
    ) -> AsyncIterator[Web]:
        from dataclasses import replace

        own = sandbox or open_workspace(tmp_path / f"sandbox-{next(numbers)}", clock)
        configured = replace(settings, **changes)
        chosen = choose_options(configured, **{"transport": "http", **(options or {})})
        service = HttpService(configured, chosen, own, port=PORT, **(more or {}))
        try:
            async with (
                service.running(),
                httpx2.AsyncClient(
                    transport=httpx2.ASGITransport(service.app), base_url=f"http://127.0.0.1:{PORT}", timeout=5
                ) as http,
            ):
                yield Web(service, http, own)
        finally:
            await service.aclose()
            if sandbox is None:
                own.close()

    return open_web


@pytest.fixture
async def web(start_server: Serve) -> AsyncIterator[Web]:
    """A server for one account on this machine, without a key."""
    async with start_server() as opened:
        yield opened
