"""Answers for whoever watches the process: is it up, and can it work? Neither asks the API or tells more than that."""

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
# A probe waits three seconds; a store that takes longer is of no use to a call either.
_STORE_SECONDS = 2.0


class Health:
    """ASGI middleware for the two paths of probes."""

    def __init__(self, app: ASGIApp, state: Store) -> None:
        """Readiness is that of the store."""
        self.leaving = False
        """Whether the server takes no new work, since it is about to end."""
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, or pass on."""
        if scope["type"] != "http" or scope["path"] not in (ALIVE, READY):
            await self._app(scope, receive, send)
            return
        problem = None if scope["path"] == ALIVE else await self._problem()
        body = b"" if scope["method"] == "HEAD" else (problem or "ok").encode() + b"\n"
        await send_rejection(send, 503 if problem else 200, b"text/plain", body)

    async def _problem(self) -> str | None:
        if self.leaving:
            return "leaving"
        try:
            with anyio.fail_after(_STORE_SECONDS):
                await self._state.get("probe", "probe", ["probe"], utc_now())
        except (LedgerProblem, TimeoutError) as problem:
            log.warning("not ready: %s", problem or "the store does not answer")
            return "the state can't be used; see the log"
        return None
