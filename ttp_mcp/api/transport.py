"""A request and its response as a transport passes them, and the transport to an application in this process."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, cast

import httpx2
from starlette.types import ASGIApp

from ttp_mcp.api.errors import ApiError
from ttp_mcp.api.responses import RequestInfo


@dataclass(slots=True)
class Outgoing(RequestInfo):
    """A request, the same for each attempt. It names no host: a transport leads to one origin, so no path can send the token elsewhere.

    Attributes:
        target: Path and query.
        headers: All headers, the token included.
        body: The body; empty without one.
        most_bytes: Limit on the body of the response.
        deadline: End of the last attempt, on the monotonic clock.
        is_sent: Whether a byte of the current attempt can have been written.
        refusal: The current attempt's error by its status, in case its message misses the deadline.
    """

    target: bytes
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes
    most_bytes: int
    deadline: float
    is_sent: bool = False
    refusal: ApiError | None = None

    async def trace(self, event: str, _: object) -> None:
        """Note that a byte can have been written; a new connection calls this before each step."""
        if event.endswith("send_request_headers.started"):
            self.is_sent = True


@dataclass(frozen=True, slots=True)
class Incoming:
    """A response, whose body can be read once."""

    status: int
    headers: httpx2.Headers
    body: AsyncIterable[bytes]


class Transport(Protocol):
    """The way to the API. It keeps no cookie, follows no redirect and reads no environment."""

    def open(self, request: Outgoing) -> AbstractAsyncContextManager[Incoming]:
        """Send a request; the response is read within the block."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class InProcess:
    """Passes requests to an application in this process."""

    def __init__(self, origin: httpx2.URL, app: ASGIApp) -> None:
        """Pass them as if the application were at this origin."""
        self._origin = origin
        self._transport = httpx2.ASGITransport(app)

    @asynccontextmanager
    async def open(self, request: Outgoing) -> AsyncGenerator[Incoming]:
        """Pass a request on."""
        request.is_sent = True
        url = self._origin.copy_with(raw_path=request.target)
        response = await self._transport.handle_async_request(
            httpx2.Request(request.method, url, headers=request.headers, content=request.body)
        )
        yield Incoming(response.status_code, response.headers, cast("AsyncIterable[bytes]", response.stream))

    async def aclose(self) -> None:
        """Nothing to close."""
