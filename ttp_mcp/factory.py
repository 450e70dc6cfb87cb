"""Build the tool context and the server from settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from ttp_mcp import tools
from ttp_mcp.api import Limits
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks, utc_now
from ttp_mcp.api.http import Http, Permissions
from ttp_mcp.config import SettingProblem, Settings
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store.base import Store
from ttp_mcp.server.elicitation import McpUserPrompter
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.toolkit.account_directory import AccountDirectory
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.writes.outcomes import HourlyLimits
from ttp_mcp.writes.writer import Writer

if TYPE_CHECKING:
    from ttp_mcp.sandbox import Sandbox

# As the vendor's client builds it.
ACCOUNTS_PAGE = "/dashboard/settings?tab=integrations"
_POSTS = {"GET /posts", "POST /posts", "DELETE /posts"}
# Endpoints each toolset calls; the API client refuses the rest.
_ENDPOINTS: dict[str, set[str]] = {
    "posts": {*_POSTS, "GET /integrations", "GET /auth"},
    "integrations": {"GET /integrations"},
    "analytics": {"GET /analytics", "GET /posts", "GET /integrations"},
    "media": {"POST /media"},
    "plans": {*_POSTS, "GET /integrations", "GET /analytics", "GET /auth"},
    "setup": {"GET /posts", "GET /integrations", "GET /analytics", "GET /auth"},
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """One user's server with its context and state."""

    app: ToolContext
    server: TtpServer
    state: Store

    async def aclose(self) -> None:
        """Close the connections and the state; a write that is still in flight notes that its outcome is unknown."""
        await self.app.writer.in_flight.abandon()
        await self.app.api.aclose()
        await self.state.aclose()


def create_server(
    settings: Settings,
    sandbox: "Sandbox | None" = None,
    *,
    state: Store | None = None,
    now: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    **server_options: Any,
) -> Runtime:
    """Build everything for one user. Nothing is opened and nothing is sent.

    Args:
        settings: As read from the environment.
        sandbox: Replaces the API, and its token the configured one.
        state: Store of the ledger; default: as configured.
        now: This machine's clock, aware UTC.
        monotonic: Monotonic clock.
        server_options: Further arguments of the server.

    Raises:
        SettingProblem: `TTP_TOOLSETS` or `TTP_STATE_URL` names something unknown.
    """
    offered = offered_tools(settings)
    state = state or open_store(settings)
    app = create_tool_context(settings, sandbox, state=state, now=now, monotonic=monotonic)
    with_confirmation = settings.confirm == "required"
    server = TtpServer(offered, app, with_confirmation=with_confirmation, sandbox=sandbox is not None, **server_options)
    return Runtime(app, server, state)


def offered_tools(settings: Settings) -> list[tools.Tool]:
    """The tools of a configuration.

    Raises:
        SettingProblem: `TTP_TOOLSETS` names an unknown group.
    """
    known = [toolset.name for toolset in tools.TOOLSETS]
    unknown = [name for name in settings.toolsets or () if name not in known]
    if unknown:
        raise SettingProblem(f"TTP_TOOLSETS may name {', '.join(known)}. Change it, or remove it for all of them.")
    return tools.select_tools(settings.toolsets, settings.access)


def create_tool_context(
    settings: Settings,
    sandbox: "Sandbox | None" = None,
    *,
    state: Store,
    now: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    tenant: Token | None = None,
    limits: Limits | None = None,
    local_files: bool = True,
    ledger_of: Callable[[Store, str, Callable[[], datetime]], Ledger] = Ledger,
) -> ToolContext:
    """Build everything a tool call needs, for the user that the settings name.

    Args:
        settings: As read from the environment.
        sandbox: Replaces the API.
        state: Store of the ledger.
        now: This machine's clock, aware UTC.
        monotonic: Monotonic clock.
        tenant: Token of one of several users; overrides the configured one.
        limits: Bounds of requests.
        local_files: True if this machine's files are the user's.
        ledger_of: Makes the ledger.
    """
    if sandbox is not None:
        token = tenant or Token(sandbox.token)
        settings = replace(settings, token=token, token_problem=None, api_url=sandbox.api_url)
        now = sandbox.clock.now
    elif tenant is not None:
        settings = replace(settings, token=tenant, token_problem=None)
    api = ApiClient(
        Http(
            base_url=settings.api_url,
            token=settings.token,
            token_problem=settings.token_problem,
            org_id=settings.org_id,
            app=sandbox.app if sandbox else None,
            limits=limits,
            clocks=Clocks(monotonic=monotonic, now=now),
            permissions=Permissions(
                access=settings.access,
                endpoints=frozenset[str]().union(*(_ENDPOINTS[tool.toolset] for tool in offered_tools(settings))),
            ),
        ),
        storage_app=sandbox.storage_app if sandbox else None,
    )
    # The sandbox makes a new token at each start but keeps its workspace, so its token can't be the scope.
    token = tenant or (None if sandbox else settings.token)
    scope = scope_of(settings.api_url, token, settings.org_id)
    ledger = ledger_of(state, scope, now)
    caps = HourlyLimits.from_settings(settings)
    # The sandbox has no site.
    accounts_url = None if sandbox else urljoin(settings.api_url, ACCOUNTS_PAGE)
    return ToolContext(
        settings=settings,
        api=api,
        ledger=ledger,
        writer=Writer(api, ledger, limits=caps, monotonic=monotonic, now=now),
        accounts=AccountDirectory(api, monotonic),
        user=McpUserPrompter(None, None, ledger),
        now=api.clock.now,
        zone=settings.zone,
        dashboard="the TimeToPost dashboard" + (f" ({accounts_url})" if accounts_url else ""),
        accounts_url=accounts_url,
        local_files=local_files,
        sandbox=sandbox is not None,
        **({"read_image": sandbox.storage.read_image} if sandbox else {}),
    )
