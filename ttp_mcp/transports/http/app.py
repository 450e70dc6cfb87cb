"""The ASGI application: guard, probes, metrics, client authentication, and the SDK's transport."""

import hmac
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateSecurity
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.types import ASGIApp

from ttp_mcp.api import Limits
from ttp_mcp.config import Settings
from ttp_mcp.credentials import Token
from ttp_mcp.factory import create_tool_context, offered_tools
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Outcome, Write
from ttp_mcp.ledger.store import open_store
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.transports.http import metrics
from ttp_mcp.transports.http import options as configured
from ttp_mcp.transports.http.auth import CONTEXT, ClientAuth, ServerKey
from ttp_mcp.transports.http.body import refuse_cut_calls, repair_bodies
from ttp_mcp.transports.http.guard import Guard
from ttp_mcp.transports.http.health import Health
from ttp_mcp.transports.http.jwks import IssuerKeys
from ttp_mcp.transports.http.metrics import CountedLedger, Metrics
from ttp_mcp.transports.http.oauth import AccessTokens, auth_settings
from ttp_mcp.transports.http.sse import build_sse_app
from ttp_mcp.transports.http.tenants import Tenants
from ttp_mcp.writes import startup_report

if TYPE_CHECKING:
    from ttp_mcp.sandbox import Sandbox

log = logging.getLogger(__name__)

BODY_BYTES = 4 * 1024 * 1024
# One of several users must not occupy all connections of the process.
TENANT_CONNECTIONS = 8


