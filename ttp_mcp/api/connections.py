"""Connections to the API that are kept open between requests. HTTP and proxies are HTTPCORE2's, the sockets are the event loop's."""

import asyncio
import select
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import zip_longest
from socket import SOCK_STREAM
from typing import Any, cast

import anyio
import httpcore2
import httpx2

from ttp_mcp.api.transport import Incoming, Outgoing

# HTTPX2's default; servers close idle connections, too.
IDLE_SECONDS = 5.0
# RFC 8305: how long an address of a host may take before the next one is tried as well.
NEXT_ADDRESS_SECONDS = 0.25
# Receiving pauses while more than this hasn't been read.
UNREAD_BYTES = 256 * 1024

# HTTPX2 has exceptions of the same names.
_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
_Connection = httpcore2.AsyncConnectionInterface


class ConnectionPool:
    """Sends each request to one origin, over a connection that no other request uses: an idle one, or a new one.

    The gate before it bounds their number, so a list is enough: HTTPX2's own pool looks at all connections and requests before
    and after each request.
    """

    def __init__(
        self, home: httpx2.URL, *, tls: ssl.SSLContext | None, proxy: str | None, timeout: dict[str, float | None]
    ) -> None:
        """Open nothing.

        Args:
            home: A URL of the API.
            tls: Certificates to trust; None without TLS.
            proxy: URL of an HTTP proxy.
            timeout: Limits in seconds, by HTTPCORE2's names.
        """
        self._home = _to_httpcore2(home)
        self._factory = _create_factory(tls, proxy)
        self._timeout = timeout
        self._busy: set[_Connection] = set()
        # In the order of their last use.
        self._idle: list[_Connection] = []

    @asynccontextmanager
    async def open(self, request: Outgoing) -> AsyncGenerator[Incoming]:
        """Send a request; the response is read within the block.

        Raises:
            RequestError: Of HTTPX2, for whatever fails, also within the block.
        """
        url = httpcore2.URL(scheme=self._home.scheme, host=self._home.host, port=self._home.port, target=request.target)
        extensions: dict[str, Any] = {"timeout": self._timeout}
        connection = await self._take_idle()
        # An idle connection is written to at once.
        request.is_sent = connection is not None
        if connection is None:
            connection, extensions["trace"] = self._factory.create_connection(url.origin), request.trace
        sent = httpcore2.Request(
            request.method, url, headers=request.headers, content=request.body, extensions=extensions
        )
        response: httpcore2.Response | None = None
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(sent)
            body = cast("AsyncIterable[bytes]", response.stream)
            yield Incoming(response.status, httpx2.Headers(response.headers), body)
        except _ERRORS as error:
            raise getattr(httpx2, type(error).__name__)(str(error)) from error
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(connection, response)

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

    async def _release(self, connection: _Connection, response: httpcore2.Response | None) -> None:
        """Keep the connection if its response was read to the end, else close it."""
        if response is not None:
            await response.aclose()
        is_open = connection in self._busy
        self._busy.discard(connection)
        # Bytes after the response would be read as the response to the next request. Only HTTPCORE2's parser has them,
        # under no public name; if a version has no such parser, no connection is used again.
        parser = getattr(getattr(connection, "_connection", None), "_h11_state", None)
        has_surplus = parser is None or bool(parser.trailing_data[0])
        if is_open and connection.is_available() and not has_surplus:
            self._idle.append(connection)
        else:
            await connection.aclose()


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
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port)


class LoopBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections; HTTPCORE2's own backend goes through the event loop several times for each read and write."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - HTTPCORE2's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the address of the host that answers first."""
        try:
            with anyio.fail_after(timeout):
                return await _connect_first(await _find_addresses(host, port), port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except (OSError, UnicodeError, ExceptionGroup) as error:
            raise httpcore2.ConnectError(str(error)) from error


class LoopStream(httpcore2.AsyncNetworkStream, asyncio.Protocol):
    """One connection. HTTP/1.1 reads or writes, never both at once, so one event is enough."""

    def __init__(self) -> None:
        """Wait for `connection_made`."""
        self._transport: Any = None
        self._unread = bytearray()
        self._is_full = False
        self._is_ended = False
        self._error: Exception | None = None
        self._change = asyncio.Event()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes; none at the end."""
        try:
            while not (self._unread or self._is_ended):
                await self._wait(timeout)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout from error
        if self._error is not None and not self._unread:
            raise httpcore2.ReadError(str(self._error)) from self._error
        taken = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if len(self._unread) <= UNREAD_BYTES:
            self._transport.resume_reading()
        return taken

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, and wait while the other end takes none."""
        if self._transport.is_closing():
            raise httpcore2.WriteError("the connection is closed") from self._error
        self._transport.write(buffer)
        try:
            while self._is_full and not self._transport.is_closing():
                await self._wait(timeout)
        except TimeoutError as error:
            raise httpcore2.WriteTimeout from error

    async def aclose(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection with TLS."""
        try:
            if self._unread or self._is_ended:
                raise ConnectionError("the other end doesn't wait for TLS")
            with anyio.fail_after(timeout):
                self._transport = await asyncio.get_running_loop().start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, OSError):
                raise httpcore2.ConnectError(str(error)) from error
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return the TLS object, or whether an idle connection has ended or received something unexpected."""
        if info != "is_readable":
            return self._transport.get_extra_info(info)
        socket = self._transport.get_extra_info("socket")
        if self._unread or self._is_ended or socket.fileno() < 0:
            return True
        # The event loop may not have noticed it yet.
        if not hasattr(select, "poll"):  # pragma: no cover - Windows, where select has no limit on descriptors
            return bool(select.select([socket.fileno()], [], [], 0)[0])
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep bytes until they are read."""
        self._unread += data
        if len(self._unread) > UNREAD_BYTES:
            self._transport.pause_reading()
        self._change.set()

    def eof_received(self) -> bool:
        """Note the end of the input; without TLS the output may go on."""
        self._is_ended = True
        self._change.set()
        return self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and its cause."""
        self._is_ended = True
        self._error = exc
        self._change.set()

    def pause_writing(self) -> None:
        """Note that the other end takes nothing more."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that there is room again."""
        self._is_full = False
        self._change.set()

    async def _wait(self, seconds: float | None) -> None:
        """Wait for a change. One that arrives while the event loop is busy counts, even if it is processed late.

        Raises:
            TimeoutError: There was none.
        """
        self._change.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._change.wait()
        except TimeoutError:
            if not self._change.is_set():
                raise


async def _find_addresses(host: str, port: int) -> list[str]:
    """Resolve a host; IPv6 and IPv4 take turns."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    return [address for turn in zip_longest(*families.values()) for address in turn if address]


async def _connect_first(addresses: list[str], port: int) -> LoopStream:
    """Return the first connection; a slow address doesn't hold up the next one.

    Raises:
        ExceptionGroup: No address can be reached.
    """
    errors: list[OSError] = []
    connected: list[LoopStream] = []

    async def connect(address: str, ended: anyio.Event) -> None:
        try:
            _, stream = await asyncio.get_running_loop().create_connection(LoopStream, address, port)
            connected.append(stream)
            attempts.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            ended.set()

    unused: list[LoopStream] = connected
    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                ended = anyio.Event()
                attempts.start_soon(connect, address, ended)
                with anyio.move_on_after(NEXT_ADDRESS_SECONDS):
                    await ended.wait()
        if not connected:
            raise ExceptionGroup("no address of the host can be reached", errors)
        unused = connected[1:]
        return connected[0]
    finally:
        # All of them if the call is cancelled at this moment.
        for stream in unused:
            await stream.aclose()
