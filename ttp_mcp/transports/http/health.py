"""Liveness and readiness probes. Neither calls the API or reveals more than one word."""

import logging

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ttp_mcp.api.clock import utc_now
from ttp_mcp.ledger.store.base import LedgerProblem, Store
from ttp_mcp.transports.http.responses import send_rejection

log = logging.getLogger(__name__)

ALIVE = "/healthz"
READY = "/readyz"
METHODS = ("GET", "HEAD")
# A kubelet's probe waits three seconds; a slower store is useless to calls as well.
_STORE_SECONDS = 2.0


class Health:
    """ASGI middleware that serves both probes."""

    def __init__(self, app: ASGIApp, state: Store) -> None:
        """Readiness depends on the store."""
        self.is_draining = False
        """True once the server is shutting down and takes no new work."""
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, or pass the request on."""
        if scope["type"] != "http" or scope["path"] not in (ALIVE, READY):
            await self._app(scope, receive, send)
            return
        problem = None if scope["path"] == ALIVE else await self._find_problem()
        await send_rejection(send, 503 if problem else 200, b"text/plain", f"{problem or 'ok'}\n".encode())

    async def _find_problem(self) -> str | None:
        if self.is_draining:
            return "leaving"
        try:
            with anyio.fail_after(_STORE_SECONDS):
                await self._state.get("probe", "probe", ["probe"], utc_now())
        except (LedgerProblem, TimeoutError) as problem:
            log.warning("not ready: %s", str(problem) or "the store does not answer")
            return "the state can't be used; see the log"
        return None