class HttpService:
    """The server as an ASGI application, and the state that a shutdown waits for."""

    # Set by `running`; users of a multi-tenant server add theirs.
    _tasks: TaskGroup

    def __init__(
        self,
        settings: Settings,
        options: configured.Options,
        sandbox: "Sandbox | None" = None,
        *,
        port: int,
        body_bytes: int = BODY_BYTES,
        issuer_app: ASGIApp | None = None,
        tenants: Callable[[Callable[[Token | None], ToolContext]], Tenants] = Tenants,
    ) -> None:
        """Build everything; nothing is opened and nothing is sent.

        Args:
            settings: As read from the environment.
            options: As read from the command line.
            sandbox: Replaces the API if given.
            port: Actual port of the socket.
            body_bytes: Maximum size of a body.
            issuer_app: Replaces the OAuth issuer if given.
            tenants: Creates the collection of users.

        Raises:
            SettingProblem: The configuration can't be served.
        """
        configured.check_options(settings, options)
        self.state = open_store(settings)
        offered = offered_tools(settings)
        self.metrics = Metrics(frozenset(tool.name for tool in offered))
        self._tenants = tenants(partial(self._create_context, settings=settings, sandbox=sandbox))
        self._context = None if options.multi_tenant else self._tenants.add_only_user()
        server = TtpServer(
            offered,
            self._find_context,
            with_confirmation=settings.confirm == "required",
            sandbox=sandbox is not None,
            middleware=[self.metrics.measure_call, refuse_cut_calls],
            state_security=_create_state_security(settings.server_key),
        )
        self._mcp = build_mcp_app(server, options, body_bytes, _oauth_options(settings, issuer_app))
        self.health = Health(self._add_authentication(settings, options, body_bytes), self.state)
        self.app: ASGIApp = Guard(self.health, configured.guard_rules(settings, options, port))

    @property
    def is_busy(self) -> bool:
        """True while a call or a write is in flight; a write may outlive its call."""
        return self.metrics.in_flight > 0 or self._tenants.writes_in_flight > 0

    def stop_accepting(self) -> None:
        """Report on `/readyz` that no new work is accepted."""
        self.health.is_draining = True

    async def drain(self, seconds: float) -> bool:
        """Wait until no write is in flight; abandon those left after `seconds`. False if any was abandoned."""
        return await self._tenants.drain(seconds)

    async def aclose(self) -> None:
        """Close the connections and the store."""
        await self._tenants.aclose()
        await self.state.aclose()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the background tasks; an alternative to the lifespan of an ASGI server."""
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(self._tasks.cancel_scope.cancel)
            if self._context is None:
                self._tasks.start_soon(self._tenants.sweep_forever)
            else:
                self._tasks.start_soon(startup_report.report_unfinished_writes, self._context.ledger)
            await stack.enter_async_context(self._mcp.router.lifespan_context(self._mcp))
            yield

    def _add_authentication(self, settings: Settings, options: configured.Options, body_bytes: int) -> ASGIApp:
        resource = settings.oauth_resource
        return ClientAuth(
            # The guard refuses this page where it is not served.
            self.metrics.serve_page(repair_bodies(self._mcp, body_bytes)),
            key=_parse_server_key(settings),
            open_paths={configured.metadata_path(resource)} if resource else (),
            tenants=self._tenants if options.multi_tenant else None,
            oauth_paths=options.mcp_paths if settings.oauth_issuer else (),
            tenantless_paths={metrics.PATH},
        )

    def _create_context(self, token: Token | None, *, settings: Settings, sandbox: "Sandbox | None") -> ToolContext:
        context = create_tool_context(
            settings,
            sandbox,
            state=self.state,
            tenant=token,
            limits=Limits(connections=TENANT_CONNECTIONS) if token else None,
            ledger_of=self._create_ledger,
            local_files=False,
        )
        if token is not None:
            # A tenant is unknown before its first call.
            user = f"The user with the token {token.fingerprint}: "
            self._tasks.start_soon(partial(startup_report.report_unfinished_writes, context.ledger, user=user))
        return context

    def _create_ledger(self, *arguments: Any) -> Ledger:
        ledger = CountedLedger(*arguments)
        ledger.on_outcome = self._note_outcome
        return ledger

    def _note_outcome(self, write: Write, outcome: Outcome) -> None:
        self.metrics.count_write(write, outcome)
        # During a shutdown the response may not reach the client.
        if outcome == "unknown" and self.health.is_draining:
            log.warning(
                "The server ends before write %s (%s) has its answer: it may have happened", write.id, write.kind
            )

    def _find_context(self, mcp_request: ServerRequestContext[Any, Any]) -> ToolContext:
        if self._context is not None:
            return self._context
        # ClientAuth sets it for each request.
        request: Any = mcp_request.request
        return request.scope[CONTEXT]


def build_mcp_app(server: TtpServer, options: configured.Options, body_bytes: int, oauth: dict[str, Any]) -> Starlette:
    """Build the SDK's application for the chosen transport."""
    if options.transport == "http":
        return server.streamable_http_app(
            streamable_http_path=options.endpoint,
            json_response=True,
            stateless_http=True,
            max_request_body_size=body_bytes,
            # The guard checks Host and Origin; the SDK compares prefixes only.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            **oauth,
        )
    log.warning("SSE is deprecated in MCP since 2025-03-26; use --transport http wherever the client can")
    return build_sse_app(
        server,
        sse_path=options.endpoint,
        message_path=options.messages,
        max_request_body_size=body_bytes,
        **oauth,
    )


def _parse_server_key(settings: Settings) -> ServerKey | None:
    return ServerKey(settings.server_key) if settings.server_key else None


def _oauth_options(settings: Settings, issuer_app: ASGIApp | None) -> dict[str, Any]:
    issuer, resource = settings.oauth_issuer, settings.oauth_resource
    if issuer is None or resource is None:
        return {}
    keys = IssuerKeys(issuer, app=issuer_app)
    return {
        "auth": auth_settings(issuer, resource),
        "token_verifier": AccessTokens(issuer, resource, keys, _parse_server_key(settings)),
    }


def _create_state_security(server_key: str | None) -> RequestStateSecurity | None:
    """Seal the state that clients carry, with the same key on all replicas that share a server key; None for a key of this process."""
    if server_key is None:
        return None
    return RequestStateSecurity(keys=[hmac.digest(server_key.encode(), b"ttp-mcp request state", "sha256")])
