"""TCP connections of the event loop for HTTPCORE2; its own backend goes through the loop several times for each read and write."""

import asyncio
import select
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from itertools import zip_longest
from socket import SOCK_STREAM
from typing import Any

import anyio
import httpcore2

# RFC 8305: how long an address of a host may take before the next one is tried as well.
NEXT_ADDRESS_SECONDS = 0.25
# Receiving pauses while more than this hasn't been read.
UNREAD_BYTES = 256 * 1024


class LoopBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections."""

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
        except (OSError, ExceptionGroup) as error:
            raise httpcore2.ConnectError(str(error)) from error


class LoopStream(httpcore2.AsyncNetworkStream, asyncio.Protocol):
    """One connection. HTTP/1.1 reads or writes, never both at once, so there is one waiter."""

    def __init__(self) -> None:
        """Wait for `connection_made`."""
        self._transport: Any = None
        self._unread = bytearray()
        self._is_full = False
        self._is_ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bool] | None = None

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
            if isinstance(error, TimeoutError):
                raise httpcore2.ConnectTimeout from error
            if isinstance(error, OSError):
                raise httpcore2.ConnectError(str(error)) from error
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return the TLS object, or whether an idle connection has ended or received something unexpected."""
        if info == "is_readable":
            return bool(self._unread) or self._is_ended or _is_readable(self._transport.get_extra_info("socket"))
        return self._transport.get_extra_info(info)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep bytes until they are read."""
        self._unread += data
        if len(self._unread) > UNREAD_BYTES:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Note the end of the input; without TLS the output may go on."""
        self._is_ended = True
        self._wake()
        return self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and its cause."""
        self._is_ended = True
        self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        """Note that the other end takes nothing more."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that there is room again."""
        self._is_full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def _wait(self, seconds: float | None) -> None:
        """Wait for a change; one that arrives at the last moment counts.

        Raises:
            TimeoutError: There was none.
        """
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _give_up, waiter)
        try:
            if not await waiter:
                raise TimeoutError
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _give_up(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)


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
        OSError: No address can be reached.
        ExceptionGroup: None of several can be reached.
    """
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    errors: list[OSError] = []
    connected: list[LoopStream] = []

    async def attempt(address: str, ended: anyio.Event) -> None:
        try:
            stream = await _connect(address, port)
            connected.append(stream)
            attempts.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            ended.set()

    async with anyio.create_task_group() as attempts:
        for address in addresses:
            ended = anyio.Event()
            attempts.start_soon(attempt, address, ended)
            with anyio.move_on_after(NEXT_ADDRESS_SECONDS):
                await ended.wait()
    if not connected:
        raise ExceptionGroup("no address of the host can be reached", errors)
    for late in connected[1:]:
        await late.aclose()
    return connected[0]


async def _connect(address: str, port: int) -> LoopStream:
    _, stream = await asyncio.get_running_loop().create_connection(LoopStream, address, port)
    return stream


def _is_readable(socket: Any) -> bool:
    """Check whether a socket has something to read, without reading it. A closed one has its end."""
    if socket is None or socket.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # pragma: no cover - Windows, where select has no limit on descriptors
        return bool(select.select([socket.fileno()], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))
