"""Connections to the API that are kept open between requests."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Protocol, cast

import anyio
import httpcore2
import httpx2

from ttp_mcp.api.sockets import LoopBackend
from ttp_mcp.api.transport import Outgoing

# As HTTPX2 does; servers close idle connections, too.
IDLE_SECONDS = 5.0

_Connection = httpcore2.AsyncConnectionInterface


class ConnectionPool:
    """Sends each request to one origin, over a connection that no other request uses: an idle one, or a new one.

    The gate before it bounds their number, so a list is enough: HTTPX2's own pool looks at all connections and requests before
    and after each request.
    """

    def __init__(self, home: httpx2.URL, *, tls: ssl.SSLContext | None, proxy: str | None) -> None:
        """Open nothing.

        Args:
            home: A URL of the API.
            tls: Certificates to trust; None without TLS.
            proxy: URL of an HTTP proxy.
        """
        self._home = _to_httpcore2(home)
        self._connections = _create_factory(tls, proxy)
        self._busy: set[_Connection] = set()
        # In the order of their last use.
        self._idle: list[_Connection] = []

    async def send(self, request: Outgoing) -> httpx2.Response:
        """Send a request; the response has to be closed."""
        home = self._home
        url = httpcore2.URL(scheme=home.scheme, host=home.host, port=home.port, target=request.target)
        sent = httpcore2.Request(
            request.method, url, headers=request.headers, content=request.body, extensions=request.extensions
        )
        connection = await self._take_idle() or self._connections.create_connection(url.origin)
        self._busy.add(connection)
        try:
            with _as_httpx2_errors():
                response = await connection.handle_async_request(sent)
        except BaseException:
            self._busy.discard(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        body = cast("_Stream", response.stream)
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(body, partial(self._release, connection, body.aclose)),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        while self._idle or self._busy:
            await (self._idle or self._busy).pop().aclose()

    async def _take_idle(self) -> _Connection | None:
        """Return the connection that was used last, and close those that have expired."""
        while len(self._idle) > 1 and self._idle[0].has_expired():
            await self._idle.pop(0).aclose()
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def _release(self, connection: _Connection, close: Callable[[], Awaitable[None]]) -> None:
        """End a request, even one that is cancelled; its connection is kept if the response was read to its end."""
        with anyio.CancelScope(shield=True):
            await close()
        if connection in self._busy:
            self._busy.remove(connection)
            if connection.is_idle():
                self._idle.append(connection)


class _Stream(Protocol):
    """Body of a response as HTTPCORE2 returns it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class _Body(httpx2.AsyncByteStream):
    """Body of a response; closing it releases its connection."""

    def __init__(self, stream: _Stream, release: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._release = release

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        with _as_httpx2_errors():
            async with aclosing(cast("AsyncGenerator[bytes]", aiter(self._stream))) as parts:
                async for part in parts:
                    yield part

    async def aclose(self) -> None:
        await self._release()


def _create_factory(tls: ssl.SSLContext | None, proxy: str | None) -> httpcore2.AsyncConnectionPool:
    """Create a pool of HTTPCORE2, of which only `create_connection` is used."""
    backend = LoopBackend()
    if proxy is None:
        return httpcore2.AsyncConnectionPool(tls, keepalive_expiry=IDLE_SECONDS, network_backend=backend)
    url = httpx2.URL(proxy)
    return httpcore2.AsyncHTTPProxy(
        _to_httpcore2(url),
        proxy_auth=(url.username.encode(), url.password.encode()) if url.userinfo else None,
        ssl_context=tls,
        proxy_ssl_context=tls if url.scheme == "https" else None,
        keepalive_expiry=IDLE_SECONDS,
        network_backend=backend,
    )


def _to_httpcore2(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


@contextmanager
def _as_httpx2_errors() -> Generator[None]:
    """Raise the exceptions of HTTPCORE2 as those of HTTPX2, which have the same names."""
    try:
        yield
    except _ERRORS as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error
