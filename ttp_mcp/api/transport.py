"""A request as a transport gets it, and the transport to an application in this process."""

from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request. It names no host: a transport leads to one origin only, so no path can send the token elsewhere."""

    method: str
    target: bytes
    """Path and query."""
    headers: list[tuple[bytes, bytes]]
    body: bytes
    extensions: dict[str, Any]


class Transport(Protocol):
    """The way to the API. It keeps no cookie, follows no redirect and reads no environment."""

    async def send(self, request: Outgoing) -> httpx2.Response:
        """Send a request; the response has to be closed."""
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

    async def send(self, request: Outgoing) -> httpx2.Response:
        """Pass a request on."""
        url = self._origin.copy_with(raw_path=request.target)
        return await self._transport.handle_async_request(
            httpx2.Request(request.method, url, headers=request.headers, content=request.body)
        )

    async def aclose(self) -> None:
        """Nothing to close."""
