"""One ASGI application out of the parts: guard, probes, figures, client authentication, and the SDK's transport."""

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
from starlette.types import ASGIApp

from ttp_mcp.api import Limits
from ttp_mcp.config import Settings
from ttp_mcp.credentials import Token
from ttp_mcp.factory import create_tool_context, offered_tools
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Outcome, Write
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store.base import Store
from ttp_mcp.server.mcp_server import NAME, TtpServer
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.transports.http import metrics
from ttp_mcp.transports.http import options as configured
from ttp_mcp.transports.http.auth import APP, ClientAuth, ServerKey
from ttp_mcp.transports.http.guard import Guard
from ttp_mcp.transports.http.health import ALIVE, READY, Health
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
# One user of several must not take all the places of the process.
TENANT_CONNECTIONS = 8

# The guard has looked at Host and Origin; the SDK's comparison of beginnings has no say.
_CHECKED_BY_GUARD = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class HttpService:
    """The server as an ASGI application, and what has to be waited for when it ends."""

    def __init__(
        self,
        settings: Settings,
        options: configured.Options,
        sandbox: "Sandbox | None" = None,
        *,
        port: int,
        state: Store | None = None,
        body_bytes: int = BODY_BYTES,
        issuer_app: ASGIApp | None = None,
        tenants: Callable[[Callable[[Token], ToolContext]], Tenants] = Tenants,
        **clocks: Any,
    ) -> None:
        """Build everything; nothing is opened and nothing is sent.

        Args:
            settings: As read from the environment.
            options: As read from the command line.
            sandbox: Stands for the API when given.
            port: Where it is really reached.
            state: Where the ledger is; as configured when omitted.
            body_bytes: A larger body is refused.
            issuer_app: Stands for the OAuth issuer when given.
            tenants: Makes the keeper of users.
            clocks: `now` and `monotonic`, as `assemble` takes them.

        Raises:
            SettingProblem: The configuration can't be served.
        """
        configured.check_options(settings, options)
        self.state = state or open_store(settings)
        self._key = ServerKey(settings.server_key) if settings.server_key else None
        self._tenants: Tenants | None = None
        self._tasks: TaskGroup | None = None
        self._app: ToolContext | None = None
        offered = offered_tools(settings)
        self.metrics = Metrics(frozenset(tool.name for tool in offered))
        make = partial(self._surroundings, settings=settings, sandbox=sandbox, clocks=clocks)
        if options.multi_tenant:
            self._tenants = tenants(make)
        else:
            self._app = make(None)
        server = TtpServer(
            offered,
            self._app_of,
            with_confirmation=settings.confirm == "required",
            middleware=[self.metrics.watch],
            state_security=_sealing(settings.server_key),
        )
        self._finish(server, settings, options, port, body_bytes, self._oauth(settings, issuer_app))

    @property
    def busy(self) -> bool:
        """Whether a call is under way, or a write, which may outlive its call."""
        writes = self._tenants.writes_in_flight if self._tenants is not None else 0
        return (
            self.metrics.in_flight > 0 or writes > 0 or (self._app is not None and self._app.writer.in_flight.count > 0)
        )

    def leave(self) -> None:
        """Take no new work: `/readyz` says so."""
        self.health.leaving = True

    async def drain(self, seconds: float) -> bool:
        """Wait until no write is in flight; what is left after so many seconds is given up. False if any was."""
        if self._tenants is not None:
            return await self._tenants.drain(seconds)
        return await self._app.writer.in_flight.drain(seconds) if self._app else True

    async def aclose(self) -> None:
        """Close the connections and the state."""
        if self._tenants is not None:
            await self._tenants.aclose()
        if self._app is not None:
            await self._app.api.aclose()
        await self.state.aclose()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """What runs beside the requests; for whoever serves the application without a lifespan of its own."""
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            if self._tenants is not None:
                tasks.start_soon(self._tenants.sweep_forever)
                self._tasks = tasks
            if self._app is not None:
                tasks.start_soon(startup_report.report_unfinished_writes, self._app.ledger)
            await stack.enter_async_context(self._mcp.router.lifespan_context(self._mcp))
            yield

    def _finish(
        self,
        server: TtpServer,
        settings: Settings,
        options: configured.Options,
        port: int,
        body_bytes: int,
        oauth: dict[str, Any],
    ) -> None:
        with_metrics = configured.has_metrics(settings, options)
        if options.transport == "http":
            self._mcp = server.streamable_http_app(
                streamable_http_path=options.endpoint,
                json_response=True,
                stateless_http=True,
                max_request_body_size=body_bytes,
                transport_security=_CHECKED_BY_GUARD,
                **oauth,
            )
            protected = {options.endpoint}
        else:
            log.warning("SSE is deprecated in MCP since 2025-03-26; use --transport http wherever the client can")
            self._mcp = build_sse_app(
                server,
                sse_path=options.endpoint,
                message_path=options.messages,
                max_request_body_size=body_bytes,
                transport_security=_CHECKED_BY_GUARD,
                **oauth,
            )
            protected = {options.endpoint, options.messages}
        open_paths = {ALIVE, READY}
        if settings.oauth_resource:
            open_paths.add(configured.metadata_path(settings.oauth_resource))
        inner: ASGIApp = self.metrics.page(self._mcp) if with_metrics else self._mcp
        inner = ClientAuth(
            inner,
            key=self._key,
            open_paths=open_paths,
            tenants=self._tenants,
            oauth_paths=protected if settings.oauth_issuer else (),
            userless_paths={metrics.PATH},
        )
        self.health = Health(inner, self.state)
        guard_rules = configured.guard_rules(settings, options, port, with_metrics=with_metrics)
        self.app: ASGIApp = Guard(self.health, guard_rules)

    def _surroundings(
        self, token: Token | None, *, settings: Settings, sandbox: "Sandbox | None", clocks: dict[str, Any]
    ) -> ToolContext:
        app = create_tool_context(
            settings,
            sandbox,
            state=self.state,
            tenant=token,
            limits=Limits(connections=TENANT_CONNECTIONS) if token else None,
            ledger_of=self._ledger,
            local_files=False,
            **clocks,
        )
        if token is not None and self._tasks is not None:
            # Of several users nobody is known before their first call.
            user = f"The user with the token {token.fingerprint}: "
            self._tasks.start_soon(partial(startup_report.report_unfinished_writes, app.ledger, user=user))
        return app

    def _ledger(self, *arguments: Any) -> Ledger:
        ledger = CountedLedger(*arguments)
        ledger.wrote = self._wrote
        return ledger

    def _wrote(self, write: Write, outcome: Outcome) -> None:
        self.metrics.wrote(write, outcome)
        # The answer that says so may not reach anybody any more.
        if outcome == "unknown" and self.health.leaving:
            log.warning(
                "The server ends before write %s (%s) has its answer: it may have happened", write.id, write.kind
            )

    def _app_of(self, mcp_request: ServerRequestContext[Any, Any]) -> ToolContext:
        if self._app is not None:
            return self._app
        # Set for each request by ClientAuth, and by nothing else; without it there is no call.
        request: Any = mcp_request.request
        return request.scope[APP]

    def _oauth(self, settings: Settings, issuer_app: ASGIApp | None) -> dict[str, Any]:
        issuer, resource = settings.oauth_issuer, settings.oauth_resource
        if issuer is None or resource is None:
            return {}
        keys = IssuerKeys(issuer, app=issuer_app)
        return {
            "auth": auth_settings(issuer, resource),
            "token_verifier": AccessTokens(issuer, resource, keys, self._key),
        }


def _sealing(server_key: str | None) -> RequestStateSecurity:
    """How what clients carry for us is sealed: alike on all replicas that share a key."""
    if server_key is None:
        return RequestStateSecurity.ephemeral(audience=NAME)
    return RequestStateSecurity(
        keys=[hmac.digest(server_key.encode(), b"ttp-mcp request state", "sha256")], audience=NAME
    )
